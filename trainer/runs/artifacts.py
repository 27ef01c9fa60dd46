"""Which checkpoints and exported networks a run has, from their JSON files alone, so without importing torch.

Their files are described at :mod:`trainer.runs.checkpoint`.
"""

from pathlib import Path
from typing import Any

from shards.atomic import read_json
from shards.errors import UserError

STEP = "step-"
AGAIN = "delete this folder and train again, or copy it again"


def newest(folder: Path) -> Path | None:
    """Return the newest complete checkpoint to continue from, or None."""
    for path in sorted(folder.glob(f"{STEP}*"), reverse=True):
        if (path / "state.json").exists():
            return path
    return None


def read_exported(path: Path) -> dict[str, Any] | None:
    """Return the content of ``model.json`` of an exported network, or None where none was exported.

    Raises:
        UserError: when it is damaged.
    """
    if not (path / "model.json").exists():
        return None
    return read_entry(path / "model.json", {"step", "architecture", "sha256"}, AGAIN)


def missing_network(path: Path) -> UserError:
    """Return the error for a path that is not an exported network: mistyped, of an unfinished run, or anything else."""
    folder = path.parent if path.suffix == ".safetensors" else path
    if path.exists():
        hint = "give a run's checkpoints/last, or the model.safetensors in it"
        return UserError("holds no trained network", file=path, hint=hint)
    if folder.parent.name != "checkpoints" or not (folder.parent.parent / "config.yaml").exists():
        return UserError("does not exist", file=path, hint="correct the path, or give a run's checkpoints/last")
    hint = "start the run again to finish it"
    if (folder.parent / "last").exists():
        hint = "give checkpoints/last; a run has another network only as its options say (evaluate.every)"
    return UserError("does not exist: the run has not exported this network", file=path, hint=hint)


def read_entry(path: Path, keys: set[str], hint: str) -> dict[str, Any]:
    """Return the content of a JSON file with all of ``keys``.

    Raises:
        UserError: when it is damaged, with the hint.
    """
    entry = read_json(path, hint)
    if not isinstance(entry, dict) or not entry.keys() >= keys:
        raise UserError(f"lacks some of {', '.join(sorted(keys))}", file=path, hint=hint)
    return entry
