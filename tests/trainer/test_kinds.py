"""Kinds: each has a class for storage and one for learning, and no other place asks which kind a task has."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import DEPTH, NORMALS, SEMSEG

from shards.errors import UserError
from shards.kinds import kind_names, storage_of
from shards.tasks import IGNORE, Task, palette
from trainer import kindmetrics
from trainer.kindmetrics import Metric, kinds, metrics, metrics_of, register, smaller_is_better
from trainer.kindmetrics.scalar import ScalarMetrics
from trainer.kinds import learning

REPOSITORY = Path(__file__).parents[2]
MASKS = Task("masks", "binary", ("free", "edge"), palette(2))
TASKS = (SEMSEG, DEPTH, NORMALS, MASKS)


def label_of(task, rng: np.random.Generator) -> np.ndarray:
    """Return a label array with labelled and unlabelled pixels."""
    height, width = 6, 8
    if task is SEMSEG:
        return rng.choice([0, 1, 2, IGNORE], (height, width)).astype(np.uint8)
    if task is MASKS:
        return rng.integers(0, 5, (height, width)).astype(np.int16)
    mask = rng.random((height, width)) < 0.7
    if task is DEPTH:
        return (rng.uniform(1, 5, (height, width)) * mask).astype(np.float32)
    vectors = rng.normal(size=(height, width, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) * mask[..., None]).astype(np.float32)


def test_what_is_stored_can_be_learnt_and_the_reverse():
    assert all(storage_of(name).kind == name for name in kind_names())
    assert [learning(task).kind for task in TASKS] == [task.kind for task in TASKS]
    assert {task.kind for task in TASKS} == set(kind_names())


def test_nobody_else_asks_for_a_kind():
    """`task.kind` is looked up in the two tables, and compared with nothing."""
    names = "|".join(kind_names())
    pattern = re.compile(rf"""(task|target)\w*\.kind\b|[=!]= ["']({names})["']""")
    uses = []
    for package in ("shards", "trainer", "analysis", "launchers"):
        for path in (REPOSITORY / package).rglob("*.py"):
            lines = [line.strip() for line in path.read_text().splitlines()]
            uses += [f"{path.relative_to(REPOSITORY)}: {line}" for line in lines if pattern.search(line)]
    allowed = (
        "_KINDS[task.kind]",
        "task.kind not in _KINDS",
        "task.kind not in _KINDS",
        "cannot be learnt",
        "MeasuredTask(task.kind, ",
    )  # the table, and the entry that records the kind
    assert [line for line in uses if not any(text in line for text in allowed)] == []
    assert len(uses) == len(allowed)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_both_halves_of_a_kind_agree(task):
    rng = np.random.default_rng(1)
    label, storage, kind = label_of(task, rng), task.storage, learning(task)
    tensor = kind.view(torch.from_numpy(label))
    np.testing.assert_array_equal(kind.array(tensor), label)
    mask = kind.labelled(tensor)
    np.testing.assert_array_equal((mask if mask.ndim == 2 else mask[0]).numpy(), storage.labelled(label))
    assert not storage.labelled(storage.empty(3, 4)).any() and not kind.labelled(kind.blank(3, 4)).any()
    assert kind.blank(3, 4).shape == kind.view(torch.from_numpy(storage.empty(3, 4))).shape
    kept = rng.random(label.shape[:2]) < 0.5
    np.testing.assert_array_equal(storage.labelled(storage.keep(label, kept)), storage.labelled(label) & kept)
    output = torch.randn(2, task.channels, 6, 8)
    decision = kind.decide(output)
    assert decision.shape[1:] == label.shape and decision[0].numpy().dtype == label.dtype
    assert torch.equal(kind.mirrored(kind.mirrored(output)), output)
    target = torch.stack([tensor, kind.blank(6, 8)])
    sums = kind.measure(decision, target)
    assert sums.shape == (kind.sums,) and sums.dtype == torch.int64
    report = kind.report(sums.tolist())
    assert report["pixels"] == storage.labelled(label).sum()
    assert {metric.name for metric in metrics_of(task)} <= report.keys()
    scalars = {name for name, value in report.items() if not isinstance(value, list)}
    assert scalars == {metric.name for metric in metrics_of(task)} | {"pixels"}, "none without a title and a unit"
    assert storage.colourise(label).shape == (6, 8, 3) and storage.glance(label) and storage.score(label, label)
    assert not storage.differ(label, label)[storage.labelled(label)].any()


def test_metrics_of_all_kinds_have_names_of_their_own():
    names = [metric.name for metric in metrics()]
    assert len(set(names)) == len(names)
    assert all(kind.metrics[0].shown for kind in kinds()), "networks are compared by what tables show"


def test_a_metric_of_one_name_is_the_same_for_all_kinds(monkeypatch):
    """Titles, units and the better direction are found by name: the best of a score `mean` would be the smallest."""
    monkeypatch.setattr(kindmetrics, "_KINDS", kindmetrics._KINDS.copy())

    class Heat(ScalarMetrics):
        kind = "heat"
        metrics = (Metric("mean", "mean K"), *ScalarMetrics.metrics)

    with pytest.raises(UserError) as error:
        register(Heat)
    assert str(error.value) == (
        f"mean: {__name__}:{Heat.__qualname__} and kind unit_vector have different metrics of this name; "
        "give it another name, such as heat_mean"
    )
    assert smaller_is_better("mean") and Heat not in kinds()
    Heat.metrics = ScalarMetrics.metrics
    register(Heat)  # what it shares with scalar has the same facts
    Heat.metrics = (Metric("heat_mean", "mean K"),)
    register(Heat)  # in place of itself
    assert Heat in kinds() and not smaller_is_better("heat_mean")


def test_metrics_are_computed_without_torch():
    """Commands about finished runs show metrics, and start quickly."""
    code = """
import sys
from shards.tasks import Task
from trainer.kindmetrics import kind_of
metrics = kind_of(Task("depth", "scalar", scale=1))(Task("depth", "scalar", scale=1))
print(metrics.report([1] * metrics.sums)["delta1"], "torch" in sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert process.stdout.split() == ["1.0", "False"], process.stderr


def test_a_unit_follows_a_title_that_does_not_end_with_it():
    suffixes = {metric.name: metric.unit_suffix("m") for metric in metrics()}
    assert suffixes["miou"] == suffixes["mask_iou"] == suffixes["within_30"] == suffixes["delta1"] == " (%)"
    assert suffixes["rmse"] == suffixes["mae"] == " (m)", "the task's"
    assert suffixes["mean"] == suffixes["rmse_log"] == "" and metrics_of(DEPTH)[0].unit_suffix() == ""


def test_what_only_some_kinds_have():
    """What a mean, a range or a colour map is needed for asks the kind for it."""
    labels = [np.float32([[0, 3], [2, 0]]), np.float32([[5]]), np.zeros((1, 1), np.float32)]
    assert DEPTH.storage.limits(labels) == (2, 5) and DEPTH.storage.limits(labels[2:]) is None
    assert DEPTH.storage.mean_and_deviation(DEPTH.storage.statistics(labels[0])) == (2.5, 0.5)
    assert DEPTH.storage.is_depth and not Task("heat", "scalar", scale=1, zoom="keep").storage.is_depth
    assert DEPTH.storage.range_problem() is None and DEPTH.storage.input_problem((2.5, 0.5)) is None
    assert DEPTH.storage.input_problem(None) == DEPTH.storage.input_problem((2.5, 0.0)) is not None
    for task in (SEMSEG, NORMALS, MASKS):
        label = label_of(task, np.random.default_rng(1))
        storage = task.storage
        assert storage.limits([label]) is None and storage.mean_and_deviation(storage.statistics(label)) is None
        assert not storage.is_depth and storage.range_problem() and storage.input_problem(None) is None
