"""DPT's parts against their description, the transformers that it takes, and the weights that it starts from."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from experiments import DEFAULT_WIDTHS
from safetensors.torch import save_file
from torch import nn

from shards.errors import UserError
from shards.tasks import Task
from trainer.experiment import Experiment
from trainer.model import pretrained, transformer
from trainer.model.architecture import Architecture
from trainer.model.dpt import DPT, Reassemble
from trainer.model.meta import on_meta
from trainer.model.network import build
from trainer.runs import checkpoint
from trainer.trainstage import train

DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")


def description(*inputs: str, backbone: str = "test_vit") -> Architecture:
    return Architecture(
        backbone, inputs or ("rgb",), (NORMALS,), (DEPTH,), statistics={"depth": (2.0, 1.0)}, name="dpt"
    )


def seeded(*inputs: str, backbone: str = "test_vit", weights: Any = False, only: Any = None) -> Any:
    torch.manual_seed(0)
    return build(description(*inputs, backbone=backbone), weights, only)


@pytest.fixture
def published(tmp_path) -> Path:
    """A file of weights as timm publishes it, with the classifier."""
    torch.manual_seed(7)
    path = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit").state_dict(), path)
    return path


def rgb_and_depth(height: int = 64, width: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    depth = 3 * torch.rand(2, 1, height, width, generator=generator)
    return {"rgb": torch.rand(2, 3, height, width, generator=generator), "depth": depth}


# Transformers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "shapes"),
    [
        ("test_vit", [(16, 24), (8, 12), (4, 6), (2, 3)]),  # patches of 16: strides 4, 8, 16, 32
        ("vit_small_patch14_dinov2.lvd142m", [(20, 28), (10, 14), (5, 7), (3, 4)]),  # of 14, of a frame padded to 70x98
        ("eva02_tiny_patch14_224", [(20, 28), (10, 14), (5, 7), (3, 4)]),
        ("vit_small_patch8_224", [(16, 24), (8, 12), (4, 6), (2, 3)]),
        ("vit_tiny_patch16_224", [(16, 24), (8, 12), (4, 6), (2, 3)]),
        ("vit_small_patch32_224", [(16, 24), (8, 12), (4, 6), (2, 3)]),
        ("vit_small_patch16_dinov3", [(16, 24), (8, 12), (4, 6), (2, 3)]),
    ],
)
def test_maps_lie_at_strides_4_to_32(backbone, shapes):
    with on_meta():
        network = DPT(description(backbone=backbone))
    output_shapes: list[torch.Size] = []
    for part in network.reassemble:
        part.register_forward_hook(lambda module, inputs, output: output_shapes.append(output.shape[-2:]))
    for encoder in network.encoders.values():  # which hold real tensors
        encoder.to("meta")
    final = network({"rgb": torch.empty(2, 3, 50, 70, device="meta")}).final["normals"]
    assert [tuple(shape) for shape in output_shapes] == shapes and final.shape == (2, 3, 50, 70)


@pytest.mark.parametrize(
    "backbone", ["test_vit", "test_vit3", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224"]
)
def test_every_parameter_of_a_transformer_learns(backbone):
    network = seeded("rgb", backbone=backbone)
    network(rgb_and_depth()).final["normals"].square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    "backbone", ["resnet18", "swin_tiny_patch4_window7_224", "test_efficientnet", "beit_base_patch16_224"]
)
def test_what_is_not_a_plain_transformer_is_refused(backbone):
    with pytest.raises(UserError, match=rf"^backbone: {backbone} is not a plain vision transformer"):
        DPT(description(backbone=backbone))


def test_of_twelve_blocks_the_third_sixth_ninth_and_twelfth_are_read():
    model = transformer.create("vit_tiny_patch16_224", 3, slice(0, 3)).eval()
    assert transformer.patch(model) == 16 and transformer.width(model) == 192
    block_outputs: list[torch.Tensor] = []
    for number in (2, 5, 8, 11):
        model.blocks[number].register_forward_hook(lambda module, inputs, output: block_outputs.append(output))
    features = model(torch.rand(1, 3, 32, 48))
    for tokens, feature in zip(block_outputs, features, strict=True):
        expected = model.norm(tokens)[:, 1:].transpose(1, 2).reshape(1, 192, 2, 3)
        torch.testing.assert_close(feature, expected)


def test_reassembly_grows_and_shrinks():
    kinds = [type(Reassemble(8, 4, 16, stride).resample) for stride in (4, 8, 16, 32)]
    assert kinds == [nn.ConvTranspose2d, nn.ConvTranspose2d, nn.Identity, nn.Conv2d]
    assert Reassemble(8, 4, 16, 4)(torch.rand(1, 8, 3, 5)).shape == (1, 4, 12, 20)
    assert Reassemble(8, 4, 16, 32)(torch.rand(1, 8, 3, 5)).shape == (1, 4, 2, 3)


def test_tokens_of_several_inputs_are_added():
    network = seeded("depth", "rgb").eval()
    (backbone,) = network.backbones.values()
    assert [*network.backbones] == ["depth_rgb"] and backbone.rgb_channels == slice(2, 5)
    encoded = network.encode(rgb_and_depth(), ("depth", "rgb"))
    tokens = backbone.patch_embed(encoded)
    depth, rgb = (
        torch.cat(pair, 1) for pair in ((encoded[:, :2], 0 * encoded[:, 2:]), (0 * encoded[:, :2], encoded[:, 2:]))
    )
    bias = backbone.patch_embed.proj.bias
    torch.testing.assert_close(tokens, backbone.patch_embed(depth) + backbone.patch_embed(rgb) - bias)


def test_a_frame_has_the_same_gradient_in_any_company():
    """Without batch norm nothing depends on the micro-batch."""
    network, inputs = seeded("rgb", "depth"), rgb_and_depth()
    together = network(inputs).final["normals"]
    alone = torch.cat([network({name: x[i : i + 1] for name, x in inputs.items()}).final["normals"] for i in range(2)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


# Weights -------------------------------------------------------------------------------------------------------------


def test_weights_of_timm_are_loaded_and_rgb_is_normalised_as_they_want(published):
    network = seeded("rgb", weights=published)
    (backbone,) = network.backbones.values()
    reference = timm.create_model("test_vit", dynamic_img_size=True)
    pretrained.load_pretrained([reference.eval()], "test_vit", published)
    assert network.architecture.rgb_mean == network.architecture.rgb_std == (0.5, 0.5, 0.5)
    x = torch.rand(1, 3, 160, 160)
    normalised = network.encode({"rgb": x}, ["rgb"])
    torch.testing.assert_close(normalised, (x - 0.5) / 0.5)
    torch.testing.assert_close(backbone(normalised)[-1], reference.forward_intermediates(normalised, norm=True)[1][-1])


@pytest.mark.parametrize("only", [None, ["rgb"], ["depth"]])
def test_other_inputs_begin_at_zero_beside_weights_of_rgb(published, only):
    network, alone = seeded("depth", "rgb", weights=published, only=only), seeded("rgb", weights=published)
    weight, of_rgb = (next(iter(model.backbones.values())).patch_embed.proj.weight for model in (network, alone))
    assert torch.equal(weight[:, 2:], of_rgb) and not weight[:, :2].any()
    inputs = rgb_and_depth()
    network(inputs).final["normals"].square().mean().backward()
    assert weight.grad[:, :2].abs().max() > 0, "and learn"
    maps = [
        next(iter(model.backbones.values()))(model.encode(inputs, model.architecture.inputs))
        for model in (network, alone)
    ]
    for one, other in zip(*maps, strict=True):
        torch.testing.assert_close(one, other)


class NarrowDPT(DPT):
    WIDTH = 32


def test_a_class_derived_from_it_has_the_same_backbone(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "narrow", SimpleNamespace(NarrowDPT=NarrowDPT))
    architecture = replace(description("rgb", "depth"), name="narrow:NarrowDPT")
    network = build(architecture, published, ["depth"])
    assert network.architecture.rgb_mean == (0.5, 0.5, 0.5) and [*network.backbones] == ["rgb_depth"]
    assert network.heads["normals"].mix.weight.shape[0] == 16
    assert network(rgb_and_depth()).final["normals"].shape == (2, 3, 64, 64)


def test_a_network_of_depth_alone_adapts_the_weights(published):
    weight = next(iter(seeded("depth", weights=published).backbones.values())).patch_embed.proj.weight
    assert weight.shape[1] == 2 and weight.abs().max() > 0


def test_weights_of_another_transformer_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_vit2").state_dict(), path)
    with pytest.raises(UserError, match="test_vit"):
        seeded("rgb", weights=path)


def test_a_run_starts_from_the_transformer_of_another(make):
    options = ("model.name=dpt", "model.backbone=test_vit", DEFAULT_WIDTHS, "train.steps=1")
    first: Experiment = make("plain", *options, "experiment=first")
    last = train(first)
    second = make("teacher", *options, f"model.pretrained={last / 'model.safetensors'}", "evaluate.every=0")
    network = build(second.architecture, second.config.model.pretrained)
    previous, _ = checkpoint.load_exported(last)
    one, other = (next(iter(model.backbones.values())) for model in (network, previous))
    assert torch.equal(one.blocks[3].mlp.fc1.weight, other.blocks[3].mlp.fc1.weight)
    assert torch.equal(one.patch_embed.proj.weight[:, :3], other.patch_embed.proj.weight)
