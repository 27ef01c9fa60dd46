"""Backbones of timm: the strides of their features, determined by a forward pass, and which cannot be used."""

import pytest
import torch

from shards.errors import UserError
from trainer.definition import STRIDES
from trainer.model.backbone import create, widths
from trainer.model.meta import on_meta

NOT_FROM_ZERO = ["dla34", "dla46x_c", "tresnet_m"]
"""Models whose lists of features do not begin with index 0."""


@pytest.mark.parametrize("name", ["resnet18", "test_efficientnet", "hrnet_w18_small", "vgg11", *NOT_FROM_ZERO])
def test_features_lie_at_the_four_strides(name):
    with on_meta():
        backbone = create(name, 3).eval()
        features = backbone(torch.zeros(1, 3, 64, 128))
    assert [tuple(feature.shape[2:]) for feature in features] == [(64 // stride, 128 // stride) for stride in STRIDES]
    assert [feature.shape[1] for feature in features] == widths(backbone)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "levit_128"])
def test_a_model_of_one_input_size_is_refused(name):
    with pytest.raises(UserError, match=f"backbone: {name} does not take inputs of any size, such as 96x160; choose"):
        create(name, 3)


@pytest.mark.parametrize(
    "name", ["inception_v3", "xception", "mambaout_femto", "samvit_base_patch16", "mobilevitv2_050"]
)
def test_a_model_with_features_elsewhere_is_refused(name):
    with pytest.raises(UserError, match=f"{name} gives no convolutional features at strides 4, 8, 16, 32; choose"):
        create(name, 3)


def test_looking_takes_no_random_numbers():
    torch.manual_seed(0)
    create("test_efficientnet", 3)
    expected = torch.rand(3)
    torch.manual_seed(0)
    create("test_efficientnet", 3)
    assert torch.equal(torch.rand(3), expected)
