"""The paper's figures: digit by digit, and for rows that exist."""

from pathlib import Path

import pytest

from analysis.results.paper import Paper
from shards.errors import UserError

CONFIGS = Path(__file__).parents[3] / "configs"


def test_figures_are_those_that_are_printed():
    paper = Paper.load()
    assert paper.figure("nyudv2", "ummt", "depth", "rmse") == "0.790", "with its last digit"
    assert paper.figure("nyudv2", "ummt-ps", "semseg", "miou") == "25.3"
    assert paper.figure("nyudv2", "ummt-d-all", "semseg", "miou") == paper.figure("nyudv2", "ummt-d", "semseg", "miou")
    assert paper.figure("cityscapes", "mmmt-l", "depth", "rmse_log") == "9.68"
    assert paper.figure("nyudv2", "umst-s", "depth", "rmse") is None
    assert paper.figure("scenes", "ummt", "semseg", "miou") is None
    assert paper.why_not_comparable("cityscapes", "depth", "rmse_log")
    assert not paper.why_not_comparable("nyudv2", "depth", "rmse_log")


def test_every_row_and_comparison_is_a_configuration():
    paper = Paper.load()
    for dataset in paper.tables:
        rows = {path.stem for path in (CONFIGS / dataset).glob("*.yaml") if not path.stem.startswith("base")}
        assert set(paper.rows(dataset)) == rows
    names = {path.stem for path in CONFIGS.glob("*/*.yaml")}
    assert {name for pair in paper.comparisons for name in pair} <= names


def test_a_file_that_is_missing_or_wrong(tmp_path):
    with pytest.raises(UserError, match=r"paper\.yaml: holds no tables \(FileNotFoundError\).*install Tutelage again"):
        Paper.load(tmp_path / "paper.yaml")
    assert Paper().rows("nyudv2") == []
    for text in ("[]", "a: 1", "a: {}", "comparisons: [[a]]", "a: ["):
        (tmp_path / "paper.yaml").write_text(text)
        with pytest.raises(UserError, match=r"paper\.yaml: holds no tables"):
            Paper.load(tmp_path / "paper.yaml")
