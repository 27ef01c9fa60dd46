"""The example of a weighting: a run that was interrupted draws the same weights as one that was not."""

import shutil
from pathlib import Path

import pytest
from runs import LONG, assert_same_run, lines

from trainer.runs import artifacts
from trainer.trainstage import train

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_a_run_continues_as_if_nothing_had_been(make, monkeypatch):
    """In one process, bit for bit, from its half."""
    monkeypatch.chdir(EXAMPLES)
    options = [*LONG, "loss.weighting=my_weighting:RandomWeights", "experiment=whole"]
    whole = make("plain", *options)
    train(whole)
    again = make("plain", *options, f"run.path={whole.folder}-again")
    shutil.copytree(whole.folder, again.folder, ignore=shutil.ignore_patterns("last", "step-00000018"))
    assert artifacts.newest(again.checkpoints).name == "step-00000012"
    train(again)
    assert_same_run(again.folder, whole.folder)
    ratios = [line["weighed"]["semseg"] / line["loss"]["semseg"] for line in lines(whole.folder) if "loss" in line]
    assert len(set(ratios)) == len(ratios), "the weights differ from step to step"
    assert ratios[0] != pytest.approx(1)
