"""Weights that a backbone starts from: ImageNet's from the hub or a pip package, or those of a local safetensors file.

The hub's ``model.safetensors`` is the only file that is asked for; a local file is one of timm's own or a checkpoint
of this project, whose RGB backbone is then taken. Neither is unpickled; packages: :mod:`trainer.model.packages`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import nn

from shards.atomic import read_json
from shards.errors import UserError
from shards.write import sha256_of
from trainer.model import packages
from trainer.model.architecture import IMAGENET_MEAN, IMAGENET_STD, RGB, Architecture
from trainer.model.meta import on_meta
from trainer.model.packages import PACKAGE

OWN_PREFIX = "backbones.rgb."
"""Where a checkpoint of this project keeps the weights that another network can start from."""
_KEY = "model.pretrained"


def load_pretrained(backbones: Iterable[nn.Module], name: str, source: bool | str | Path) -> None:
    """Start every backbone from the same weights, its first convolution adapted to its own input channels.

    Where a backbone says which of its channels are RGB's (``rgb_channels``), those get the weights, the others zeros.

    Args:
        backbones: made by :func:`trainer.model.backbone.create` or :func:`trainer.model.transformer.create`, all of the
            same model.
        name: the timm model's name.
        source: ``True`` for the hub's weights, ``"package"`` for those of a pip package, or a ``.safetensors`` file;
            ``False`` does nothing.

    Raises:
        UserError: the hub cannot be reached, the package is not installed, or the file is unreadable or of another
            network.
    """
    if not source:
        return
    if source == PACKAGE:
        path, weights = packages.locate(name), packages.read(name)
    else:
        path = fetch(name) if source is True else Path(source)
        weights = read(path)
    for backbone in backbones:
        _load(backbone, weights, name, path)


def pretrained_branches(branches: Mapping[str, Sequence[str]], inputs: Sequence[str] | None) -> list[str]:
    """The backbones that start from given weights: those that read one of these inputs; all of them for None.

    A backbone that reads several, such as early fusion's, starts from the weights as a whole where any is named.

    Args:
        branches: the inputs of each backbone, by its name.
        inputs: as above.
    """
    return [branch for branch, names in branches.items() if inputs is None or not set(inputs).isdisjoint(names)]


def normalised(
    architecture: Architecture,
    source: bool | str | Path,
    inputs: Sequence[str] | None,
    branches: Mapping[str, Sequence[str]] | None = None,
) -> Architecture:
    """An architecture whose RGB is normalised as the weights that its RGB backbone starts from were trained.

    That is what timm notes for the backbone's weights, or what the run noted whose ``model.safetensors`` it is. It
    stays as it is where that backbone starts from scratch, and for networks of version 1, which had ImageNet's always.

    Args:
        architecture: without regard to its ``rgb_mean`` and ``rgb_std``.
        source: see :func:`load_pretrained`.
        inputs: see :func:`pretrained_branches`.
        branches: likewise; None for those of the architecture.

    Raises:
        UserError: the file is unreadable, or does not tell.
    """
    branches = architecture.branches if branches is None else branches
    started = {name for branch in pretrained_branches(branches, inputs) for name in branches[branch]}
    if not source or RGB not in started or architecture.version == 1:
        return architecture
    config = _timm_config(architecture.backbone)
    mean, std = (config.mean, config.std) if config else (IMAGENET_MEAN, IMAGENET_STD)
    if not isinstance(source, bool) and source != PACKAGE and _is_own(Path(source)):
        mean, std = _own_normalisation(Path(source), (mean, std))
    return replace(architecture, rgb_mean=tuple(mean), rgb_std=tuple(std))


def fetch(name: str) -> Path:
    """The local copy of the hub's weights of a timm model, downloaded if need be (in seconds, or not at all)."""
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
        huggingface_hub.get_hf_file_metadata(url, timeout=10)  # asks once; the download itself retries for long
        return Path(huggingface_hub.hf_hub_download(repository, file))
    except Exception as error:  # which library's error it is depends on the hub client's version
        raise UserError(
            f"cannot get the weights {repository} from the hub ({type(error).__name__})",
            key=_KEY,
            hint=f"download {url} where there is a network, and set {_KEY}=PATH/{file}",
        ) from error


def read(path: Path) -> dict[str, torch.Tensor]:
    """A file's backbone weights: all of them, or those under :data:`OWN_PREFIX` where it has any."""
    _check_suffix(path)
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    own = {key.removeprefix(OWN_PREFIX): weights[key] for key in weights if key.startswith(OWN_PREFIX)}
    return own or weights


