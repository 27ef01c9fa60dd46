"""The picture of an affinity: colours, words and hatching where they belong."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.affinity.matrix import _cell_text, _title, draw
from trainer.affinity import Affinity, Bounds, Effect, MeasuredTask, Score


def make_effect(source: str, target: str, mean: float, helps: bool | None) -> Effect:
    relative = Bounds(mean, mean - 0.1, mean + 0.1, 0.1, 3)
    return Effect(source=source, target=target, helps=helps, relative=relative)


AFFINITY = Affinity(
    dataset="rooms",
    tasks={"semseg": MeasuredTask("classes", "miou"), "depth": MeasuredTask("scalar", "rmse", "lower")},
    gains=[make_effect("depth", "semseg", 0.4, True), make_effect("semseg", "depth", -0.4, False)],
    scores=[Score(["rgb"], task, {"0": 0.5, "1": 0.7}) for task in ("semseg", "depth")],
    seeds=[0, 1, 2],
    samples=10,
    samples_seen=40,
    validation_frames=5,
    split="dev",
    recommended={},
)


@pytest.fixture
def picture(tmp_path):
    def render(affinity: Affinity) -> np.ndarray:
        draw(affinity, tmp_path / "p.png")
        return np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)

    return render


def centre(picture: np.ndarray, condition: np.ndarray) -> tuple[float, float]:
    """The centre, row and column, of the pixels that meet a condition, as fractions of the picture's size."""
    rows, columns = np.nonzero(condition)
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


def test_help_is_blue_and_harm_is_red_where_source_and_target_cross(picture):
    image = picture(AFFINITY)
    red, _, blue = image.transpose(2, 0, 1)
    blue_centre, red_centre = centre(image, blue - red > 60), centre(image, red - blue > 60)
    assert blue_centre[0] > red_centre[0] and blue_centre[1] < red_centre[1], "depth → semseg: second row, first column"


def test_what_is_undetermined_is_hatched(picture):
    def shades(affinity: Affinity) -> int:
        image = picture(affinity)
        return len(np.unique(image[image.max(-1) - image.min(-1) > 60], axis=0))

    undetermined = replace(
        AFFINITY, gains=[make_effect("depth", "semseg", 0.4, None), make_effect("semseg", "depth", -0.4, None)]
    )
    assert shades(undetermined) > shades(AFFINITY)


def test_noise_is_pale(picture):
    faint = replace(
        AFFINITY, gains=[make_effect("depth", "semseg", 0.004, None), make_effect("semseg", "depth", -0.004, None)]
    )
    image = picture(faint)
    assert (image.max(-1) - image.min(-1)).max() < 60


def test_figures_in_words():
    assert _cell_text(AFFINITY.gains[0]) == "+40.0 %\n(+30.0 to +50.0)\nhelps"
    one = replace(make_effect("a", "b", 0.4, None), relative=Bounds(0.4, None, None))
    assert _cell_text(one) == "+40.0 %\n(one seed)\nundetermined"
    assert _title(AFFINITY).startswith(
        "rooms: gain over RGB alone, 95% intervals over 3 seeds,\nverdicts of Holm's method over all\n"
    )
    assert "10 training frames, 5 training frames set aside to judge" in _title(AFFINITY)
    assert "5 validation frames to judge" in _title(replace(AFFINITY, split="val"))
