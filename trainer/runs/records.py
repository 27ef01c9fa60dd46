"""The records of a run in progress: ``metrics.jsonl``, TensorBoard events where TensorBoard is installed, and
``order.jsonl`` if requested.

A run that continues removes what was written after its last checkpoint, so each step is recorded once.
"""

import json
import math
import os
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from shards.atomic import atomic_file
from shards.extras import installed


class Lines:
    """A file of JSON lines, each with its ``step``.

    Args:
        start: the step to continue from; lines of later steps are removed.
    """

    def __init__(self, path: Path, start: int) -> None:
        if path.exists():
            lines = []
            for line in path.read_bytes().splitlines(keepends=True):
                if _step(line) > start:
                    break
                lines.append(line)
            with atomic_file(path) as file:
                file.writelines(lines)
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Records:
    """All records of a run, written by its first rank.

    Args:
        folder: the run's folder.
        start: the step that the run continues from.
        trace: whether to write ``order.jsonl``.
        check: called before each line; raises when another process has taken the run over.
    """

    def __init__(self, folder: Path, start: int, trace: bool, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        folder.mkdir(parents=True, exist_ok=True)
        self._metrics = Lines(folder / "metrics.jsonl", start)
        self._order = Lines(folder / "order.jsonl", start) if trace else None
        self._board = _board(folder / "tensorboard", start)

    def write_metrics(self, step: int, entry: dict[str, Any]) -> None:
        """Record a line of training or validation metrics: nested dictionaries of numbers."""
        self._check()
        self._metrics.write({"step": step, **entry})
        for tag, value in _flat(entry) if self._board else ():
            self._board.add_scalar(tag, value, step)

    def write_keys(self, step: int, epoch: int, keys: list[str]) -> None:
        """Record the keys of a global batch, if ``order.jsonl`` is requested."""
        if self._order:
            self._check()
            self._order.write({"step": step, "epoch": epoch, "keys": keys})

    def sync(self) -> None:
        """Flush every written line to the disk."""
        self._metrics.sync()
        if self._order:
            self._order.sync()

    def close(self) -> None:
        self._metrics.close()
        if self._order:
            self._order.close()
        if self._board:
            self._board.close()


def _board(folder: Path, start: int) -> Any:
    """Return a writer of TensorBoard events, or None where TensorBoard is not installed (the extra ``report``)."""
    if not installed("tensorboard"):
        return None
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a record, up to the first that a crash truncated; none where there is no file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in takewhile(lambda line: _step(line) < math.inf, lines)]


def _step(line: bytes) -> float:
    """Return the step of a line, or infinity for one that a crash truncated or damaged: nothing after it counts."""
    try:
        return json.loads(line)["step"] if line.endswith(b"\n") else math.inf
    except (ValueError, LookupError, TypeError):
        return math.inf


def _flat(entry: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    scalars = []
    for name, value in entry.items():
        if isinstance(value, dict):
            scalars += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            scalars.append((prefix + name, float(value)))
    return scalars
