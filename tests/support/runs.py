"""Comparing training runs: the same bit for bit, except for what depends on the clock."""

import json
import shutil
from pathlib import Path

from trainer.experiment import Experiment
from trainer.runs import artifacts
from trainer.runs.folder import claim

LONG = ("train.steps=24", "train.log_every=5", "checkpoint.every=6", "evaluate.every=2")
"""Options of a run that tests interrupt: four steps per epoch, three checkpoints, and evaluations."""


def lines(run: Path, name: str = "metrics") -> list[dict]:
    """Return the lines of a run's JSONL file, without the fields that depend on the clock."""
    records = [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
    return [{key: field for key, field in line.items() if key != "speed"} for line in records]


def weights(run: Path, name: str = "last") -> bytes:
    return (run / "checkpoints" / name / "model.safetensors").read_bytes()


def assert_same_run(first: Path, second: Path) -> None:
    """Compare order, metrics, weights and the choice of the best weights, bit for bit."""
    for name in ("order", "metrics"):
        assert lines(first, name) == lines(second, name), name
    for name in ("last", "best"):
        assert weights(first, name) == weights(second, name), name
        assert len({(run / "checkpoints" / name / "model.json").read_text() for run in (first, second)}) == 1, name


def copy_checkpoints(reference: Experiment, run: Experiment) -> Path:
    """Copy the checkpoints of the long run into the folder of another one that was begun, and return the newest."""
    claim(run)
    shutil.copytree(reference.checkpoints, run.checkpoints, ignore=shutil.ignore_patterns("last", "best"))
    path = artifacts.newest(run.checkpoints)
    assert path is not None
    return path
