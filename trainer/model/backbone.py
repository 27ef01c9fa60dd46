"""The backbones: any timm model that gives features at strides 4, 8, 16 and 32."""

import difflib
from typing import Any

import timm
import torch
from torch import nn

from shards.errors import UserError

STRIDES = (4, 8, 16, 32)
"""The four scales, finest first. Height and width of an input must be multiples of the last."""


def create(name: str, inputs: int) -> nn.Module:
    """A randomly initialised backbone: ``(B, inputs, H, W)`` to a list of four features, finest first.

    Args:
        name: a timm model's name, such as ``hrnet_w18``, or that of some published weights of it, such as
            ``hrnet_w18.ms_in1k``. The network is the same; a name without weights stands for timm's choice of them.
        inputs: channels of the input.

    Raises:
        UserError: timm has no such model or no such weights of it, or it lacks a feature at one of the strides.
    """
    check_name(name)
    return _create(name, in_chans=inputs, out_indices=_indices(name))


def check_name(name: str) -> None:
    """Make sure that timm has a model of this name.

    Raises:
        UserError: when it has not, or no such weights of it.
    """
    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3) or ["hrnet_w18"]
        raise UserError(f"timm has no model {model!r}", key="model.backbone", hint=f"did you mean {' or '.join(near)}?")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # is_model does not look at the tag
        known = " or ".join([model, *timm.list_pretrained(f"{model}.*")])
        what = f"timm knows no weights {tag!r} of {model}"
        raise UserError(what, key="model.backbone", hint=f"use {known}") from None


def widths(backbone: nn.Module) -> list[int]:
    """The channels of the four features, finest first."""
    info: Any = backbone.feature_info
    return info.channels()


def _indices(name: str) -> list[int]:
    """Which of the model's features lie at the four strides: of several at one stride, the last."""
    strides: list[int] = []
    try:
        with torch.device("meta"):
            draft = _create(name)
        if getattr(draft, "output_fmt", "NCHW") == "NCHW":
            strides = draft.feature_info.reduction()
    except RuntimeError:  # timm's word for a model without intermediate features
        pass
    last = {stride: index for index, stride in enumerate(strides)}
    if not last.keys() >= set(STRIDES):
        raise UserError(
            f"{name} gives no convolutional features at strides {', '.join(map(str, STRIDES))}",
            key="model.backbone",
            hint="choose another timm model, such as hrnet_w18",
        )
    return [last[stride] for stride in STRIDES]


def _create(name: str, **options: Any) -> Any:
    if name.startswith("hrnet"):  # the four branches themselves, not the classification head's convolutions on them
        options["feature_location"] = ""
    return timm.create_model(name, features_only=True, **options)
