"""Kinds: each has a class for storage and one for learning, and no other place asks which kind a task has."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import DEPTH, NORMALS, SEMSEG

from shards.kinds import kind_names, kinds, metrics, storage_of
from shards.tasks import IGNORE, Task, palette
from trainer.kinds import learning

REPOSITORY = Path(__file__).parents[2]
MASKS = Task("masks", "binary", ("free", "edge"), palette(2))
TASKS = (SEMSEG, DEPTH, NORMALS, MASKS)


def label_of(task, random: np.random.Generator) -> np.ndarray:
    """A label array with and without labels."""
    height, width = 6, 8
    if task is SEMSEG:
        return random.choice([0, 1, 2, IGNORE], (height, width)).astype(np.uint8)
    if task is MASKS:
        return random.integers(0, 5, (height, width)).astype(np.int16)
    some = random.random((height, width)) < 0.7
    if task is DEPTH:
        return (random.uniform(1, 5, (height, width)) * some).astype(np.float32)
    vectors = random.normal(size=(height, width, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True) * some[..., None]).astype(np.float32)


def test_what_is_stored_can_be_learnt_and_the_reverse():
    assert all(storage_of(name).kind == name for name in kind_names())
    assert [learning(task).kind for task in TASKS] == [task.kind for task in TASKS]
    assert {task.kind for task in TASKS} == set(kind_names())


def test_nobody_else_asks_for_a_kind():
    """`task.kind` is looked up in the two tables, and compared with nothing."""
    names = "|".join(kind_names())
    asks = re.compile(rf"""(task|target)\w*\.kind\b|[=!]= ["']({names})["']""")
    asked = []
    for package in ("shards", "trainer", "analysis", "launchers"):
        for path in (REPOSITORY / package).rglob("*.py"):
            lines = [line.strip() for line in path.read_text().splitlines()]
            asked += [f"{path.relative_to(REPOSITORY)}: {line}" for line in lines if asks.search(line)]
    allowed = (
        "_LEARNING[task.kind]",
        "task.kind not in _LEARNING",
        "task.kind not in _LEARNING",
        "cannot be learnt",
        "MeasuredTask(task.kind, ",
    )  # the table, and what is noted of it
    assert [line for line in asked if not any(text in line for text in allowed)] == []
    assert len(asked) == len(allowed)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_both_halves_of_a_kind_agree(task):
    random = np.random.default_rng(1)
    label, storage, learnt = label_of(task, random), task.storage, learning(task)
    tensor = learnt.view(torch.from_numpy(label))
    np.testing.assert_array_equal(learnt.array(tensor), label)
    mask = learnt.labelled(tensor)
    np.testing.assert_array_equal((mask if mask.ndim == 2 else mask[0]).numpy(), storage.labelled(label))
    assert not storage.labelled(storage.empty(3, 4)).any() and not learnt.labelled(learnt.blank(3, 4)).any()
    assert learnt.blank(3, 4).shape == learnt.view(torch.from_numpy(storage.empty(3, 4))).shape
    kept = random.random(label.shape[:2]) < 0.5
    np.testing.assert_array_equal(storage.labelled(storage.keep(label, kept)), storage.labelled(label) & kept)
    output = torch.randn(2, task.channels, 6, 8)
    decision = learnt.decide(output)
    assert decision.shape[1:] == label.shape and decision[0].numpy().dtype == label.dtype
    assert torch.equal(learnt.mirrored(learnt.mirrored(output)), output)
    target = torch.stack([tensor, learnt.blank(6, 8)])
    sums = learnt.measure(decision, target)
    assert sums.shape == (learnt.sums,) and sums.dtype == torch.int64
    report = learnt.report(sums.tolist())
    assert report["pixels"] == storage.labelled(label).sum()
    assert {metric.name for metric in storage.metrics} <= report.keys()
    assert storage.colourise(label).shape == (6, 8, 3) and storage.glance(label) and storage.score(label, label)
    assert not storage.differ(label, label)[storage.labelled(label)].any()


def test_metrics_of_all_kinds_have_names_of_their_own():
    every = [metric.name for metric in metrics()]
    assert len(set(every)) == len(every)
    assert all(kind.metrics[0].shown for kind in kinds()), "networks are compared by what tables show"
