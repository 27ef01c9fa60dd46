"""The picture of a relation: colours, words and hatching where they belong."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from analysis.relations.matrix import _cell, _title, draw


def made(source: str, target: str, mean: float, helps: bool | None) -> dict[str, Any]:
    relative = {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "deviation": 0.1, "count": 3}
    return {"source": source, "target": target, "relative": relative, "helps": helps}


RELATION: dict[str, Any] = {
    "dataset": "rooms",
    "tasks": {"semseg": {"metric": "miou"}, "depth": {"metric": "rmse"}},
    "gains": [made("depth", "semseg", 0.4, True), made("semseg", "depth", -0.4, False)],
    "scores": [{"inputs": ["rgb"], "task": task, "seeds": {"0": 0.5, "1": 0.7}} for task in ("semseg", "depth")],
    "seeds": [0, 1, 2],
    "level": 0.95,
    "samples": 10,
    "samples_seen": 40,
    "validation_frames": 5,
    "split": "dev",
}


@pytest.fixture
def picture(tmp_path):
    def drawn(relation: dict[str, Any]) -> np.ndarray:
        draw(relation, tmp_path / "p.png")
        return np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)

    return drawn


def places(picture: np.ndarray, condition: np.ndarray) -> tuple[float, float]:
    """The middle, row and column, of the pixels that meet a condition, as parts of the picture."""
    rows, columns = np.nonzero(condition)
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


def test_help_is_blue_and_harm_is_red_where_source_and_target_cross(picture):
    found = picture(RELATION)
    red, _, blue = found.transpose(2, 0, 1)
    helps, harms = places(found, blue - red > 60), places(found, red - blue > 60)
    assert helps[0] > harms[0] and helps[1] < harms[1], "depth → semseg: second row, first column"


def test_what_is_undetermined_is_hatched(picture):
    def shades(relation: dict[str, Any]) -> int:
        found = picture(relation)
        return len(np.unique(found[found.max(-1) - found.min(-1) > 60], axis=0))

    open_ = RELATION | {"gains": [made("depth", "semseg", 0.4, None), made("semseg", "depth", -0.4, None)]}
    assert shades(open_) > shades(RELATION)


def test_noise_is_pale(picture):
    faint = RELATION | {"gains": [made("depth", "semseg", 0.004, None), made("semseg", "depth", -0.004, None)]}
    found = picture(faint)
    assert (found.max(-1) - found.min(-1)).max() < 60


def test_figures_in_words():
    assert _cell(RELATION["gains"][0]) == "+40.0 %\n(+30.0 to +50.0)\nhelps"
    one = made("a", "b", 0.4, None)
    one["relative"] |= {"low": None, "high": None}
    assert _cell(one) == "+40.0 %\n(one seed)\nundetermined"
    assert _title(RELATION).startswith(
        "rooms: gain over RGB alone, 95% intervals over 3 seeds,\nverdicts of Holm's method over all\n"
    )
    assert "10 training frames, 5 training frames set aside to judge" in _title(RELATION)
    assert "5 validation frames to judge" in _title(RELATION | {"split": "val"})
