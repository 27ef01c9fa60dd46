"""Training runs against each other: the same, bit for bit, but for what depends on the clock."""

import json
from pathlib import Path

LONG = ("train.steps=24", "train.log_every=5", "checkpoint.every=6", "evaluate.every=2")
"""A run that can be interrupted: four steps an epoch, three checkpoints, and evaluations."""


def lines(run: Path, name: str = "metrics") -> list[dict]:
    """The lines of a record, without what depends on the clock."""
    found = [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in found]


def weights(run: Path, name: str = "last") -> bytes:
    return (run / "checkpoints" / name / "model.safetensors").read_bytes()


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit: order, figures, weights, and which of them were best."""
    for name in ("order", "metrics"):
        assert lines(one, name) == lines(other, name), name
    for name in ("last", "best"):
        assert weights(one, name) == weights(other, name), name
        assert len({(run / "checkpoints" / name / "model.json").read_text() for run in (one, other)}) == 1, name
