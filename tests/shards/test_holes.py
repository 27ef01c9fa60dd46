"""Pseudo-labels for the pixels that ground truth leaves unlabelled."""

import numpy as np
import pytest

from shards.holes import FILL, fill_holes
from shards.tasks import Task, palette

SEMSEG = Task("semseg", "classes", tuple("abc"), palette(3))
DEPTH = Task("depth", "scalar", scale=0.001)
NORMALS = Task("normals", "unit_vector")


def test_ground_truth_wins_and_weighs_fully():
    label = np.array([[0, 255], [255, 2]], np.uint8)
    arrays = {
        "semseg": label,
        f"semseg.{FILL}": np.array([[1, 1], [255, 1]], np.uint8),
        "semseg.soft": np.full((2, 2, 4), 7, np.uint8),
        "semseg.weight": np.full((2, 2, 1), 100, np.uint8),
    }
    filled = fill_holes(arrays, [SEMSEG, DEPTH])
    assert {*filled} == {"semseg", "semseg.soft", "semseg.weight"}
    assert filled["semseg"].tolist() == [[0, 1], [255, 2]]
    assert filled["semseg.soft"][..., 0].tolist() == [[0, 7], [7, 0]]
    assert filled["semseg.weight"][..., 0].tolist() == [[255, 100], [100, 255]]
    assert label.tolist() == [[0, 255], [255, 2]], "what was read is not changed"
    assert filled["semseg"].dtype == filled["semseg.weight"].dtype == np.uint8


@pytest.mark.parametrize("task", [DEPTH, NORMALS], ids=lambda task: task.kind)
def test_quantities_and_vectors(task):
    label = task.storage.empty(2, 2)
    label[0] = 0.6 if task == DEPTH else (0, 0, 1)
    pseudo_label = np.broadcast_to(np.float32(0.5) if task == DEPTH else np.array([1, 0, 0], np.float32), label.shape)
    filled = fill_holes({task.name: label, f"{task.name}.{FILL}": pseudo_label}, [task])[task.name]
    np.testing.assert_array_equal(filled[0], label[0])
    np.testing.assert_array_equal(filled[1], pseudo_label[1])
