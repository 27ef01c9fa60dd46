"""Kind ``classes``: each pixel has one class.

In a shard 8-bit PNG, 0 to C - 1; in memory uint8 ``(H, W)``; 255 for no label.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.kinds.base import MISSING
from shards.kinds.classfile import IGNORE, declared_numbers, read_classes, refuse_ignored_colours
from shards.kinds.named import NamedStorage, declared_colours
from shards.kinds.text import percent


class ClassStorage(NamedStorage):
    """A class index for each pixel. The task names ``classes`` in index order, and a colour for each."""

    kind = "classes"
    mode = "L"
    options = ("classes", "colours", "ignore", "offset")
    parts = "classes"
    max_parts = IGNORE
    distribution = True
    difference = "say different classes"

    def empty(self, height: int, width: int) -> np.ndarray:
        return np.full((height, width), IGNORE, np.uint8)

    def labelled(self, label: np.ndarray) -> np.ndarray:
        return label != IGNORE

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Count the ``pixels`` of each class, and those without a class (``ignore``)."""
        counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
        return {"frames": 1, "pixels": counts[: self.channels].tolist(), "ignore": int(counts[IGNORE])}

    def describe(self, statistics: Mapping[str, Any]) -> str:
        total = max(sum(statistics["pixels"]), 1)
        shares = zip(self.task.classes, statistics["pixels"], strict=True)
        ordered = sorted(shares, key=lambda share: -share[1])
        return ", ".join(f"{name} {100 * pixels / total:.1f} %" for name, pixels in ordered)

    def remarks(self, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the classes without a pixel, by split."""
        remarks = []
        for split, counts in statistics.items():
            absent = [name for name, pixels in zip(self.task.classes, counts["pixels"], strict=True) if not pixels]
            if absent:
                remarks.append(f"no pixel of {split} is of {len(absent)} of the classes: {', '.join(absent)}")
        return remarks

    @property
    def group_names(self) -> tuple[str, ...]:
        return self.task.classes

    def group_of(self, label: np.ndarray) -> np.ndarray:
        return label.astype(np.int64)

    def to_stored(self, label: np.ndarray) -> np.ndarray:
        self._check(label)
        return label.astype(np.uint8, copy=False)

    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        self._check(stored)
        return stored

    def _check(self, label: np.ndarray) -> None:
        if label.dtype == np.uint8 and (label + np.uint8(1)).max(initial=0) <= self.channels:  # 255 becomes 0
            return
        wrong = ((label >= self.channels) | (label < 0)) & (label != IGNORE)
        if wrong.any():
            message = f"class {label[wrong][0]} is out of range (0..{self.channels - 1}, {IGNORE} for none)"
            raise UserError(message, hint="correct the label, or the list of classes")

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Files store one or more numbers for each class and numbers for no label, or the colours of classes."""
        names, how = declared_numbers(entry)
        colours = declared_colours(entry, len(names))
        if "colours" in entry:
            refuse_ignored_colours(names, colours, how)
        return {"classes": names, "colours": colours}, how

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        return read_classes(path, how, self.task.colours)

    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        table = np.full((IGNORE + 1, 3), MISSING, np.uint8)
        table[: self.channels] = self.colours
        return table[label]

    def occurring(self, labels: Iterable[np.ndarray]) -> list[tuple[str, tuple[int, int, int]]]:
        indices = sorted({int(index) for label in labels for index in np.unique(label)} - {IGNORE})
        return [(self.task.classes[index], self.colours[index]) for index in indices]

    def glance(self, label: np.ndarray) -> str:
        """Return the most frequent classes."""
        counts = np.bincount(label[label != IGNORE], minlength=self.channels)
        largest = [index for index in np.argsort(-counts)[:3] if counts[index]]
        named = [f"{self.task.classes[index]} {percent(counts[index] / counts.sum())}" for index in largest]
        return ", ".join(named) or "no label"

    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        labelled = truth != IGNORE
        return f"{percent((label == truth)[labelled].mean())} right" if labelled.any() else ""

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one != other
