"""The backbones: any timm model that gives features at strides 4, 8, 16 and 32."""

import difflib
from functools import cache
from typing import Any

import timm
import torch
from torch import nn

from shards.errors import UserError
from trainer.model.meta import on_meta

STRIDES = (4, 8, 16, 32)
"""The four scales, finest first. Height and width of an input must be multiples of the last."""
_PROBE = (96, 160)
"""Height and width of the input that says where a backbone's features lie: no model's own size, and no square."""


def create(name: str, inputs: int) -> nn.Module:
    """A randomly initialised backbone: ``(B, inputs, H, W)`` to a list of four features, finest first.

    Args:
        name: a timm model's name, such as ``hrnet_w18``, or that of some published weights of it, such as
            ``hrnet_w18.ms_in1k``. The network is the same; a name without weights stands for timm's choice of them.
        inputs: channels of the input.

    Raises:
        UserError: timm has no such model or no such weights of it, or it lacks a feature at one of the strides,
            or it takes inputs of one size alone.
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


@cache
def _indices(name: str) -> tuple[int, ...]:
    """Which of the model's features lie at the four strides, as a forward pass says: of several at one stride, the
    last."""
    strides = ", ".join(map(str, STRIDES))
    with on_meta(), torch.no_grad():
        try:
            draft = _create(name).eval()
        except RuntimeError as error:  # timm's word for a model without intermediate features
            raise _unfit(name, f"gives no convolutional features at strides {strides}") from error
        try:
            features = draft(torch.zeros(1, 3, *_PROBE))
        except Exception as error:  # its authors' checks of an input's size, and whatever fails without one
            raise _unfit(name, f"does not take inputs of any size, such as {_PROBE[0]}x{_PROBE[1]}") from error
    # the indices of its features need not begin at 0
    info = zip(draft.feature_info.out_indices, draft.feature_info.channels(), features, strict=True)
    last = {tuple(of.shape[2:]): index for index, channels, of in info if of.ndim == 4 and of.shape[1] == channels}
    wanted = [(_PROBE[0] // stride, _PROBE[1] // stride) for stride in STRIDES]
    if not last.keys() >= set(wanted):
        raise _unfit(name, f"gives no convolutional features at strides {strides}")
    return tuple(last[shape] for shape in wanted)


def _unfit(name: str, what: str) -> UserError:
    return UserError(f"{name} {what}", key="model.backbone", hint="choose another timm model, such as hrnet_w18")


def _create(name: str, **options: Any) -> Any:
    if name.startswith("hrnet"):  # the four branches themselves, not the classification head's convolutions on them
        options["feature_location"] = ""
    return timm.create_model(name, features_only=True, **options)
