"""The folder of a run: its files, its claim by a configuration, and its environment.

runs/DATASET/EXPERIMENT/seed-K/
  config.yaml      the resolved configuration
  data.json        hashes of the manifests of its data, and of the files that determine which labels frames show and
                   which weights it starts from
  normalisation.json  how the network normalises its inputs (trainer/runs/start.py)
  code.json        hashes of the user's own modules that it uses, if any
  metrics.jsonl    metrics of training and validation, by step
  tensorboard/     the same for TensorBoard
  order.jsonl      the keys of every global batch (train.trace)
  checkpoints/     see trainer/runs/checkpoint.py
  labels/train/    label shards, if this network is a teacher
  result.json      see trainer/runs/result.py
  status.json      see trainer/runs/status.py
"""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from shards.assignment import RULES
from shards.atomic import atomic_file
from shards.claim import Note, differing_keys
from shards.errors import UserError
from shards.store import Place
from shards.write import sha256_of
from trainer.configfile import to_dict, to_yaml
from trainer.experiment import Experiment
from trainer.model import packages
from trainer.optionerrors import name_options
from trainer.runs.result import NAME as RESULT
from trainer.setting import decisive, options_of

_CONFIG, _DATA = "config.yaml", "data.json"
_HINT = "set run.root (or run.path, or seed) to start another run, or delete this one"
_WITHOUT = "holds checkpoints, but no {}, which tells what they are of"
_RESTORE = "copy it from where the run was made, or delete the run"


def verify(experiment: Experiment) -> None:
    """Check that the run in the folder, if it has any checkpoint, has the same configuration and data. Nothing is
    written, so that it may be called while another process trains in the folder.

    Raises:
        UserError: when it holds a run of another configuration or on other data, naming the difference.
    """
    check_configuration(experiment)
    _check_data(experiment)


def claim(experiment: Experiment) -> None:
    """Create the run's folder, or check that the run in it has the same configuration and data; called by a process
    that holds it, or of a finished run.

    Raises:
        UserError: as for :func:`verify`.
    """
    experiment.folder.mkdir(parents=True, exist_ok=True)
    check_configuration(experiment)
    stored, hashes = data_hashes(experiment.folder), _check_data(experiment)
    if hashes != stored:
        _data_note(experiment.folder).write(hashes)
    path = experiment.folder / _CONFIG
    text = to_yaml(experiment.config)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_file(path) as file:
            file.write(text.encode())


def check_configuration(experiment: Experiment) -> None:
    """Check that the run in the folder, if it has any checkpoint, has the same configuration.

    Raises:
        UserError: when it has another, naming the difference, or an unknown one.
    """
    path = experiment.folder / _CONFIG
    if not _is_trained(experiment):
        return
    if not path.exists():
        raise UserError(_WITHOUT.format(_CONFIG), file=experiment.folder, hint=_RESTORE)
    old = options_of(experiment.folder, _RESTORE)
    new = decisive(to_dict(experiment.config))
    keys = sorted(key for key in differing_keys(old, new) if not _same_weights(experiment, key))
    if not keys:
        return
    key, hint = keys[0], _HINT
    if {*keys} <= {"train.steps", "train.epochs"}:
        hint = (
            "a run keeps its length, since its learning rates follow from it: give another run.root (or run.path), "
            f"and to train on from what this one has learnt, model.start={experiment.checkpoints / 'last'}"
        )
    message = f"holds a run with {old.get(key)!r}, not {new.get(key)!r}"
    raise UserError(message, file=experiment.folder, key=key, hint=hint)


def _same_weights(experiment: Experiment, key: str) -> bool:
    """Whether an option of the initial weights names the file that the run started from, at another path."""
    path = _initial_weights(experiment, trained=True).get(key)
    return path is not None and data_hashes(experiment.folder).get(key) == sha256_of(path)


@name_options()
def _initial_weights(experiment: Experiment, trained: bool) -> dict[str, Path]:
    """Return the existing files that ``model.pretrained`` and ``model.start`` name, by option."""
    model = experiment.config.model
    paths: dict[str, Path | None] = {}
    if isinstance(model.pretrained, str):
        paths["model.pretrained"] = Path(model.pretrained)
        if model.pretrained == packages.PACKAGE:
            paths["model.pretrained"] = packages.find(model.backbone) if trained else packages.locate(model.backbone)
    if model.start is not None:
        paths["model.start"] = Path(model.start) / "model.safetensors"
    return {key: path for key, path in paths.items() if path and path.is_file()}


