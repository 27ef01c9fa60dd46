"""The report's section on pseudo-labels: which labels it finds, and what it says of the pixels that a student keeps."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.report.collect import collect
from analysis.report.page import render


@pytest.fixture
def runs(finished, tmp_path) -> Path:
    """A copy of the finished runs of ``teacher`` and ``student``."""
    return tmp_path / "runs" / "scenes"


def page(runs: Path) -> str:
    """The text of the page, with its lines joined."""
    return " ".join(render(collect([runs]), 1).split())


def edit_config(folder: Path, section: str, **changes: Any) -> None:
    path = folder / "seed-0/config.yaml"
    config = yaml.safe_load(path.read_text())
    entry = config
    for name in section.split("."):
        entry = entry[name]
    entry |= changes
    path.write_text(yaml.safe_dump(config))


def test_labels_for_the_holes_of_labelled_frames_are_found(runs):
    """They are in a folder of their own, since the teacher labels all frames."""
    edit_config(runs / "teacher", "label", frames="all")
    assert 'id="labels1"' not in page(runs), "such labels were not made"
    (runs / "teacher/seed-0/labels/train").rename(runs / "teacher/seed-0/labels/train-all")
    assert "teacher labels semseg" in page(runs) and "At τ = 0.4" in page(runs)


def test_a_student_that_keeps_all_pixels_is_not_said_to_hold_them_against_a_threshold(runs):
    assert "At τ = 0.4" in page(runs)
    edit_config(runs / "student", "pseudo.semseg", keep="all", target="soft")
    assert "At τ = 0.0, 100.0\N{NO-BREAK SPACE}% of the pixels are kept" in render(collect([runs]), 1)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("50%", "A student keeps the most confident 50% of the pixels of each class."),
        ("my.module:edges", "A student keeps the pixels that its filter my.module:edges selects."),
    ],
)
def test_a_student_without_a_threshold_is_not_given_one(runs, keep, said):
    edit_config(runs / "student", "pseudo.semseg", keep=keep)
    text = page(runs)
    assert said in text and "of the pixels are kept" not in text and "right of the kept" not in text
    assert "τ =" not in text and "kept at 0.4" not in text and "Most confident" in text


def test_without_a_student_it_is_the_threshold_that_labels_were_counted_at(runs):
    shutil.rmtree(runs / "student")
    assert "At τ = 0.4" in page(runs) and "A student keeps" not in page(runs)


def test_students_with_and_without_a_threshold(runs):
    shutil.copytree(runs / "student", runs / "other")
    result = runs / "other/seed-0/result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"experiment": "other"}))
    edit_config(runs / "other", "pseudo.semseg", keep="50%")
    assert "most confident 50%" in page(runs) and "At τ = 0.4" in page(runs)
