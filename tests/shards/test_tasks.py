"""Tasks: their JSON, and refusing invalid declarations."""

import json

import pytest
from tiny import DEPTH, NORMALS, SEMSEG

from shards.errors import UserError
from shards.tasks import Task, palette


@pytest.mark.parametrize("task", [SEMSEG, DEPTH, NORMALS], ids=lambda task: task.kind)
def test_tasks_survive_json(task):
    assert Task.from_json(task.name, json.loads(json.dumps(task.to_json()))) == task


def test_channels_follow_from_the_kind():
    assert [task.channels for task in (SEMSEG, DEPTH, NORMALS)] == [4, 1, 3]


@pytest.mark.parametrize("name", ["rgb", "json", "key", "", "Depth", "a.b", "a/b", "a b", "-"])
def test_a_name_that_cannot_be_a_members(name):
    with pytest.raises(UserError, match="is not a task name"):
        Task(name, "unit_vector")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"kind": "boxes"}, "kind 'boxes' is none of classes, scalar, unit_vector"),
        ({"kind": "classes"}, "0 classes, where 1 to 255 can be stored"),
        ({"kind": "classes", "classes": ("c",) * 256, "colours": palette(256)}, "256 classes, where 1 to 255"),
        ({"kind": "classes", "classes": ("a", "b"), "colours": palette(1)}, "1 colours for 2 classes"),
        ({"kind": "scalar"}, "scale 0.0 is not a positive, finite number"),
        ({"kind": "scalar", "scale": float("nan")}, "scale nan is not a positive, finite number"),
        ({"kind": "scalar", "scale": float("inf")}, "scale inf is not a positive, finite number"),
    ],
)
def test_what_cannot_be_stored_is_refused(options, what):
    with pytest.raises(UserError, match=what) as caught:
        Task("semseg", **options)
    assert caught.value.key == "task semseg"


def test_a_palette_has_distinct_colours():
    assert palette(3) == ((128, 0, 0), (0, 128, 0), (128, 128, 0))  # those of PASCAL VOC
    assert len(set(palette(255))) == 255


def test_a_zoom_is_written_only_where_it_is_not_the_usual_one():
    """Manifests from before the option existed stay the same to the byte, and keep their meaning."""
    assert DEPTH.to_json() == {"kind": "scalar", "scale": 0.001, "unit": "m"}
    assert Task.from_json("depth", DEPTH.to_json() | {"kind": "metric"}) == DEPTH, "as manifests of 0.1 have it"
    assert Task.from_json("depth", DEPTH.to_json()).zoom == "divide"
    inverse = Task("inverse_depth", "scalar", scale=1.0, unit="1/m", zoom="multiply")
    assert inverse.to_json()["zoom"] == "multiply"
    assert Task.from_json("inverse_depth", json.loads(json.dumps(inverse.to_json()))) == inverse


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ({"kind": "scalar", "scale": 1.0, "zoom": "double"}, "zoom 'double' is none of divide, multiply, keep"),
        ({"kind": "unit_vector", "zoom": "keep"}, "zoom 'keep' is of the kind scalar, not of unit_vector"),
    ],
)
def test_a_zoom_that_cannot_be_is_refused(task, what):
    with pytest.raises(UserError, match=what):
        Task("heat", **task)
