"""Pretrained weights of backbones: ImageNet's from the hub or a pip package, or those of a local safetensors file.

From the hub only ``model.safetensors`` is requested; a local file is one of timm's or a checkpoint of this project,
of which the RGB backbone is used. Neither is unpickled; packages: :mod:`trainer.model.packages`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from shards.atomic import read_json
from shards.errors import UserError
from shards.write import sha256_of
from trainer.model import packages, packageweights
from trainer.model.architecture import IMAGENET_MEAN, IMAGENET_STD, RGB, Architecture
from trainer.model.meta import on_meta
from trainer.model.packages import PACKAGE
from trainer.model.repaired import timm

OWN_PREFIX = "backbones.rgb."
"""The prefix in checkpoints of this project of the weights that another network can start from."""
_KEY = "pretrained"


def load_pretrained(backbones: Iterable[nn.Module], name: str, source: bool | str | Path) -> None:
    """Load the same weights into every backbone, with the first convolution adapted to the backbone's input channels.

    Where a backbone has ``rgb_channels``, the slice of its RGB channels, those get the weights, the others zeros.

    Args:
        backbones: made by :func:`trainer.model.backbone.create` or :func:`trainer.model.transformer.create`, all of the
            same model.
        name: the timm model's name.
        source: ``True`` for the hub's weights, ``"package"`` for those of a pip package, or a ``.safetensors`` file;
            ``False`` does nothing.

    Raises:
        UserError: the hub cannot be reached, the package is not installed, or the file is unreadable or belongs to
            another network.
    """
    if not source:
        return
    if source == PACKAGE:
        path, weights = packages.locate(name), packageweights.read(name)
    else:
        path = fetch(name) if source is True else Path(source)
        weights = read(path)
    for backbone in backbones:
        _load(backbone, weights, name, path)


def pretrained_branches(branches: Mapping[str, Sequence[str]], inputs: Sequence[str] | None) -> list[str]:
    """Return the names of the backbones that start from pretrained weights.

    A backbone that reads several inputs, such as early fusion's, starts from them as a whole if any input is named.

    Args:
        branches: the inputs of each backbone, by its name.
        inputs: the inputs whose backbones start from pretrained weights; None for all.
    """
    return [branch for branch, names in branches.items() if inputs is None or not set(inputs).isdisjoint(names)]


def match_normalisation(
    architecture: Architecture,
    source: bool | str | Path,
    inputs: Sequence[str] | None,
    branches: Mapping[str, Sequence[str]] | None = None,
) -> Architecture:
    """Return an architecture with the RGB normalisation that the weights of its RGB backbone were trained with.

    It is timm's for the backbone's weights, or that of the run whose ``model.safetensors`` is used. The architecture is
    unchanged where the backbone starts from scratch.

    Args:
        architecture: the description, whose ``rgb_mean`` and ``rgb_std`` are ignored.
        source: see :func:`load_pretrained`.
        inputs: see :func:`pretrained_branches`.
        branches: likewise; None for those of the architecture.

    Raises:
        UserError: the file is unreadable, or its normalisation is unknown.
    """
    branches = architecture.branches if branches is None else branches
    starting = {name for branch in pretrained_branches(branches, inputs) for name in branches[branch]}
    if not source or RGB not in starting:
        return architecture
    config = _timm_config(architecture.backbone)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    if not isinstance(source, bool) and source != PACKAGE and _is_checkpoint(Path(source)):
        mean, std = _read_normalisation(Path(source), (mean, std))
    return replace(architecture, rgb_mean=tuple(mean), rgb_std=tuple(std))


def fetch(name: str) -> Path:
    """Return the local copy of the hub's weights of a timm model, downloaded if necessary; fails within seconds."""
    config = _timm_config(name)
    if config is None or not config.hf_hub_id:
        raise UserError(f"timm offers no weights of {name}", key=_KEY, hint=f"set {_KEY}=false, or a local file")
    repository, file = config.hf_hub_id, "model.safetensors"
    url = huggingface_hub.hf_hub_url(repository, file)
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, local_files_only=True))
    except OSError:  # not in the cache
        pass
    try:
        huggingface_hub.get_hf_file_metadata(url, timeout=10)  # tries once; the download itself would retry for long
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except Exception as error:  # the type of the error depends on the hub client's version
        raise UserError(
            f"cannot get the weights {repository} from the hub ({type(error).__name__})",
            key=_KEY,
            hint=f"download {url} where there is a network, and set {_KEY}=PATH/{file}",
        ) from error


