"""The example of a weighting: an interrupted run draws the same weights as an uninterrupted one."""

import shutil
from pathlib import Path

import pytest
from runs import LONG, assert_same_run, lines

from trainer.runs import artifacts
from trainer.trainstage import train

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_run_continues_as_if_nothing_had_been(make, monkeypatch):
    """In one process, bit for bit, from the middle of the run."""
    monkeypatch.chdir(EXAMPLES)
    options = [*LONG, "loss.weighting=my_weighting:RandomWeights", "experiment=whole"]
    uninterrupted = make("plain", *options)
    train(uninterrupted)
    continued = make("plain", *options, f"run.path={uninterrupted.folder}-again")
    shutil.copytree(uninterrupted.folder, continued.folder, ignore=shutil.ignore_patterns("last", "step-00000018"))
    assert artifacts.newest(continued.checkpoints).name == "step-00000012"
    train(continued)
    assert_same_run(continued.folder, uninterrupted.folder)
    ratios = [
        line["weighed"]["semseg"] / line["loss"]["semseg"] for line in lines(uninterrupted.folder) if "loss" in line
    ]
    assert len(set(ratios)) == len(ratios), "the weights differ from step to step"
    assert ratios[0] != pytest.approx(1)
