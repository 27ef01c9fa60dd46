"""Descriptions of networks, and the faults in them that users make."""

import dataclasses
import json

import pytest

from shards.errors import UserError
from shards.tasks import Task, palette
from trainer.model.network import Architecture, build

SEMSEG = Task("semseg", "classes", tuple("abcde"), palette(5))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")
STUDENT = Architecture("hrnet_w18_small", ("rgb",), (SEMSEG, DEPTH))
TEACHER = dataclasses.replace(
    STUDENT, inputs=("rgb", "depth"), input_tasks=(DEPTH, NORMALS), statistics={"depth": (2.5, 1.5)}
)


HALF = dataclasses.replace(STUDENT, rgb_mean=(0.5, 0.4, 0.3), rgb_std=(0.1, 0.2, 0.3))


@pytest.mark.parametrize("architecture", [STUDENT, TEACHER, dataclasses.replace(TEACHER, fusion="early"), HALF])
def test_description_survives_json(architecture):
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json(), sort_keys=True))) == architecture


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("inputs", {"inputs": ()}),
        ("inputs", {"inputs": ("rgb", "rgb")}),
        ("inputs", {"inputs": ("rgb", "thermal")}),
        ("tasks", {"tasks": ()}),
        ("tasks", {"tasks": (DEPTH, DEPTH)}),
        ("statistics", {"statistics": {}}),
        ("statistics", {"statistics": {"depth": (2.0, 0.0)}}),
        ("fusion", {"fusion": "late"}),
        ("rgb_mean", {"rgb_mean": (0.5,)}),
        ("rgb_std", {"rgb_std": (0.5, 0.0, 0.5)}),
        ("decoder", {"decoder": "deeplab"}),
        ("widths", {"widths": (18, 36)}),
        ("keys", {"tasks": (SEMSEG, Task("keys", "unit_vector"))}),
    ],
)
def test_contradictions_are_named(key, change):
    with pytest.raises(UserError) as error:
        dataclasses.replace(TEACHER, **change)
    assert error.value.key == key


def test_a_network_of_another_version_is_refused(tmp_path):
    entry, file = STUDENT.to_json(), tmp_path / "model.json"
    assert entry.pop("version") == 2
    with pytest.raises(UserError, match=r"model\.json: version: is of a network of version 1, not 2; train it again"):
        Architecture.from_json(entry, file)
    with pytest.raises(UserError, match=r"model\.json: version: .* of version 3, not 2; use a newer Tutelage"):
        Architecture.from_json(entry | {"version": 3}, file)
    with pytest.raises(UserError, match=r"model\.json: fusion: is missing from the description"):
        Architecture.from_json({key: value for key, value in STUDENT.to_json().items() if key != "fusion"}, file)


def test_a_description_of_before_normalisation_was_noted_has_imagenets():
    entry = HALF.to_json()
    del entry["rgb_mean"], entry["rgb_std"]
    old = Architecture.from_json(entry)
    assert (old.rgb_mean, old.rgb_std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) and old == STUDENT


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("hrnet_w81", "did you mean .*hrnet_w18"),
        ("hrnet_w81.ms_in1k", "no model 'hrnet_w81'; did you mean .*hrnet_w18"),
        ("hrnet_w18.ms_in2k", "no weights 'ms_in2k' of hrnet_w18; use hrnet_w18 or .*hrnet_w18.ms_in1k"),
        ("vit_tiny_patch16_224", "does not take inputs of any size"),
        ("swin_tiny_patch4_window7_224", "does not take inputs of any size"),
    ],
)
def test_unusable_backbones_are_refused(backbone, message):
    with pytest.raises(UserError, match=message):
        build(dataclasses.replace(STUDENT, backbone=backbone))
