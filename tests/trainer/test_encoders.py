"""Inputs as backbones read them."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from shards.tasks import IGNORE, Task, palette
from trainer.model.base import encoder
from trainer.model.network import Architecture

SEMSEG = Task("semseg", "classes", tuple("abcde"), palette(5))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")
LABELS = Architecture(
    "hrnet_w18_small",
    ("rgb", "depth", "semseg", "normals"),
    (DEPTH,),
    (SEMSEG, DEPTH, NORMALS),
    statistics={"depth": (2.5, 1.5)},
)
EARLY = dataclasses.replace(LABELS, fusion="early")


def test_rgb_is_normalised_as_imagenet():
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rgb = (mean + 2 * std).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    torch.testing.assert_close(encoder("rgb", LABELS)(rgb), torch.full((1, 3, 32, 32), 2.0))


def test_rgb_is_normalised_as_the_architecture_says():
    architecture = dataclasses.replace(LABELS, rgb_mean=(0.5, 0.4, 0.3), rgb_std=(0.5, 0.25, 0.125))
    rgb = torch.tensor([1.0, 0.9, 0.8]).view(1, 3, 1, 1).expand(1, 3, 50, 32)
    expected = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1).expand(1, 3, 64, 32)
    torch.testing.assert_close(encoder("rgb", architecture)(rgb), expected)


def test_metric_input_has_a_validity_channel():
    depth = torch.tensor([0, 2.5, 4.0]).repeat(11)[:32].expand(1, 1, 32, 32)
    encoded = encoder("depth", LABELS)(depth)
    torch.testing.assert_close(encoded[0, :, 0, :3], torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]))
    torch.testing.assert_close(encoder("depth", EARLY)(depth), encoded[:, :1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_classes_input_is_one_hot_with_ignore_last(dtype):
    labels = torch.tensor([3, IGNORE]).repeat(16).expand(1, 32, 32).to(dtype)
    encoded = encoder("semseg", LABELS)(labels)
    assert encoded.shape == (1, 6, 32, 32) and encoded.dtype == torch.float32
    assert encoded[0, :, 0, :2].T.tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert torch.equal(encoder("semseg", EARLY)(labels), encoded[:, :5])


def test_unit_vector_input_has_a_validity_channel():
    vectors = torch.zeros(1, 3, 32, 32)
    vectors[..., 0] = torch.tensor([0.0, -0.6, 0.8]).view(1, 3, 1)
    encoded = encoder("normals", LABELS)(vectors)
    torch.testing.assert_close(encoded[0, :, 0, :2].T, torch.tensor([[0, -0.6, 0.8, 1], [0, 0, 0, 0]]))
    assert torch.equal(encoder("normals", EARLY)(vectors), vectors)


@pytest.mark.parametrize(
    ("name", "mode", "value"),
    [("rgb", "replicate", None), ("depth", "constant", 0), ("semseg", "constant", IGNORE), ("normals", "constant", 0)],
)
def test_odd_sizes_are_padded_without_labels(name, mode, value):
    x = {
        "rgb": torch.rand(1, 3, 50, 70),
        "depth": torch.rand(1, 1, 50, 70),
        "semseg": torch.randint(0, 5, (1, 50, 70)),
        "normals": F.normalize(torch.randn(1, 3, 50, 70), dim=1),
    }[name]
    encode = encoder(name, LABELS)
    assert encode(x).shape[-2:] == (64, 96)
    torch.testing.assert_close(encode(x), encode(F.pad(x, (0, 26, 0, 14), mode, value)))
