"""Checkpoints: the state that a run continues from, and the networks that it exports.

    checkpoints/
      step-00000500/              to continue from; the newest complete one is used
        model.safetensors         weights and buffers, whole and by name whatever the engine
        training.safetensors      optimizer moments by parameter, losses since the last log line
        average.safetensors       the average of weights and buffers, where the run keeps one
        state.json                step, counters, loss scale, best value, hashes of all; written last
      last/, best/                to use, label and share
        model.safetensors
        model.json                the architecture of the weights, and the step

A folder appears complete or not at all (:func:`shards.atomic.atomic_folder`), and nothing in it is pickled. Random
streams follow from the seed and the step, the schedule and the position in the data from the step: they need no state.
So a run may be continued by another number of ranks, or another engine.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from shards.atomic import atomic_folder, write_json
from shards.errors import UserError
from shards.write import sha256_of
from trainer.model.network import Architecture, Network, build, check_trusted
from trainer.runs.artifacts import AGAIN, STEP, read_entry, read_exported

_DELETE = "delete this folder; the run then continues from the checkpoint before it"
DIVERGED = "start another run (run.root) with a lower train.lr, with train.max_grad_norm, or in train.precision=fp32"
"""The hint for values that are no longer finite."""


@dataclass
class State:
    """The state that a run continues from; its tensors are on the CPU and not shared.

    Args:
        step: the number of finished optimizer steps.
        weights: parameters and buffers by name.
        moments: the optimizer's moments by parameter: ``{"exp_avg": ..., "exp_avg_sq": ..., "step": ...}``.
        counters: the training loop's counters.
        loss: the losses since the last log line, summed over steps and ranks: ``(1, T)``, with a weighting ``(2, T)``.
        scaler: the loss scale's state under fp16.
        best: the value of the best evaluation so far, and its metrics.
        average: the average of weights and buffers by name, where the run keeps one.
    """

    step: int
    weights: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    loss: Tensor
    counters: dict[str, int] = field(default_factory=dict)
    scaler: dict[str, Any] | None = None
    best: dict[str, Any] | None = None
    average: dict[str, Tensor] | None = None


def save(folder: Path, state: State, keep: int, check: Callable[[], None] = lambda: None) -> Path:
    """Write a checkpoint and remove all but the newest ``keep``.

    Args:
        check: called when everything is written and nothing has its final name yet; may raise.

    Raises:
        UserError: when the disk is full, or a weight is not finite: a run never continues from such weights.
    """
    path = folder / f"{STEP}{state.step:08d}"
    for name, tensor in state.weights.items():
        if not tensor.isfinite().all():
            message = f"has values that are not finite after step {state.step}"
            raise UserError(message, file=path, key=name, hint=DIVERGED)
    moments = {f"{kind}:{name}": tensor for name, entry in state.moments.items() for kind, tensor in entry.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_folder(path) as temporary:
        contents = {"model.safetensors": state.weights, "training.safetensors": moments | {"loss": state.loss}}
        if state.average is not None:
            contents["average.safetensors"] = state.average
        hashes = {name: _write(tensors, temporary / name) for name, tensors in contents.items()}
        entry = {"step": state.step, "counters": state.counters, "scaler": state.scaler, "best": state.best}
        entry["sha256"] = hashes
        write_json(temporary / "state.json", entry)
        check()
    for old in sorted(folder.glob(f"{STEP}*"))[:-keep]:
        shutil.rmtree(old)
    return path


def read(path: Path, shapes: Mapping[str, torch.Size]) -> State:
    """Read a checkpoint's state.

    Args:
        shapes: the shapes of the network's weights and buffers, by name.

    Raises:
        UserError: when a file differs from its hash, or belongs to another network.
    """
    entry = read_entry(path / "state.json", {"step", "counters", "scaler", "best", "sha256"}, _DELETE)
    for name in {"model.safetensors", "training.safetensors", *entry["sha256"]}:
        if not (path / name).exists() or sha256_of(path / name) != entry["sha256"].get(name):
            raise UserError("is missing or differs from what was written", file=path / name, hint=_DELETE)
    weights = _read_weights(path / "model.safetensors", shapes)
    training = safetensors.torch.load_file(path / "training.safetensors")
    loss = training.pop("loss")
    moments: dict[str, dict[str, Tensor]] = {}
    for key, tensor in training.items():
        kind, _, name = key.partition(":")
        moments.setdefault(name, {})[kind] = tensor
    average = None
    if "average.safetensors" in entry["sha256"]:
        average = _read_weights(path / "average.safetensors", shapes)
    return State(entry["step"], weights, moments, loss, entry["counters"], entry["scaler"], entry["best"], average)


def export(
    path: Path,
    weights: Mapping[str, Tensor],
    architecture: Architecture | None,
    step: int,
    check: Callable[[], None] = lambda: None,
    **facts: Any,
) -> None:
    """Export weights and buffers with their architecture.

    Args:
        architecture: None for a network of another origin, of which only the weights are stored.
        check: called when everything is written and nothing has its final name yet; may raise.
        facts: JSON values that are stored beside them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(path) as temporary:
        entry = {"step": step, "architecture": architecture and architecture.to_json(), **facts}
        entry["sha256"] = _write(weights, temporary / "model.safetensors")
        write_json(temporary / "model.json", entry)
        check()


