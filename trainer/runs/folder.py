"""The folder of a run, whose it is, and what it was made with.

runs/DATASET/EXPERIMENT/seed-K/
  config.yaml      the resolved configuration
  data.json        hashes of the manifests of what it trains on, and of the files that say which labels frames show and
                   what its weights start from
  code.json        hashes of the user's own modules that it is made of, if any
  metrics.jsonl    figures of training and validation, by step
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
from shards.claim import Note, differing
from shards.errors import UserError
from shards.write import sha256_of
from trainer.configfile import read_yaml, to_dict, to_yaml
from trainer.experiment import Experiment
from trainer.model import packages
from trainer.setting import decisive, options_of

_ANOTHER = "set run.root (or run.path, or seed) to start another run, or delete this one"


def claim(experiment: Experiment) -> None:
    """Make the run's folder, or make sure that what was trained in it has the same configuration and data.

    Raises:
        UserError: when it holds a run of another configuration or on other data, naming what differs.
    """
    experiment.folder.mkdir(parents=True, exist_ok=True)
    check_configuration(experiment)
    _claim_data(experiment, _trained(experiment))
    path = experiment.folder / "config.yaml"
    text = to_yaml(experiment.config)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_file(path) as file:
            file.write(text.encode())


def check_configuration(experiment: Experiment) -> None:
    """Make sure that what was trained in the run's folder, if anything, has the same configuration.

    Raises:
        UserError: when it has another, naming what differs.
    """
    path = experiment.folder / "config.yaml"
    if not (_trained(experiment) and path.exists()):
        return
    old = options_of(experiment.folder, "delete it, if this run was started with this configuration")
    new = decisive(to_dict(experiment.config))
    keys = sorted(differing(old, new))
    if not keys:
        return
    key, hint = keys[0], _ANOTHER
    if old["model.version"] != new["model.version"]:  # of a version that had fewer options
        drawn = "" if "val_seed" in read_yaml(path, _ANOTHER) else " val_seed=null"
        as_it_was = f"model.version={old['model.version']}{drawn}"  # from which the rest follows
        key, hint = "model.version", f"add {as_it_was} to go on with it as it was, or {_ANOTHER}"
    elif {*keys} <= {"train.steps", "train.epochs"}:
        hint = (
            "a run keeps its length, since its learning rates follow from it: give another run.root (or run.path), "
            f"and to train on from what this one has learnt, model.start={experiment.checkpoints / 'last'}"
        )
    what = f"holds a run with {old.get(key)!r}, not {new.get(key)!r}"
    raise UserError(what, file=experiment.folder, key=key, hint=hint)


def _trained(experiment: Experiment) -> bool:
    return any(experiment.checkpoints.glob("[!.]*"))  # a start that failed leaves nothing to be protected


def noted(folder: Path) -> dict[str, str]:
    """Hashes of what a run was trained on and from, by option, as ``data.json`` has them."""
    return _data_note(folder).read() or {}


def _data_note(folder: Path) -> Note:
    return Note(folder / "data.json", "delete it, if the data are what this run was trained on")


def pretrained(experiment: Experiment) -> str | bool:
    """Where the first weights came from: ``hub``, the beginning of a file's sha256, with the name and version of the
    package before it if it was one's; False where from nowhere."""
    model = experiment.config.model
    if not isinstance(model.pretrained, str):
        return bool(model.pretrained) and "hub"
    sha256 = noted(experiment.folder).get("model.pretrained", "")
    if model.pretrained == packages.PACKAGE:
        return packages.describe(model.backbone, sha256)
    return sha256[:8] or True  # of old runs it is not known


def assignment(experiment: Experiment) -> str:
    """The rule by which frames show labels; of a file its name and the beginning of its sha256."""
    rule = experiment.config.assignment
    return rule if rule in RULES else f"{Path(rule).name} {noted(experiment.folder).get('assignment', '')[:8]}".strip()


def _claim_data(experiment: Experiment, trained: bool) -> None:
    """Note what the run trains on and from, or make sure that it is the same."""
    known = noted(experiment.folder)
    found = {key: (manifest.folder, manifest.sha256) for key, manifest in experiment.data().items()}
    model = experiment.config.model
    if isinstance(model.pretrained, str):
        weights: Path | None = Path(model.pretrained)
        if model.pretrained == packages.PACKAGE:
            weights = packages.find(model.backbone) if trained else packages.locate(model.backbone)
        if weights and weights.is_file():
            found["model.pretrained"] = weights, sha256_of(weights)
    if model.start is not None and (started := Path(model.start) / "model.safetensors").is_file():
        found["model.start"] = started, sha256_of(started)
    if experiment.config.assignment not in RULES and Path(experiment.config.assignment).is_file():
        found["assignment"] = Path(experiment.config.assignment), sha256_of(Path(experiment.config.assignment))
    for key, (place, sha256) in found.items() if trained else ():
        if known.get(key, sha256) != sha256:
            what = f"holds a run on other data than {place} holds now"
            raise UserError(what, file=experiment.folder, key=key, hint=_ANOTHER)
    hashes = {key: sha256 for key, (_, sha256) in found.items()}
    if trained:
        hashes = known | hashes  # what was deleted since is still what it was trained on
    if hashes != known:
        _data_note(experiment.folder).write(hashes)


def environment() -> dict[str, Any]:
    """What the figures were made with: versions (None of what is not installed), hardware, commit."""
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
    """None where it is not installed, such as DeepSpeed, or was put on Python's path without its metadata."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the code, with ``-dirty`` where it was changed; None outside a clone."""
    source = Path(__file__).resolve().parents[2]
    try:
        if not (source / ".git").exists():
            return None
        call = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12", "--match="]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
