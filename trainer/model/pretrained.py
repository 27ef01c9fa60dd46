"""Weights that a backbone starts from: ImageNet's from the hub, or those of a local safetensors file.

Nothing is unpickled: the hub's ``model.safetensors`` is the only file that is asked for, and a local file is
one of timm's own or a checkpoint of this project, whose RGB backbone is then taken.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import huggingface_hub
import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import nn

from shards.errors import UserError

OWN_PREFIX = "backbones.rgb."
"""Where a checkpoint of this project keeps the weights that another network can start from."""
_KEY = "model.pretrained"


def load_pretrained(backbones: Iterable[nn.Module], name: str, source: bool | str | Path) -> None:
    """Start every backbone from the same weights, its first convolution adapted to its own input channels.

    Args:
        backbones: made by :func:`trainer.model.backbone.create`, all of the same model.
        name: the timm model's name.
        source: ``True`` for the hub's weights, or a ``.safetensors`` file; ``False`` does nothing.

    Raises:
        UserError: the hub cannot be reached, or the file is unreadable or of another network.
    """
    if not source:
        return
    path = fetch(name) if source is True else Path(source)
    weights = read(path)
    for backbone in backbones:
        _load(backbone, weights, name, path)


def fetch(name: str) -> Path:
    """The local copy of the hub's weights of a timm model, downloaded if need be (in seconds, or not at all)."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise UserError(f"timm offers no weights of {name}", key=_KEY, cure=f"set {_KEY}=false, or a local file")
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
            cure=f"download {url} where there is a network, and set {_KEY}=PATH/{file}",
        ) from error


def read(path: Path) -> dict[str, torch.Tensor]:
    """A file's backbone weights: all of them, or those under :data:`OWN_PREFIX` where it has any."""
    if path.suffix != ".safetensors":
        raise UserError(
            "is no .safetensors file, and nothing else is read",
            file=path,
            key=_KEY,
            cure='where you trust it: python -c "import torch, safetensors.torch as s; s.save_file('
            "torch.load('OLD.pth', weights_only=True), 'model.safetensors')\"",
        )
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot be read ({error})", file=path, key=_KEY, cure="check the path, or copy the file again"
        ) from error
    own = {key.removeprefix(OWN_PREFIX): weights[key] for key in weights if key.startswith(OWN_PREFIX)}
    return own or weights


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
            problem, file=path, key=key, cure=f"give {_KEY} weights of {name}, or set model.backbone to fit them"
        )

    for key, current in state.items():
        if _flat(key) not in given:
            if key.endswith("num_batches_tracked"):  # files of before 2018 lack it, and it decides nothing
                continue
            raise refuse(f"is missing, but {name} has it", key)
        _, weight = given.pop(_flat(key))
        if _flat(key) in stems and weight.ndim == 4 and weight.shape[1] == 3:
            weight = adapt_input_conv(current.shape[1], weight)
        if weight.shape != current.shape:
            raise refuse(f"has shape {tuple(weight.shape)}, where {name} has {tuple(current.shape)}", key)
        current.copy_(weight)
    if given:
        with torch.device("meta"):
            classifier = {_flat(key) for key in timm.create_model(name).state_dict()}
        for flat, (key, _) in given.items():
            if flat not in classifier:
                raise refuse(f"is not a weight of {name}", key)


def _first_convolutions(name: str) -> set[str]:
    config = timm.get_pretrained_cfg(name)
    stems = config.first_conv if config else None
    return {_flat(f"{stem}.weight") for stem in ([stems] if isinstance(stems, str) else stems or ())}


def _flat(key: str) -> str:
    return key.replace(".", "_")