def _check_suffix(path: Path) -> None:
    if path.suffix == ".safetensors":
        return
    if not path.exists():
        hint = f"use true (the hub), false, {PACKAGE}, or the path of a .safetensors file"
        raise UserError(f"{str(path)!r} is not a valid source of weights", key=_KEY, hint=hint)
    raise UserError(
        "is no .safetensors file, and nothing else is read",
        file=path,
        key=_KEY,
        hint='where you trust it: python -c "import torch, safetensors.torch as s; s.save_file('
        "torch.load('OLD.pth', weights_only=True), 'model.safetensors')\"",
    )


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"cannot be read ({error})", file=path, key=_KEY, hint="check the path, or copy the file again")


def _is_own(path: Path) -> bool:
    """Whether a file is a checkpoint of this project, by the names in its header."""
    _check_suffix(path)
    try:
        with safe_open(path, "pt") as file:
            return any(key.startswith(OWN_PREFIX) for key in file.keys())  # noqa: SIM118, not a mapping
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _own_normalisation(path: Path, published: tuple[Any, Any]) -> tuple[Any, Any]:
    """What a run's network normalised RGB by, from the description beside its weights.

    Args:
        published: mean and deviation of the backbone's published weights. Where they are ImageNet's, networks of the
            backbone have no other, and the description may be missing.
    """
    description = path.with_name("model.json")
    if description.exists():
        entry = read_json(description, "copy it again")
        if isinstance(entry, dict) and entry.get("sha256") == sha256_of(path):
            own = Architecture.from_json(entry["architecture"])
            return own.rgb_mean, own.rgb_std
    if tuple(map(tuple, published)) == (IMAGENET_MEAN, IMAGENET_STD):
        return published
    hint = "give a run's checkpoints/last/model.safetensors, with the model.json beside it"
    raise UserError("does not tell what its network normalises RGB by", file=path, key=_KEY, hint=hint)


def _load(backbone: nn.Module, weights: Mapping[str, torch.Tensor], name: str, path: Path) -> None:
    """Copy ``weights`` into ``backbone``, refusing any that do not fit.

    timm joins the outer names of some models with ``_`` where they give features (``stages_0.conv``) and with ``.``
    elsewhere (``stages.0.conv``), so names are compared with every separator an underscore.
    """
    given = {_flat(key): (key, weight) for key, weight in weights.items()}
    state = backbone.state_dict()
    stems = _first_convolutions(name)

    def refuse(problem: str, key: str) -> UserError:
        return UserError(
            problem, file=path, key=key, hint=f"give {_KEY} weights of {name}, or set model.backbone to fit them"
        )

    for key, current in state.items():
        if _flat(key) not in given:
            if key.endswith("num_batches_tracked"):  # files of before 2018 lack it, and it decides nothing
                continue
            raise refuse(f"is missing, but {name} has it", key)
        _, weight = given.pop(_flat(key))
        if _flat(key) in stems and weight.ndim == 4 and weight.shape[1] == 3:
            weight = _adapted(weight, current.shape[1], getattr(backbone, "rgb_channels", None))
        if weight.shape != current.shape:
            raise refuse(f"has shape {tuple(weight.shape)}, where {name} has {tuple(current.shape)}", key)
        current.copy_(weight)
    if given:
        with on_meta():
            classifier = {_flat(key) for key in timm.create_model(name).state_dict()}
        for flat, (key, _) in given.items():
            if flat not in classifier:
                raise refuse(f"is not a weight of {name}", key)


def _adapted(weight: torch.Tensor, channels: int, rgb: slice | None) -> torch.Tensor:
    """The weight of a first convolution for RGB, ``(C, 3, h, w)``, as one for ``channels``."""
    if rgb is None:
        return adapt_input_conv(channels, weight)
    adapted = weight.new_zeros(weight.shape[0], channels, *weight.shape[2:])
    adapted[:, rgb] = weight
    return adapted


def _first_convolutions(name: str) -> set[str]:
    config = _timm_config(name)
    stems = config.first_conv if config else None
    return {_flat(f"{stem}.weight") for stem in ([stems] if isinstance(stems, str) else stems or ())}


def _timm_config(name: str) -> Any:
    """What timm knows of a model's weights; None where it has none, or none of the name's tag."""
    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError:
        return None


def _flat(key: str) -> str:
    return key.replace(".", "_")
