"""Kind ``binary``: masks that may overlap, such as drivable, graspable, edge.

In memory int16 ``(H, W)``: 0 for no label, else 1 + the sum of 2^k over the masks k that hold. In a shard the same
numbers as PNG, of 8 bits for up to 7 masks, else of 16 bits.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import encode_png
from shards.errors import UserError
from shards.images import read_mask
from shards.kinds.base import MISSING
from shards.kinds.classfile import refuse_black_and_white
from shards.kinds.named import NamedStorage, declared_colours
from shards.kinds.text import is_whole, missing_share, percent

MAX_MASKS = 14
"""The largest number of masks that an int16 can hold."""
_IN_BYTE = 7
_NONE = (224, 224, 224)  # the colour of pixels for which no mask holds


class BinaryStorage(NamedStorage):
    """A set of masks for each pixel. The task names the masks as its ``classes``, with a colour for each; in manifests
    they are ``masks``."""

    kind = "binary"
    options = ("masks", "colours", "ignore")
    parts = "masks"
    max_parts = MAX_MASKS
    difference = "disagree about a mask"

    def empty(self, height: int, width: int) -> np.ndarray:
        return np.zeros((height, width), np.int16)

    def labelled(self, label: np.ndarray) -> np.ndarray:
        return label != 0

    def check(self, label: Any) -> None:
        """Also refuse a boolean mask, in which False would mean "no label" and True "no mask"."""
        if isinstance(label, np.ndarray) and label.dtype == bool:
            hint = "give 1 + the sum of 2^k of the masks k that hold, 0 for no label; of one mask: 1 + mask.astype(int)"
            raise UserError("is a bool array, expected a number for each pixel", hint=hint)
        super().check(label)

    def masks(self, label: np.ndarray) -> np.ndarray:
        """Return each mask, bool ``(H, W, K)``; False where there is no label."""
        bits = (label.astype(np.int64)[..., None] - 1) >> np.arange(self.channels) & 1
        return (bits == 1) & self.labelled(label)[..., None]

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Also count the pixels at which each mask holds (``holds``)."""
        return super().statistics(label) | {"holds": self.masks(label).sum((0, 1), dtype=np.int64).tolist()}

    def describe(self, statistics: Mapping[str, Any]) -> str:
        pixels = max(statistics["pixels"], 1)
        shares = zip(self.task.classes, statistics["holds"], strict=True)
        named = ", ".join(f"{name} {100 * count / pixels:.1f} %" for name, count in shares)
        return f"{named}; {missing_share(statistics):.1f} % missing"

    def remarks(self, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Return the masks that hold nowhere or everywhere, by split."""
        remarks = []
        for split, counts in statistics.items():
            for count, where in ((0, "nowhere"), (counts["pixels"], "everywhere")):
                names = [name for name, holds in zip(self.task.classes, counts["holds"], strict=True) if holds == count]
                remarks += [f"holds {where} in {split}: {', '.join(names)}"] if names else []
        return remarks

    @property
    def mode(self) -> str:
        return "L" if self.channels <= _IN_BYTE else "I;16"

    def to_stored(self, label: np.ndarray) -> np.ndarray:
        self._check(label)
        return label.astype(np.uint8 if self.channels <= _IN_BYTE else np.uint16)

    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        label = stored.astype(np.int32)
        self._check(label)
        return label.astype(np.int16)

    def _check(self, label: np.ndarray) -> None:
        most = 2**self.channels
        if label.min(initial=0) < 0 or label.max(initial=0) > most:
            wrong = label[(label < 0) | (label > most)][0]
            message = f"{wrong} is out of range (0 for no label, 1 to {most})"
            raise UserError(message, hint="correct the label, or the list of masks")

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Files store numbers whose bit k is mask k; for a single mask, any number but 0; ``ignore`` means no label."""
        masks = entry.get("masks")
        if not isinstance(masks, list) or not all(isinstance(name, str) and name for name in masks):
            raise UserError("masks are missing", hint="give a list of names, in the order of the bits")
        ignore = entry.get("ignore", _ignored(len(masks)))
        if not is_whole(ignore) or not 0 <= ignore < 2**16:
            raise UserError(f"ignore {ignore!r} is not a stored number", hint="give a whole number in 0..65535")
        duplicate = next((name for name in masks if masks.count(name) > 1), None)
        if duplicate is not None:
            raise UserError(f"mask {duplicate!r} occurs twice", hint="give every mask a name of its own")
        return {"classes": tuple(masks), "colours": declared_colours(entry, len(masks))}, {"ignore": ignore}

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        stored = read_mask(path).astype(np.int64)
        if self.channels == 1 and "ignore" not in how.get("given", ("ignore",)):
            refuse_black_and_white(path, stored)
        bits = (stored != 0).astype(np.int64) if self.channels == 1 else stored
        wrong = (bits >= 2**self.channels) & (stored != how["ignore"])
        if wrong.any():
            message = f"stored {stored[wrong][0]} has bits beyond the {self.channels} masks"
            hint = f"correct the label, or masks or ignore (now {how['ignore']}) of dataset.yaml"
            raise UserError(message, file=path, hint=hint)
        return np.where(stored == how["ignore"], 0, bits + 1).astype(np.int16)

    def write_file(self, label: np.ndarray) -> bytes:
        stored = np.where(self.labelled(label), label - 1, _ignored(self.channels))
        return encode_png(stored.astype(np.uint8 if self.channels <= _IN_BYTE else np.uint16))

    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        """Draw the mean of the colours of the masks that hold; light grey where none does."""
        masks = self.masks(label)
        count = masks.sum(-1, keepdims=True)
        colours = masks @ np.asarray(self.colours, np.float64) / np.maximum(count, 1)
        colours = np.where(count > 0, np.rint(colours), _NONE)
        return np.where(self.labelled(label)[..., None], colours, MISSING).astype(np.uint8)

    def occurring(self, labels: Iterable[np.ndarray]) -> list[tuple[str, tuple[int, int, int]]]:
        holds = np.any([self.masks(label).any((0, 1)) for label in labels], axis=0)
        return [(self.task.classes[index], self.colours[index]) for index in np.flatnonzero(holds)]

    def glance(self, label: np.ndarray) -> str:
        labelled = self.labelled(label)
        if not labelled.any():
            return "no label"
        shares = self.masks(label)[labelled].mean(0)
        return ", ".join(f"{name} {percent(share)}" for name, share in zip(self.task.classes, shares, strict=True))

    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        labelled = self.labelled(truth)
        equal = (self.masks(label) == self.masks(truth))[labelled]
        return f"{percent(equal.mean())} right" if labelled.any() else ""

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one != other


def _ignored(masks: int) -> int:
    """Return the default stored number for "no label": the largest of the bit depth, which no set of masks has."""
    return 2**8 - 1 if masks <= _IN_BYTE else 2**16 - 1
