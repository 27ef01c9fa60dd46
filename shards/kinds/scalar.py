"""Kind ``scalar``: each pixel has a quantity in a unit, such as depth.

In a shard 16-bit PNG, in steps of ``scale``; in memory float32 ``(H, W)`` in the unit; 0 for no label.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.extras import need
from shards.kinds.base import MISSING, Metric, Storage, is_number, missing_share
from shards.kinds.scalarfile import MOST, SUFFIXES, declared_how, examined, read_scalar
from shards.kinds.zoom import LENGTHS, ZOOMS, zoom_of
from shards.notes import note
from shards.statistics import mean_and_deviation

RATIO = 1.25
"""The factor of δ1, from which on two values count as different."""
_SMALL, _LARGE = 0.01, 1000  # metres between which the mean of a length is taken for granted
_ANGLES = frozenset({"deg", "°", "rad"})
_COARSE = 0.02  # of a value, from which mean change by rounding on a word is said


class ScalarStorage(Storage):
    """A positive quantity for each pixel. The task names its ``unit``, the ``scale`` of a stored step, and ``zoom``:
    what an image that is enlarged, which shows things nearer, does with the values."""

    kind = "scalar"
    mode = "I;16"
    options = ("scale", "unit", "zoom", "invalid", "range", "channel")
    suffixes = SUFFIXES
    channels = 1
    quantity = True
    difference = f"differ by a factor of more than {RATIO}"
    metrics = (
        Metric("rmse", "rmse", smaller_is_better=True, shown=True),
        Metric("rmse_log", "rmse_log", smaller_is_better=True, shown=True),
        Metric("mae", "mae", smaller_is_better=True),
        Metric("abs_rel", "abs_rel", smaller_is_better=True),
        Metric("log10", "log10", smaller_is_better=True),
        Metric("silog", "SILog ×100", 100, 2, smaller_is_better=True),
        *(Metric(f"delta{power}", f"δ{power}", 100, 2) for power in (1, 2, 3)),
    )

    def problem(self) -> str | None:
        if not self.task.scale > 0:
            return f"scale {self.task.scale} is not positive"
        return None if self.task.zoom in ZOOMS else f"zoom {self.task.zoom!r} is none of {', '.join(ZOOMS)}"

    def to_json(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"scale": self.task.scale, "unit": self.task.unit}
        return entry if self.task.zoom == "divide" else entry | {"zoom": self.task.zoom}

    @classmethod
    def fields(cls, entry: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": float(entry["scale"]), "unit": entry["unit"], "zoom": entry.get("zoom", "divide")}

    def empty(self, height: int, width: int) -> np.ndarray:
        return np.zeros((height, width), np.float32)

    def labelled(self, label: np.ndarray) -> np.ndarray:
        return label > 0

    def examined(self, label: np.ndarray) -> np.ndarray:
        """0 in place of NaN, infinite and negative values."""
        return examined(label, self.task)

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Of the labelled values also ``sum``, ``squares``, ``min`` and ``max``, in the unit."""
        values = label[self.labelled(label)].astype(np.float64)
        entry = super().statistics(label) | {"sum": float(values.sum()), "squares": float(np.square(values).sum())}
        return entry | ({"min": float(values.min()), "max": float(values.max())} if values.size else _NO_RANGE)

    def describe(self, statistics: Mapping[str, Any]) -> str:
        if not statistics["pixels"]:
            return "no measurement"
        mean, deviation = mean_and_deviation(statistics)
        if statistics["min"] == statistics["max"]:
            deviation = 0.0  # and not the 1 that a constant input is divided by
        low, high, missing = statistics["min"], statistics["max"], missing_share(statistics)
        return f"{low:.2f} to {high:.2f} {self.task.unit}, mean {mean:.2f} ± {deviation:.2f}, {missing:.1f} % missing"

    def remarks(self, statistics: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Of lengths: a unit that is not the metre (no declared one), and values that no camera sees."""
        unit = self.task.unit
        if unit not in LENGTHS or not statistics:
            return []
        found = []
        if unit != "m":
            scale = self.task.scale * LENGTHS[unit]
            what = f"losses, tables and the limits of metrics are in {unit}; to train and report in metres, declare"
            found.append(f"{what} scale: {scale:g} and unit: m (floats in {unit}: convert the files)")
        for split, of in statistics.items():
            mean = mean_and_deviation(of)[0] * LENGTHS[unit]
            if not _SMALL < mean < _LARGE:
                found.append(f"the mean of {split} is {mean:g} m: are scale ({self.task.scale:g}) and unit right?")
        return found

    def storable(self, label: np.ndarray) -> np.ndarray:
        return self._values(np.clip(self._steps(label), 0, MOST))

    def to_stored(self, label: np.ndarray) -> np.ndarray:
        """Values that would round to 0 are stored as the smallest step, since 0 means "no measurement"."""
        steps = self._steps(label)
        if steps.max(initial=0) > MOST:
            unit, scale, most = self.task.unit, self.task.scale, float(label[steps > MOST].max())
            what = f"holds {most:g} {unit}, over the {MOST * scale:g} {unit} that 16 bits hold in steps of {scale:g}"
            fits = f"floats fit with scale: {_round_up(most / MOST):g}, or " if np.isfinite(most) else ""
            hint = f"{fits}say with range: [0, {MOST * scale:g}] that what is beyond is no measurement"
            hint += f" (a source of your own: give values in {unit or 'the unit'}, 0 where there is none)"
            raise UserError(what, hint=hint)
        self._note_rounding(label, steps)
        return steps.astype(np.uint16)

    def _steps(self, label: np.ndarray) -> np.ndarray:
        """Whole steps, float64: 1 or more of what is measured, which may be more than can be stored."""
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(label.astype(np.float64) / self.task.scale)
        return np.where(label > 0, np.maximum(steps, 1), 0)

    def _values(self, steps: np.ndarray) -> np.ndarray:
        return steps.astype(np.float32) * np.float32(self.task.scale)

    def _note_rounding(self, label: np.ndarray, steps: np.ndarray) -> None:
        measured = label > 0
        if not measured.any():
            return
        scale, unit, values = self.task.scale, self.task.unit, label[measured].astype(np.float64)
        if small := int(np.count_nonzero(values < scale / 2)):
            note(f"values under half a step are stored as one step, {scale:g} {unit}", small)
        moved = np.abs(steps[measured] * scale - values).mean() / values.mean()
        if moved > _COARSE:
            fits = _round_up(values.max() / MOST)
            what = f"steps of {scale:g} {unit} are coarse for these values; scale: {fits:g} is fine enough for floats"
            note(what, detail=f"rounding moves them by {100 * moved:.0f} %")

    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        return self._values(stored)

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if not is_number(entry.get("scale")):
            raise UserError("scale is not a number", hint="give the value of one stored step: 0.001 for mm in m")
        unit = str(entry.get("unit", "m"))
        metres = LENGTHS.get(unit, 1.0)  # losses, limits of metrics and weights of tasks are meant for metres
        fields = {"scale": float(entry["scale"]) * metres, "unit": "m" if unit in LENGTHS else unit}
        return fields | {"zoom": entry.get("zoom", "")}, declared_how(entry, unit)

    def guesses(self, given: Collection[str]) -> list[str]:
        """What enlarging an image does to the values, where it is not declared and not depth's."""
        name, unit = self.task.name, self.task.unit
        found = []
        if unit in _ANGLES:
            found.append(f"{unit}: what changes sign or wraps in a mirrored image needs augment.flip=false")
        if "zoom" in given or name == "depth":
            return found
        zoom = zoom_of(name, unit)
        if zoom is None:
            what = "it is not known what enlarging an image does to the values"
            hint = "declare zoom: divide (depth), multiply (disparity, inverse depth) or keep (height, temperature)"
            raise UserError(what, hint=hint)
        return [*found, f"zoom: {zoom} is assumed of its name and unit ({unit}); declare zoom if that is wrong"]

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        return read_scalar(path, self.task, how)

    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        need("a picture of a quantity", "matplotlib")
        from matplotlib import colormaps  # a second to import, for the only kind that needs it

        measured = self.labelled(label)
        low, high = limits or ((float(label[measured].min()), float(label.max())) if measured.any() else (0.0, 1.0))
        near_is_bright = np.clip((high - label) / max(high - low, 1e-6), 0, 1)
        colours = colormaps["viridis"](near_is_bright)[..., :3]
        return np.where(measured[..., None], np.rint(colours * 255), MISSING).astype(np.uint8)

    def glance(self, label: np.ndarray) -> str:
        """The range of its values."""
        values = label[self.labelled(label)]
        if not values.size:
            return "no label"
        low, middle, high = np.percentile(values, (0, 50, 100))
        return f"{low:.1f} to {high:.1f} {self.task.unit}, median {middle:.1f} {self.task.unit}"

    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        known = self.labelled(truth)
        return f"rmse {np.sqrt(np.square(label - truth)[known].mean()):.2f} {self.task.unit}" if known.any() else ""

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return np.maximum(one, other) > RATIO * np.minimum(one, other)


_NO_RANGE = {"min": None, "max": None}


def _round_up(scale: float) -> float:
    """The next number of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(scale))
    return next(float(digit * power) for digit in (1, 2, 5, 10) if digit * power >= scale * (1 - 1e-9))