def other_settings(experiment: Experiment) -> str | None:
    """Return what :func:`check_configuration` finds wrong, with its key; None where nothing is."""
    try:
        check_configuration(experiment)
    except UserError as error:
        return _in_words(error)
    return None


def other_data(experiment: Experiment) -> str | None:
    """Return that the folder's run is of other data, or started from other weights, than there are now, with the
    option's key; None where it is not, where nothing was trained, or without the data."""
    if not (_is_trained(experiment) or (experiment.folder / RESULT).exists()):
        return None
    try:
        current = _current_data(experiment, trained=True)
    except UserError:
        return None
    try:
        _compare_data(experiment, current)
    except UserError as error:
        return _in_words(error)
    return None


def _in_words(error: UserError) -> str:
    return f"{error.key}: {error.what}" if error.key else error.what


def _is_trained(experiment: Experiment) -> bool:
    return any(experiment.checkpoints.glob("[!.]*"))  # a failed start leaves nothing to protect


def data_hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of a run's data and initial weights, by option, from ``data.json``."""
    return _data_note(folder).read() or {}


def _data_note(folder: Path) -> Note:
    return Note(folder / _DATA, _RESTORE)


def pretrained(experiment: Experiment) -> str | bool:
    """Return the origin of the first weights: ``hub``, or the beginning of a file's sha256, preceded by the name and
    version of its package if it has one; False for none."""
    model = experiment.config.model
    if not isinstance(model.pretrained, str):
        return bool(model.pretrained) and "hub"
    sha256 = data_hashes(experiment.folder).get("model.pretrained", "")
    if model.pretrained == packages.PACKAGE:
        return packages.describe(model.backbone, sha256)
    return sha256[:8] or True  # unknown for old runs


def assignment(experiment: Experiment) -> str:
    """Return the rule by which frames show labels; for a file, its name and the beginning of its sha256."""
    rule = experiment.config.assignment
    if rule in RULES:
        return rule
    return f"{Path(rule).name} {data_hashes(experiment.folder).get('assignment', '')[:8]}".strip()


def _check_data(experiment: Experiment) -> dict[str, str]:
    """Check that the run's data and initial weights are those it was trained with, and return their hashes."""
    trained = _is_trained(experiment)
    current = _current_data(experiment, trained)
    new = {key: hashes[0] for key, (_, hashes) in current.items()}
    if not trained:
        return new
    _compare_data(experiment, current)
    return data_hashes(experiment.folder) | new  # data that were deleted since still belong to the run


def _compare_data(experiment: Experiment, current: dict[str, tuple[Place, list[str]]]) -> None:
    """Raise a UserError where a run, which is not empty, had other data than the current ones."""
    if _is_trained(experiment) and not (experiment.folder / _DATA).exists():
        raise UserError(_WITHOUT.format(_DATA), file=experiment.folder, hint=_RESTORE)
    stored = data_hashes(experiment.folder)
    for key, (place, hashes) in current.items():
        if stored.get(key, hashes[0]) not in hashes:
            message = f"holds a run on other data than {place} holds now"
            raise UserError(message, file=experiment.folder, key=key, hint=_HINT)


def _current_data(experiment: Experiment, trained: bool) -> dict[str, tuple[Place, list[str]]]:
    """Return the places of a run's data and initial weights by option, with the hash that is stored for each, and that
    of earlier versions if it differs."""
    current = {key: (data.folder, [data.identity, data.sha256]) for key, data in experiment.data().items()}
    files = _initial_weights(experiment, trained)
    if experiment.config.assignment not in RULES and Path(experiment.config.assignment).is_file():
        files["assignment"] = Path(experiment.config.assignment)
    return current | {key: (path, [sha256_of(path)]) for key, path in files.items()}


def environment() -> dict[str, Any]:
    """Return the environment of the run's metrics: versions (None where not installed), hardware, commit."""
    import torch

    packages = ("torch", "torchvision", "timm", "accelerate", "deepspeed", "webdataset", "numpy", "pillow")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "tutelage": _version("tutelage"),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "commit": commit(),
    }


def _version(package: str) -> str | None:
    """Return a package's version, or None where it is not installed, or is on Python's path without metadata."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the commit of the code, with ``-dirty`` if it was changed; None outside a clone."""
    source = Path(__file__).resolve().parents[2]
    try:
        if not (source / ".git").exists():
            return None
        call = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12", "--match="]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
