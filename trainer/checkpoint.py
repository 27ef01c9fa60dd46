"""Checkpoints: what a run continues from, and what it leaves behind.

    checkpoints/
      step-00000500/              to continue from; the newest whole one counts
        model.safetensors         weights and buffers
        training.safetensors      optimizer moments, random states, losses since the last log line
        state.json                step, that of the last log line, loss scale, hashes of the two files; written last
      last/, best/                to use, label and share
        model.safetensors
        model.json                the architecture that the weights belong to, and the step

A folder appears whole or not at all (:func:`shards.atomic.atomic_folder`). Nothing in it is pickled.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from shards.atomic import atomic_folder, read_json, sweep, write_json
from shards.errors import UserError
from shards.write import sha256_of
from trainer.model.network import Architecture, Network, build

_STEP = "step-"
_DELETE = "delete this folder; the run then continues from the checkpoint before it"
_AGAIN = "delete this folder and train again, or copy it again"


@dataclass
class Resumed:
    """What a checkpoint says besides the weights and moments that were put in place."""

    step: int
    loss: Tensor
    """Losses since the last log line, summed over steps, ``(T,)``."""
    logged: int
    """Step of the last log line."""


def save(
    folder: Path,
    step: int,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: Any,
    loss: Tensor,
    logged: int,
    keep: int,
) -> Path:
    """Write the checkpoint of ``step`` finished steps and remove all but the newest ``keep``."""
    path = folder / f"{_STEP}{step:08d}"
    training = {f"optimizer.{name}": tensor for name, tensor in _flat(optimizer.state_dict()["state"]).items()}
    training["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        training["random.cuda"] = torch.cuda.get_rng_state()
    training["loss"] = loss.detach().cpu()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_folder(path) as temporary:
        _write(network.state_dict(), temporary / "model.safetensors")
        _write(training, temporary / "training.safetensors")
        hashes = {file.name: sha256_of(file) for file in temporary.glob("*.safetensors")}
        scales = scaler.state_dict() if scaler else None
        state = {"step": step, "logged": logged, "scaler": scales, "sha256": hashes}
        write_json(temporary / "state.json", state)
    for old in sorted(folder.glob(f"{_STEP}*"))[:-keep]:
        shutil.rmtree(old)
    return path


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint to continue from, if there is one."""
    sweep(folder)
    for path in sorted(folder.glob(f"{_STEP}*"), reverse=True):
        if (path / "state.json").exists():
            return path
    return None


def resume(path: Path, network: torch.nn.Module, optimizer: torch.optim.Optimizer, scaler: Any) -> Resumed:
    """Put a checkpoint's state in place.

    Raises:
        UserError: when a file differs from its hash, or belongs to another network.
    """
    state = _read(path / "state.json", {"step", "logged", "scaler", "sha256"}, _DELETE)
    for name, expected in state["sha256"].items():
        if not (path / name).exists() or sha256_of(path / name) != expected:
            raise UserError("is missing or differs from what was written", file=path / name, cure=_DELETE)
    _load_weights(network, path / "model.safetensors")
    training = safetensors.torch.load_file(path / "training.safetensors")
    moments = {name: tensor for name, tensor in training.items() if name.startswith("optimizer.")}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": _nested(moments)})
    for parameter, of in optimizer.state.items():
        for name, moment in of.items():
            if moment.shape == parameter.shape:  # fused kernels walk through the memory of both side by side
                of[name] = torch.empty_like(parameter).copy_(moment)
    torch.set_rng_state(training["random.cpu"])
    if torch.cuda.is_available() and "random.cuda" in training:
        torch.cuda.set_rng_state(training["random.cuda"])
    if scaler and state["scaler"]:
        scaler.load_state_dict(state["scaler"])
    return Resumed(state["step"], training["loss"], state["logged"])


def export(path: Path, network: torch.nn.Module, architecture: Architecture, step: int, **facts: Any) -> None:
    """Write the weights with the architecture they belong to.

    Args:
        facts: JSON values to be kept beside them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(path) as temporary:
        _write(network.state_dict(), temporary / "model.safetensors")
        entry = {"step": step, "architecture": architecture.to_json(), **facts}
        entry["sha256"] = sha256_of(temporary / "model.safetensors")
        write_json(temporary / "model.json", entry)


def exported(path: Path) -> dict[str, Any] | None:
    """What ``model.json`` of an exported network says, or None where none was exported.

    Raises:
        UserError: when it is damaged.
    """
    if not (path / "model.json").exists():
        return None
    return _read(path / "model.json", {"step", "architecture", "sha256"}, _AGAIN)


def load_exported(path: Path) -> tuple[Network, dict[str, Any]]:
    """An exported network, and what its ``model.json`` says.

    Raises:
        UserError: when it is missing, damaged, or the weights are another architecture's.
    """
    facts = exported(path)
    if facts is None:
        cure = "train the network first: `tutelage train CONFIG`"
        raise UserError("does not exist", file=path / "model.json", cure=cure)
    network = build(Architecture.from_json(facts["architecture"]))
    weights = path / "model.safetensors"
    if not weights.exists() or sha256_of(weights) != facts["sha256"]:
        raise UserError("is missing or differs from what was written", file=weights, cure=_AGAIN)
    _load_weights(network, weights)
    return network, facts


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    # safetensors stores memory as it lies; channels_last weights need their plain order
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    path.write_bytes(safetensors.torch.save(plain))  # its own writer hides that a disk is full


def _read(path: Path, keys: set[str], cure: str) -> dict[str, Any]:
    entry = read_json(path, cure)
    if not isinstance(entry, dict) or not entry.keys() >= keys:
        raise UserError(f"lacks some of {', '.join(sorted(keys))}", file=path, cure=cure)
    return entry


def _load_weights(network: torch.nn.Module, path: Path) -> None:
    try:
        weights = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"is no whole safetensors file ({error})", file=path, cure=_DELETE) from error
    own = network.state_dict()
    cure = "use the configuration that it was trained with, or another run.path"
    for name in sorted(own.keys() | weights.keys()):
        if name not in weights or name not in own:
            owner = "the network" if name in own else "the file"
            what = f"belongs to another architecture: only {owner} has this tensor"
            raise UserError(what, file=path, key=name, cure=cure)
        if own[name].shape != weights[name].shape:
            shapes = f"{list(weights[name].shape)}, where the network has {list(own[name].shape)}"
            raise UserError(f"belongs to another architecture: {shapes}", file=path, key=name, cure=cure)
    network.load_state_dict(weights)


def _flat(state: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{index}.{name}": tensor for index, of in state.items() for name, tensor in of.items()}


def _nested(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for flat, tensor in tensors.items():
        _, index, name = flat.split(".")
        state.setdefault(int(index), {})[name] = tensor
    return state