def load_exported(path: Path, name: str | None = None) -> tuple[Network, dict[str, Any]]:
    """Load an exported network, and return it with the content of its ``model.json``.

    Args:
        name: the network's name in a configuration or a command. ``model.json`` may be untrusted, so a module that it
            names is imported only if it is named here too.

    Raises:
        UserError: when it is missing, damaged, or the weights belong to another architecture; or when it is of a class
            that the user did not name (:func:`trainer.model.network.check_trusted`).
    """
    facts = read_exported(path)
    if facts is None:
        hint = "train the network first: `tutelage train CONFIG`"
        raise UserError("does not exist", file=path / "model.json", hint=hint)
    if facts["architecture"] is None:
        hint = "build the network yourself, and load the weights beside this file"
        raise UserError("does not say which network it is of", file=path / "model.json", hint=hint)
    architecture = Architecture.from_json(facts["architecture"], path / "model.json")
    check_trusted(architecture, name)
    network = build(architecture)
    weights = _check_weights(path, facts)
    network.load_state_dict(_read_weights(weights, shapes_of(network)))
    return network, facts


def exported_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of an exported network.

    Raises:
        UserError: when they are missing or damaged.
    """
    return safetensors.torch.load_file(_check_weights(path, read_exported(path) or {"sha256": None}))


def _check_weights(path: Path, facts: Mapping[str, Any]) -> Path:
    """Return the file of an exported network's weights, or raise a :class:`UserError` where it is damaged."""
    weights = path / "model.safetensors"
    if not weights.exists() or sha256_of(weights) != facts["sha256"]:
        raise UserError("is missing or differs from what was written", file=weights, hint=AGAIN)
    return weights


def shapes_of(network: torch.nn.Module) -> dict[str, torch.Size]:
    """Return the shapes of a network's weights and buffers, by name."""
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def sha256_of_weights(weights: Mapping[str, Tensor]) -> str:
    """Return the hash that ``model.safetensors`` has where these weights and buffers are exported."""
    copies = {name: tensor.to("cpu", copy=True) for name, tensor in weights.items()}  # none may share memory
    return hashlib.sha256(_serialise(copies)).hexdigest()


def _write(tensors: Mapping[str, Tensor], path: Path) -> str:
    """Write tensors, and return the sha256 of what the file should hold."""
    data = _serialise(tensors)
    path.write_bytes(data)  # safetensors' own writer does not report a full disk
    return hashlib.sha256(data).hexdigest()


def _serialise(tensors: Mapping[str, Tensor]) -> bytes:
    # safetensors stores memory as it is laid out, so channels_last weights must be made contiguous
    plain = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    data: bytes = safetensors.torch.save(plain)
    return data


def _read_weights(path: Path, shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    try:
        weights = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"is not a complete safetensors file ({error})", file=path, hint=_DELETE) from error
    hint = "use the configuration that it was trained with, or another run.path"
    for name in sorted(shapes.keys() | weights.keys()):
        if name not in weights or name not in shapes:
            owner = "the network" if name in shapes else "the file"
            message = f"belongs to another architecture: only {owner} has this tensor"
            raise UserError(message, file=path, key=name, hint=hint)
        if shapes[name] != weights[name].shape:
            sizes = f"{list(weights[name].shape)}, where the network has {list(shapes[name])}"
            raise UserError(f"belongs to another architecture: {sizes}", file=path, key=name, hint=hint)
    return weights
