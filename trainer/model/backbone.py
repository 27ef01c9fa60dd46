"""The backbones: any timm model with features at strides 4, 8, 16 and 32."""

import difflib
from functools import cache
from typing import Any

import torch
from torch import nn

from shards.errors import UserError
from trainer.definition import STRIDES
from trainer.model.meta import on_meta
from trainer.model.repaired import timm

_PROBE = (96, 160)
"""Height and width of the input that probes the strides of a backbone's features: neither a native size nor square."""


def create(name: str, inputs: int) -> nn.Module:
    """Create a randomly initialised backbone: ``(B, inputs, H, W)`` to a list of four features, finest first.

    Args:
        name: a timm model's name, such as ``hrnet_w18``, or a name with the tag of published weights, such as
            ``hrnet_w18.ms_in1k``. The network is the same; without a tag, timm's default weights are meant.
        inputs: channels of the input.

    Raises:
        UserError: timm has no such model or no such weights of it, or it lacks a feature at one of the strides,
            or it takes inputs of a single size only.
    """
    check_name(name)
    return _create(name, in_chans=inputs, out_indices=_indices(name))


def check_name(name: str) -> None:
    """Check that timm has a model of this name.

    Raises:
        UserError: when it does not, or has no such weights of it.
    """
    model, _, tag = name.partition(".")
    if not timm.is_model(model):
        near = difflib.get_close_matches(model, timm.list_models(), n=3) or ["hrnet_w18"]
        raise UserError(f"timm has no model {model!r}", key="backbone", hint=f"did you mean {' or '.join(near)}?")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # is_model does not look at the tag
        names = " or ".join([model, *timm.list_pretrained(f"{model}.*")])
        message = f"timm knows no weights {tag!r} of {model}"
        raise UserError(message, key="backbone", hint=f"use {names}") from None


def widths(backbone: nn.Module) -> list[int]:
    """Return the channels of the four features, finest first."""
    info: Any = backbone.feature_info
    return info.channels()


@cache
def _indices(name: str) -> tuple[int, ...]:
    """Return the indices of the model's features at the four strides, found by a forward pass: of several at one
    stride, the last."""
    strides = ", ".join(map(str, STRIDES))
    with on_meta(), torch.no_grad():
        try:
            draft = _create(name).eval()
        except RuntimeError as error:  # what timm raises for a model without intermediate features
            raise _unfit(name, f"gives no convolutional features at strides {strides}") from error
        try:
            features = draft(torch.zeros(1, 3, *_PROBE))
        except Exception as error:  # a model's own check of the input size, or whatever fails without one
            raise _unfit(name, f"does not take inputs of any size, such as {_PROBE[0]}x{_PROBE[1]}") from error
    # the indices of a model's features need not begin at 0
    info = zip(draft.feature_info.out_indices, draft.feature_info.channels(), features, strict=True)
    last = {tuple(x.shape[2:]): index for index, channels, x in info if x.ndim == 4 and x.shape[1] == channels}
    shapes = [(_PROBE[0] // stride, _PROBE[1] // stride) for stride in STRIDES]
    if not last.keys() >= set(shapes):
        raise _unfit(name, f"gives no convolutional features at strides {strides}")
    return tuple(last[shape] for shape in shapes)


def _unfit(name: str, problem: str) -> UserError:
    return UserError(f"{name} {problem}", key="backbone", hint="choose another timm model, such as hrnet_w18")


def _create(name: str, **options: Any) -> Any:
    if name.startswith("hrnet"):  # features of the four branches, without the classification head's convolutions
        options["feature_location"] = ""
    return timm.create_model(name, features_only=True, **options)
