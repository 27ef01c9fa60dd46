"""Vision transformers as backbones: any timm model of a single resolution that gives its blocks' tokens as maps."""

from types import MethodType
from typing import Any

import torch

from shards.errors import UserError
from trainer.model.backbone import check_name
from trainer.model.repaired import timm

LEVELS = 4
"""The number of blocks whose tokens are read."""


def create(name: str, inputs: int, rgb: slice | None) -> Any:
    """Create a randomly initialised transformer: ``(B, inputs, H, W)`` to four maps ``(B, width, H/patch, W/patch)``.

    H and W must be multiples of the patch. The maps are the tokens of the last block of each quarter: of 12 blocks the
    3rd, 6th, 9th and 12th, as Ranftl et al., "Vision Transformers for Dense Prediction" (ICCV 2021), section 3.3, use
    for ViT-Base. Class and register tokens are left out (their ``ignore``, eq. 4), and each map passes the
    transformer's last layer norm, as in Oquab et al., "DINOv2" (2023). Position embeddings are interpolated to the
    frame.

    Args:
        name: a timm model's name, with or without the tag of published weights.
        inputs: channels of the input.
        rgb: the slice of RGB's channels, if any (:func:`trainer.model.pretrained.load_pretrained`).

    Raises:
        UserError: timm has no such model or no such weights of it, or it is not of this form.
    """
    check_name(name)
    try:
        model = timm.create_model(name, in_chans=inputs, dynamic_img_size=True)
    except TypeError:  # what timm raises for a model without these options
        model = None
    fits = hasattr(model, "prune_intermediate_layers") and len({info["reduction"] for info in model.feature_info}) == 1
    if model is None or not fits or len(model.blocks) < LEVELS:
        message = f"{name} is not a plain vision transformer for frames of any size"
        hint = "choose another timm model, such as vit_small_patch14_dinov2, or another network"
        raise UserError(message, key="backbone", hint=hint)
    model.prune_intermediate_layers(len(model.blocks), prune_head=True)
    model.rgb_channels = rgb
    # Replaces forward, around which engines gather parameters. A bound method, so that a copy gets its own.
    model.forward = MethodType(_maps, model)
    return model


def patch(transformer: Any) -> int:
    """Return the side of a transformer's patches, in pixels."""
    return transformer.feature_info[-1]["reduction"]


def width(transformer: Any) -> int:
    """Return the number of channels of a transformer's maps."""
    return transformer.feature_info[-1]["num_chs"]


def _maps(transformer: Any, x: torch.Tensor) -> list[torch.Tensor]:
    depth = len(transformer.blocks)
    last = [depth * quarter // LEVELS - 1 for quarter in range(1, LEVELS + 1)]
    return transformer.forward_intermediates(x, indices=last, norm=True, intermediates_only=True)
