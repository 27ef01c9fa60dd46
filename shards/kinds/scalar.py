"""Kind ``scalar``: each pixel has a quantity in a unit, such as depth.

In a shard 16-bit PNG, in steps of ``scale``; in memory float32 ``(H, W)`` in the unit; 0 for no label.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.extras import need
from shards.kinds.base import MISSING, Storage
from shards.kinds.scalarfile import MAX_STEPS, SUFFIXES, examine_array, read_scalar, reading_options
from shards.kinds.text import is_number, missing_share, sizes
from shards.kinds.zoom import LENGTHS, ZOOMS, zoom_of
from shards.notes import note
from shards.statistics import mean_and_deviation

RATIO = 1.25
"""The factor of δ1: two values whose ratio is larger count as different."""
_SMALL, _LARGE = 0.01, 1000  # metres: a mean length outside of this range is remarked on
_ODD = 200  # metres above which values that were declared in metres may be millimetres
_ANGLES = frozenset({"deg", "°", "rad"})
_COARSE = 0.02  # mean relative change by rounding above which it is noted


class ScalarStorage(Storage):
    """A positive quantity for each pixel. The task declares its ``unit``, the ``scale`` of a stored step, and ``zoom``:
    what enlarging an image, which makes things appear nearer, does to the values."""

    kind = "scalar"
    mode = "I;16"
    options = ("scale", "unit", "zoom", "invalid", "range", "channel")
    suffixes = SUFFIXES
    channels = 1
    difference = f"differ by a factor of more than {RATIO}"

    def problem(self) -> str | None:
        if not 0 < self.task.scale < math.inf:
            return f"scale {self.task.scale} is not a positive, finite number"
        return None if self.task.zoom in ZOOMS else f"zoom {self.task.zoom!r} is none of {', '.join(ZOOMS)}"

    def to_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"scale": self.task.scale, "unit": self.task.unit}
        return entry if self.task.zoom == "divide" else entry | {"zoom": self.task.zoom}

    @classmethod
    def fields(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": float(entry["scale"]), "unit": entry["unit"], "zoom": entry.get("zoom", "divide")}

    @property
    def is_depth(self) -> bool:
        return self.task.zoom == "divide"

    def range_problem(self) -> None:
        return None

    def input_problem(self, statistics: tuple[float, float] | None) -> str | None:
        return None if statistics and statistics[1] > 0 else "no positive standard deviation"

    def empty(self, height: int, width: int) -> np.ndarray:
        return np.zeros((height, width), np.float32)

    def labelled(self, label: np.ndarray) -> np.ndarray:
        return label > 0

    def check_size(self, label: tuple[int, int], image: tuple[int, int]) -> None:
        """Accept another resolution of the same view."""
        if abs(label[0] * image[1] / image[0] - label[1]) >= 1:
            hint = "register it to the image; only a map of the same aspect ratio can have another resolution"
            raise UserError(f"is {sizes(label, image)}", hint=hint)
        text = "of another resolution than its image: every pixel takes the nearest value"
        note(text, detail=sizes(label, image))

    def examined(self, label: np.ndarray) -> np.ndarray:
        """Replace NaN, infinite and negative values by 0."""
        return examine_array(label, self.task)

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Add ``sum``, ``squares``, ``min`` and ``max`` of the labelled values, in the unit."""
        values = label[self.labelled(label)].astype(np.float64)
        entry = super().statistics(label) | {"sum": float(values.sum()), "squares": float(np.square(values).sum())}
        return entry | ({"min": float(values.min()), "max": float(values.max())} if values.size else _NO_RANGE)

    def mean_and_deviation(self, statistics: Mapping[str, Any]) -> tuple[float, float]:
        return mean_and_deviation(statistics)

    def describe(self, statistics: Mapping[str, Any]) -> str:
        if not statistics["pixels"]:
            return "no measurement"
        mean, deviation = mean_and_deviation(statistics)
        if statistics["min"] == statistics["max"]:
            deviation = 0.0  # mean_and_deviation returns 1, which a constant input is divided by
        low, high, missing = statistics["min"], statistics["max"], missing_share(statistics)
        return f"{low:.2f} to {high:.2f} {self.task.unit}, mean {mean:.2f} ± {deviation:.2f}, {missing:.1f} % missing"

    def remarks(self, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Remark on lengths whose unit is not the metre (a declaration converts them), and on implausible means."""
        unit = self.task.unit
        if unit not in LENGTHS or not statistics:
            return []
        remarks = []
        if unit != "m":
            scale = self.task.scale * LENGTHS[unit]
            text = f"losses, tables and the limits of metrics are in {unit}; to train and report in metres, declare"
            remarks.append(f"{text} scale: {scale:g} and unit: m (floats in {unit}: convert the files)")
        for split, parts in statistics.items():
            mean = mean_and_deviation(parts)[0] * LENGTHS[unit]
            if not _SMALL < mean < _LARGE:
                step = f"{self.task.scale:g} {unit}"
                remarks.append(f"the mean of {split} is {mean:g} m: are scale ({step}) and unit right?")
        return remarks

    def storable(self, label: np.ndarray) -> np.ndarray:
        return self._values(np.clip(self._steps(label), 0, MAX_STEPS))

    def to_stored(self, label: np.ndarray) -> np.ndarray:
        """Store values that would round to 0 as the smallest step, since 0 means "no measurement"."""
        steps = self._steps(label)
        if steps.max(initial=0) > MAX_STEPS:
            unit, scale, largest = self.task.unit, self.task.scale, float(label[steps > MAX_STEPS].max())
            limit = MAX_STEPS * scale
            message = f"holds {largest:g} {unit}, over the {limit:g} {unit} that 16 bits hold in steps of {scale:g}"
            fits = f"floats fit with scale: {self._fine_scale(largest):g}, or " if np.isfinite(largest) else ""
            if self.task.unit == "m" and not self.task.declared_unit and _ODD <= largest <= MAX_STEPS:
                fits = f"if the values are millimetres: unit: mm, scale: 1; else {fits}"
            hint = f"{fits}declare range: [0, {limit / self._declared_length:g}] if larger values are not measurements"
            hint += f", in {self.task.declared_unit} as declared" if self.task.declared_unit else ""
            hint += f" (a source of your own: give values in {unit or 'the unit'}, 0 where there is none)"
            raise UserError(message, hint=hint)
        self._note_rounding(label, steps)
        return steps.astype(np.uint16)

    def _steps(self, label: np.ndarray) -> np.ndarray:
        """Convert to whole steps, float64: at least 1 where measured, and possibly more than can be stored."""
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(label.astype(np.float64) / self.task.scale)
        return np.where(label > 0, np.maximum(steps, 1), 0)

    def _values(self, steps: np.ndarray) -> np.ndarray:
        return steps.astype(np.float32) * np.float32(self.task.scale)

    @property
    def _declared_length(self) -> float:
        """Length of the unit in which the task is declared, in the task's unit."""
        return LENGTHS.get(self.task.declared_unit, 1.0)

    def _fine_scale(self, largest: float) -> float:
        """Return the scale to declare so that values up to ``largest`` can be stored."""
        return _round_up(largest / self._declared_length / MAX_STEPS)

    def _note_rounding(self, label: np.ndarray, steps: np.ndarray) -> None:
        measured = label > 0
        if not measured.any():
            return
        scale, unit, values = self.task.scale, self.task.unit, label[measured].astype(np.float64)
        if small := int(np.count_nonzero(values < scale / 2)):
            note(f"values under half a step are stored as one step, {scale:g} {unit}", small)
        moved = np.abs(steps[measured] * scale - values).mean() / values.mean()
        if moved > _COARSE:
            fits = f"{self._fine_scale(values.max()):g}"
            fits += f" (in {self.task.declared_unit} as declared)" if self.task.declared_unit else ""
            text = f"steps of {scale:g} {unit} are coarse for these values; scale: {fits} is fine enough for floats"
            note(text, detail=f"rounding moves them by {100 * moved:.0f} %")

    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        return self._values(stored)

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if not is_number(entry.get("scale")):
            raise UserError("scale is not a finite number", hint="give the value of one stored step: 0.001 for mm in m")
        unit = str(entry.get("unit", "m"))
        metres = LENGTHS.get(unit, 1.0)  # losses, limits of metrics and task weights assume metres
        fields: dict[str, Any] = {"scale": float(entry["scale"]) * metres, "unit": "m" if unit in LENGTHS else unit}
        fields |= {"declared_unit": unit if unit != fields["unit"] else "", "zoom": entry.get("zoom", "")}
        return fields, reading_options(entry, unit)

    def guesses(self, given: Collection[str]) -> list[str]:
        """Guess what enlarging an image does to the values, where it is not declared and the task is not depth."""
        name, unit = self.task.name, self.task.unit
        guesses = []
        if unit in _ANGLES:
            guesses.append(f"{unit}: what changes sign or wraps in a mirrored image needs augment.flip=false")
        if "zoom" in given or name == "depth":
            return guesses
        zoom = zoom_of(name, unit)
        if zoom is None:
            message = "it is not known what enlarging an image does to the values"
            hint = "declare zoom: divide (depth), multiply (disparity, inverse depth) or keep (height, temperature)"
            raise UserError(message, hint=hint)
        basis = f"name and unit ({unit})" if unit else "name"
        return [*guesses, f"zoom: {zoom} is assumed of its {basis}; declare zoom if that is wrong"]

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        return read_scalar(path, self.task, how)

    def limits(self, labels: Iterable[np.ndarray]) -> tuple[float, float] | None:
        measured = [label[self.labelled(label)] for label in labels if self.labelled(label).any()]
        return (float(min(map(np.min, measured))), float(max(map(np.max, measured)))) if measured else None

    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        need("a picture of a quantity", "matplotlib")
        from matplotlib import colormaps  # takes a second to import, and only this kind needs it

        measured = self.labelled(label)
        low, high = limits or self.limits([label]) or (0.0, 1.0)
        near_is_bright = np.clip((high - label) / max(high - low, 1e-6), 0, 1)
        colours = colormaps["viridis"](near_is_bright)[..., :3]
        return np.where(measured[..., None], np.rint(colours * 255), MISSING).astype(np.uint8)

    def key(
        self, labels: Iterable[np.ndarray], limits: tuple[float, float] | None = None
    ) -> list[tuple[str, tuple[int, int, int]]]:
        """Return the smallest value, which is bright, and the largest."""
        if self.limits(labels) is None:
            return []
        texts = ["smallest value of each", "largest value of each"]
        if limits is not None:
            texts = [f"{value:.3g} {self.task.unit}".rstrip() for value in limits]
        (small, large), *_ = self.colourise(np.array([[1, 2]], np.float32), (1, 2)).tolist()
        return [(texts[0], tuple(small)), (texts[1], tuple(large))]

    def glance(self, label: np.ndarray) -> str:
        """Return the range of values."""
        values = label[self.labelled(label)]
        if not values.size:
            return "no label"
        low, middle, high = np.percentile(values, (0, 50, 100))
        return f"{low:.1f} to {high:.1f} {self.task.unit}, median {middle:.1f} {self.task.unit}"

    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        valid = self.labelled(truth)
        return f"rmse {np.sqrt(np.square(label - truth)[valid].mean()):.2f} {self.task.unit}" if valid.any() else ""

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.maximum(one, other) > RATIO * np.minimum(one, other)


_NO_RANGE = {"min": None, "max": None}


def _round_up(scale: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(scale))
    return next(float(digit * power) for digit in (1, 2, 5, 10) if digit * power >= scale * (1 - 1e-9))
