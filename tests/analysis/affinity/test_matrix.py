"""The picture of an affinity: colours, words and hatching where they belong."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from analysis.affinity.matrix import _cell_text, _title, draw
from trainer.affinity import Affinity, Bounds, Effect, MeasuredTask, Score


def made(source: str, target: str, mean: float, helps: bool | None) -> Effect:
    relative = Bounds(mean, mean - 0.1, mean + 0.1, 0.1, 3)
    return Effect(source=source, target=target, helps=helps, relative=relative)


AFFINITY = Affinity(
    dataset="rooms",
    tasks={"semseg": MeasuredTask("classes", "miou"), "depth": MeasuredTask("scalar", "rmse", "lower")},
    gains=[made("depth", "semseg", 0.4, True), made("semseg", "depth", -0.4, False)],
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
    def drawn(affinity: Affinity) -> np.ndarray:
        draw(affinity, tmp_path / "p.png")
        return np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)

    return drawn


def places(picture: np.ndarray, condition: np.ndarray) -> tuple[float, float]:
    """The middle, row and column, of the pixels that meet a condition, as parts of the picture."""
    rows, columns = np.nonzero(condition)
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


def test_help_is_blue_and_harm_is_red_where_source_and_target_cross(picture):
    found = picture(AFFINITY)
    red, _, blue = found.transpose(2, 0, 1)
    helps, harms = places(found, blue - red > 60), places(found, red - blue > 60)
    assert helps[0] > harms[0] and helps[1] < harms[1], "depth → semseg: second row, first column"


def test_what_is_undetermined_is_hatched(picture):
    def shades(affinity: Affinity) -> int:
        found = picture(affinity)
        return len(np.unique(found[found.max(-1) - found.min(-1) > 60], axis=0))

    open_ = replace(AFFINITY, gains=[made("depth", "semseg", 0.4, None), made("semseg", "depth", -0.4, None)])
    assert shades(open_) > shades(AFFINITY)


def test_noise_is_pale(picture):
    faint = replace(AFFINITY, gains=[made("depth", "semseg", 0.004, None), made("semseg", "depth", -0.004, None)])
    found = picture(faint)
    assert (found.max(-1) - found.min(-1)).max() < 60


def test_figures_in_words():
    assert _cell_text(AFFINITY.gains[0]) == "+40.0 %\n(+30.0 to +50.0)\nhelps"
    one = replace(made("a", "b", 0.4, None), relative=Bounds(0.4, None, None))
    assert _cell_text(one) == "+40.0 %\n(one seed)\nundetermined"
    assert _title(AFFINITY).startswith(
        "rooms: gain over RGB alone, 95% intervals over 3 seeds,\nverdicts of Holm's method over all\n"
    )
    assert "10 training frames, 5 training frames set aside to judge" in _title(AFFINITY)
    assert "5 validation frames to judge" in _title(replace(AFFINITY, split="val"))
