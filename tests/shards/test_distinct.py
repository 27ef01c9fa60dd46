"""The colours of classes whose data set declares none, and what pictures say of colours."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import DEPTH, SEMSEG

from shards.kinds.base import MISSING
from shards.kinds.distinct import distinct_colours
from shards.tasks import Task


@pytest.mark.parametrize("count", [2, 8, 40, 255])
def test_no_two_colours_are_alike(count):
    colours = distinct_colours(count)
    assert len(set(colours)) == count and colours == distinct_colours(255)[:count]
    points = np.array([*colours, MISSING, (255, 255, 255)], float)
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + 999 * np.eye(len(points))
    assert distances.min() > (60 if count <= 8 else 15)


def test_only_the_default_colours_are_replaced_and_only_in_pictures():
    declared = ((128, 0, 0), (0, 128, 0), (128, 128, 0), (64, 0, 0))
    label = np.arange(4, dtype=np.uint8)[None]
    for task in (SEMSEG, Task("masks", "binary", ("a", "b"))):
        assert task.storage.colours == distinct_colours(len(task.classes))
        assert task.to_json()["colours"][0] == [128, 0, 0], "what is stored stays"
    assert SEMSEG.storage.colourise(label).tolist() == [[list(colour) for colour in distinct_colours(4)]]
    assert replace(SEMSEG, colours=declared).storage.colourise(label).tolist() == [list(map(list, declared))]
    named = [(SEMSEG.classes[1], distinct_colours(4)[1])]
    assert SEMSEG.storage.occurring([label[:, 1:2]]) == SEMSEG.storage.key([label[:, 1:2]]) == named


def test_the_key_of_a_quantity_has_the_ends_of_its_colours():
    labels = [np.array([[0, 1, 4]], np.float32)]
    (near, bright), (far, dark) = DEPTH.storage.key(labels, (1, 4.25))
    assert (near, far) == ("1 m", "4.25 m")
    assert DEPTH.storage.colourise(labels[0]).tolist()[0][1:] == [list(bright), list(dark)]
    assert [text for text, _ in DEPTH.storage.key(labels)] == ["smallest value of each", "largest value of each"]
    assert DEPTH.storage.key([np.zeros((1, 2), np.float32)]) == []
