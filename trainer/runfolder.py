"""The folder of a run: whose it is, and the row it leaves in ``result.json``.

runs/DATASET/EXPERIMENT/seed-K/
  config.yaml      the resolved configuration
  data.json        hashes of the manifests of what it trains on
  metrics.jsonl    figures of training and validation, by step
  tensorboard/     the same for TensorBoard
  order.jsonl      the keys of every global batch (train.trace)
  checkpoints/     see trainer/checkpoint.py
  labels/train/    label shards, if this network is a teacher
  result.json      one row: experiment, seed, budget, sizes, metrics, environment, commit
"""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from shards.atomic import atomic_file, read_json, write_json
from shards.errors import UserError
from trainer.configfile import read_yaml, to_dict, to_yaml
from trainer.experiment import Experiment

_ANOTHER = "set run.root (or run.path, or seed) to start another run, or delete this one"
_MAY_CHANGE = (
    "data.path",
    "data.workers",
    "val",
    "evaluate",
    "label",
    "checkpoint",
    "run",
    "relation",
    "train.accumulation",
    "train.trace",
    "train.timeout",
    "train.log_every",
)
"""Options that do not change what a run computes, so a run may be continued with others."""


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
    old = _comparable(read_yaml(path, "delete it, if this run was started with this configuration"))
    new = _comparable(to_dict(experiment.config))
    for key in sorted(old.keys() | new.keys()):
        changed = old.get(key) != new.get(key)
        if changed and not any(key == may or key.startswith(f"{may}.") for may in _MAY_CHANGE):
            what = f"holds a run with {old.get(key)!r}, not {new.get(key)!r}"
            raise UserError(what, file=experiment.folder, key=key, cure=_ANOTHER)


def _trained(experiment: Experiment) -> bool:
    return any(experiment.checkpoints.glob("[!.]*"))  # a start that failed leaves nothing to be protected


def _claim_data(experiment: Experiment, trained: bool) -> None:
    """Note what the run trains on, or make sure that it is the same."""
    path = experiment.folder / "data.json"
    known = read_json(path, "delete it, if the data are what this run was trained on") if path.exists() else {}
    data = experiment.data()
    for key, manifest in data.items() if trained else ():
        if known.get(key, manifest.sha256) != manifest.sha256:
            what = f"holds a run on other data than {manifest.folder} holds now"
            raise UserError(what, file=experiment.folder, key=key, cure=_ANOTHER)
    hashes = {key: manifest.sha256 for key, manifest in data.items()}
    if trained:
        hashes = known | hashes  # labels that were deleted since are still what it was trained on
    if hashes != known:
        write_json(path, hashes)


def environment() -> dict[str, Any]:
    """What the figures were made with: versions, hardware, commit."""
    import torch

    packages = ("torch", "torchvision", "timm", "accelerate", "deepspeed", "webdataset", "numpy", "pillow")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "tutelage": importlib.metadata.version("tutelage"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of the code, with ``-dirty`` where it was changed; None outside a clone."""
    source = Path(__file__).resolve().parent.parent
    try:
        if not (source / ".git").exists():
            return None
        call = ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=12", "--match="]
        return subprocess.run(call, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _comparable(config: Any) -> dict[str, Any]:
    """The options by dotted key; of a teacher's path the name, since the rest depends on the working directory."""
    flat = _flat(config)
    return flat | {key: Path(value).name for key, value in flat.items() if key.endswith(".teacher")}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, of in value.items() for k, v in _flat(of, f"{prefix}.{name}" if prefix else str(name)).items()
    }
