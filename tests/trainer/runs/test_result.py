"""``result.json``: what all versions wrote is read, and what is damaged is named."""

import json

import pytest

from shards.errors import UserError
from trainer.runs.result import Conditions, Result

OLDEST = {
    "experiment": "ummt",
    "dataset": "nyudv2",
    "seed": 0,
    "inputs": ["rgb"],
    "tasks": ["semseg", "depth"],
    "labels": {"semseg": 250, "depth": 500},
    "pseudo_labels": {},
    "normalise": "labelled",
    "metrics": {"semseg": {"miou": 0.2, "iou": [0.1, None]}, "depth": {"rmse": None}},
}


def test_what_an_older_version_did_not_write_has_a_default():
    result = Result.from_json(OLDEST)
    assert (result.budget, result.assignment, result.command, result.asked) == (None, "nested", [], Conditions())
    assert result.metric("semseg", "miou") == 0.2 and result.metric("depth", "rmse") is None
    assert result.metric("normals", "mean") is None
    old = Result.from_json(OLDEST | {"size": "480x640", "pretrained": True, "split": "val", "of tomorrow": 1})
    assert (old.size, old.crop, old.pretrained) == ((480, 640), None, True), "sizes were text, and the rest is left"


def test_it_is_read_as_it_was_written():
    asked = {"checkpoints": {"last": "a"}, "manifest": "b", "checkpoint": "last", "split": "val", "val": None}
    entry = OLDEST | {"size": [3, 4], "asked": asked | {"range": {"depth": [0.1, 10]}}}
    result = Result.from_json(entry)
    written = json.loads(json.dumps(result.to_json()))
    assert Result.from_json(written) == result and written["asked"] == asked | {
        "resolution": "network",
        "range": {"depth": [0.1, 10]},
        "crop": None,
    }, "what drew the frames is left out where nothing did"
    assert "options" not in written and Result.from_json(written | {"options": {"x": 1}}).options == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": 3}, "metrics: is not a result of a run: 3 is not a mapping"),
        ({"metrics": {"depth": [1]}}, r"metrics\.depth: is not a result of a run: \[1\] is not a mapping"),
        ({"labels": {"depth": "x"}}, r"labels\.depth: is not a result of a run: 'x' is not an integer"),
        ({"size": "large"}, "size: is not a result of a run: 'large' is not a list"),
        ({"asked": {"val": "x"}}, r"asked\.val: is not a result of a run: 'x' is not an integer"),
    ],
)
def test_a_damaged_one_is_named(tmp_path, changes, message):
    (tmp_path / "result.json").write_text(json.dumps(OLDEST | changes))
    with pytest.raises(UserError, match=rf"result\.json: {message}; delete it and evaluate again"):
        Result.read(tmp_path / "result.json")