def read(path: Path) -> dict[str, torch.Tensor]:
    """Read a file's backbone weights: those under :data:`OWN_PREFIX` if it has any, else all."""
    _check_suffix(path)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    backbone = {key.removeprefix(OWN_PREFIX): weights[key] for key in weights if key.startswith(OWN_PREFIX)}
    return backbone or weights


def _check_suffix(path: Path) -> None:
    if path.suffix == ".safetensors":
        return
    if not path.exists():
        hint = f"use true (the hub), false, {PACKAGE}, or the path of a .safetensors file"
        raise UserError(f"{str(path)!r} is not a valid source of weights", key=_KEY, hint=hint)
    raise UserError(
        "is not a .safetensors file, the only format that is read",
        file=path,
        key=_KEY,
        hint='if you trust it: python -c "import torch, safetensors.torch as s; s.save_file('
        "torch.load('OLD.pth', weights_only=True), 'model.safetensors')\"",
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"cannot be read ({error})", file=path, key=_KEY, hint="check the path, or copy the file again")


def _is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of this project, by the names in its header."""
    _check_suffix(path)
    try:
        with safe_open(path, "pt") as file:
            return any(key.startswith(OWN_PREFIX) for key in file.keys())  # noqa: SIM118, not a mapping
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _read_normalisation(path: Path, published: tuple[Any, Any]) -> tuple[Any, Any]:
    """Read mean and standard deviation of RGB of a run's network, from the description beside its weights.

    Args:
        published: those of the backbone's published weights. If they are ImageNet's, all networks with the backbone
            have them, and the description may be missing.
    """
    description = path.with_name("model.json")
    if description.exists():
        entry = read_json(description, "copy it again")
        if isinstance(entry, dict) and entry.get("sha256") == sha256_of(path):
            architecture = Architecture.from_json(entry["architecture"], description)
            return architecture.rgb_mean, architecture.rgb_std
    if tuple(map(tuple, published)) == (IMAGENET_MEAN, IMAGENET_STD):
        return published
    hint = "give a run's checkpoints/last/model.safetensors, with the model.json beside it"
    raise UserError("does not say how its network normalises RGB", file=path, key=_KEY, hint=hint)


def _load(backbone: nn.Module, weights: Mapping[str, torch.Tensor], name: str, path: Path) -> None:
    """Copy ``weights`` into ``backbone``, refusing any that do not fit.

    timm joins the outer names of some models with ``_`` where they are feature extractors (``stages_0.conv``) and with
    ``.`` elsewhere (``stages.0.conv``), so names are compared with every separator replaced by an underscore.
    """
    unused = {_flatten(key): (key, weight) for key, weight in weights.items()}
    state = backbone.state_dict()
    stems = _first_convolutions(name)

    def mismatch(problem: str, key: str) -> UserError:
        return UserError(problem, file=path, key=key, hint=f"give weights of {name}, or another backbone")

    for key, current in state.items():
        if _flatten(key) not in unused:
            if key.endswith("num_batches_tracked"):  # files from before 2018 lack it, and nothing depends on it
                continue
            raise mismatch(f"is missing, but {name} has it", key)
        _, weight = unused.pop(_flatten(key))
        if _flatten(key) in stems and weight.ndim == 4 and weight.shape[1] == 3:
            weight = _adapt_first_convolution(weight, current.shape[1], getattr(backbone, "rgb_channels", None))
        if weight.shape != current.shape:
            raise mismatch(f"has shape {tuple(weight.shape)}, where {name} has {tuple(current.shape)}", key)
        current.copy_(weight)
    if unused:
        with on_meta():
            classifier = {_flatten(key) for key in timm.create_model(name).state_dict()}
        for flat, (key, _) in unused.items():
            if flat not in classifier:
                raise mismatch(f"is not a weight of {name}", key)


def _adapt_first_convolution(weight: torch.Tensor, channels: int, rgb: slice | None) -> torch.Tensor:
    """Turn the weight of a first convolution for RGB, ``(C, 3, h, w)``, into one for ``channels``."""
    if rgb is None:
        return timm.models.adapt_input_conv(channels, weight)
    adapted = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    adapted[:, rgb] = weight
    return adapted


def _first_convolutions(name: str) -> set[str]:
    config = _timm_config(name)
    stems = config.first_conv if config else None
    return {_flatten(f"{stem}.weight") for stem in ([stems] if isinstance(stems, str) else stems or ())}


def _timm_config(name: str) -> Any:
    """Return timm's configuration of a model's weights; None where it has no weights, or none of the name's tag."""
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        return None


def _flatten(key: str) -> str:
    return key.replace(".", "_")
