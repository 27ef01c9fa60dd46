"""Parameters, names and multiply-adds of networks."""

import re

import pytest
import torch
from architectures import (
    DEPTH,
    SEMSEG,
    classes,
    millions,
    seeded,
    student,
    teacher,
)
from torch.utils.flop_counter import FlopCounterMode

from trainer.model.meta import on_meta
from trainer.model.mtinet import MTINet
from trainer.model.network import Network
from trainer.model.pyramid import SCALES
from trainer.model.size import size_of


@pytest.fixture(scope="module")
def published() -> Network:
    """The network whose size is known: hrnet_w18_small_v2, 40 classes and depth."""
    with on_meta():
        return MTINet(student(classes(40), DEPTH, backbone="hrnet_w18_small_v2"))


def test_parameter_counts(published):
    expected = {
        "backbones.rgb": 3.861,
        "propagation.stride32": 0.977,
        "propagation.stride16": 0.245,
        "propagation.stride8": 0.061,
        "initial.stride4": 0.038,
        "initial.stride8": 0.150,
        "initial.stride16": 0.595,
        "initial.stride32": 1.501,
        "distillation.stride4": 0.012,
        "distillation.stride8": 0.047,
        "distillation.stride16": 0.187,
        "distillation.stride32": 0.747,
        "heads": 0.159,
    }
    for name, count in expected.items():  # to 1 %, or to the last digit that is known
        assert millions(published.get_submodule(name)) == pytest.approx(count, rel=0.01, abs=0.0005), name
    assert millions(published) == pytest.approx(8.578, rel=0.01)
    assert millions(published) == pytest.approx(
        sum(millions(published.get_submodule(name)) for name in expected), rel=1e-9
    )


def test_teacher_and_larger_backbone_counts():
    with on_meta():
        two_branches = MTINet(teacher(classes(40), DEPTH, backbone="hrnet_w18_small_v2"))
        large = MTINet(student(SEMSEG, backbone="hrnet_w18"))
    assert millions(two_branches) == pytest.approx(12.4, rel=0.01)
    assert millions(large.backbones) == pytest.approx(9.56, rel=0.01)


def test_feature_propagation_keeps_its_parameter_counts():
    with on_meta():
        network = MTINet(student(classes(40), DEPTH, backbone="hrnet_w18_small_v2"))
    counts = {scale: sum(p.numel() for p in part.parameters()) for scale, part in network.propagation.items()}
    assert counts == {"stride8": 61_420, "stride16": 244_592, "stride32": 976_770}


@pytest.mark.parametrize("backbone", ["mobilenetv3_small_100", "resnet18", "convnext_tiny", "resnet50"])
def test_the_decoder_does_not_grow_with_the_backbones_widths(backbone):
    tasks = classes(40), DEPTH
    with on_meta():
        hrnet = MTINet(student(*tasks, backbone="hrnet_w18"))
        network = MTINet(student(*tasks, backbone=backbone))
        unbounded = MTINet(student(*tasks, backbone=backbone, widths=None))
    decoder, reference = (millions(model) - millions(model.backbones) for model in (network, hrnet))
    assert decoder - millions(network.projection) == pytest.approx(reference)
    assert millions(network.projection) < 0.5
    assert millions(unbounded) > 50


def test_projection_is_of_those_scales_whose_width_differs():
    assert list(seeded(student(backbone="hrnet_w18_small")).projection) == list(SCALES)
    assert not seeded(student(backbone="hrnet_w18")).projection
    assert list(seeded(student(widths=(16, 32, 64, 100))).projection) == ["stride32"]
    assert not seeded(student(widths=None)).projection


@pytest.mark.slow
def test_size_counts_what_the_network_has():
    size = size_of(student(classes(40), DEPTH, backbone="hrnet_w18_small_v2"), (470, 640))
    assert (size.backbone + size.decoder) / 1e6 == pytest.approx(8.578, rel=0.001)
    assert size.backbone / 1e6 == pytest.approx(3.861, rel=0.001)
    assert [count / 1e9 for count in size.multiply_adds] == pytest.approx([9.76, 7.36], rel=0.005)
    one, two = size_of(student(), (64, 64)), size_of(teacher(), (64, 64))
    assert two.multiply_adds[0] > 1.9 * one.multiply_adds[0] and two.multiply_adds[1] == one.multiply_adds[1]
    assert "hrnet" not in str(one) and "64x64" in str(one)


def test_multiply_accumulates(published):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        published.eval()({"rgb": torch.empty(1, 3, 480, 640, device="meta")})
    giga = {name: sum(counts.values()) / 2e9 for name, counts in counter.get_flop_counts().items()}
    part = r"MTINet\.(initial\.stride\d+\.\w+|(propagation|distillation)\.stride\d+)"
    assert giga["Global"] == pytest.approx(17.1, rel=0.05)
    assert giga["MTINet.backbones.rgb"] == pytest.approx(9.8, rel=0.05)
    assert sum(g for name, g in giga.items() if re.fullmatch(part, name)) == pytest.approx(4.4, rel=0.05)


def test_names_are_the_public_ones():
    names = {name for name, _ in seeded(teacher()).named_parameters()}
    prefixes = {
        "backbones.rgb.conv1.weight",
        "backbones.depth.conv1.weight",
        "initial.stride32.semseg.predict.weight",
        "propagation.stride8.shared.conv1.weight",
        "distillation.stride4.messages.depth.weight",
        "heads.depth.predict.bias",
    }
    assert prefixes <= names
    assert {name.partition(".")[0] for name in seeded(teacher()).state_dict()} == {
        "backbones",
        "projection",
        "initial",
        "propagation",
        "distillation",
        "heads",
    }
