"""Kind ``scalar``: each pixel has a quantity in a unit, such as depth.

In a shard 16-bit PNG, in steps of ``scale``; in memory float32 ``(H, W)`` in the unit; 0 for no label.
"""

from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from shards.codec import MAX_PIXELS, decode_png, encode_png
from shards.errors import UserError
from shards.extras import need
from shards.images import read_values
from shards.kinds.base import MISSING, Metric, Storage, is_number, missing_share
from shards.statistics import mean_and_deviation

RATIO = 1.25
"""The factor of δ1, from which on two values count as different."""
_ZOOMS = ("divide", "multiply", "keep")


class ScalarStorage(Storage):
    """A positive quantity for each pixel. The task names its ``unit``, the ``scale`` of a stored step, and ``zoom``:
    what an image that is enlarged, which shows things nearer, does with the values."""

    kind = "scalar"
    options = ("scale", "unit", "zoom")
    suffixes = frozenset({".png", ".npy"})
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
        return None if self.task.zoom in _ZOOMS else f"zoom {self.task.zoom!r} is none of {', '.join(_ZOOMS)}"

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

    def statistics(self, label: np.ndarray) -> dict[str, Any]:
        """Of the labelled values also ``sum``, ``squares``, ``min`` and ``max``, in the unit."""
        values = label[self.labelled(label)].astype(np.float64)
        entry = super().statistics(label) | {"sum": float(values.sum()), "squares": float(np.square(values).sum())}
        return entry | ({"min": float(values.min()), "max": float(values.max())} if values.size else _NO_RANGE)

    def describe(self, statistics: Mapping[str, Any]) -> str:
        if not statistics["pixels"]:
            return "no measurement"
        mean, deviation = mean_and_deviation(statistics)
        low, high, missing = statistics["min"], statistics["max"], missing_share(statistics)
        return f"{low:.2f} to {high:.2f} {self.task.unit}, mean {mean:.2f} ± {deviation:.2f}, {missing:.1f} % missing"

    def encode(self, label: np.ndarray) -> bytes:
        """Values that would round to 0 are stored as the smallest step, and those over the range as its end, since 0
        means "no measurement"."""
        steps = np.rint(label.astype(np.float64) / self.task.scale)
        return encode_png(np.where(label > 0, np.clip(steps, 1, 65535), 0).astype(np.uint16))

    def decode(self, data: bytes) -> np.ndarray:
        return decode_png(data, "I;16").astype(np.float32) * np.float32(self.task.scale)

    @classmethod
    def declared(cls, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        if not is_number(entry.get("scale")):
            raise UserError("scale is no number", hint="give the value of one stored step: 0.001 for mm in m")
        fields = {"scale": float(entry["scale"]), "unit": str(entry.get("unit", "m"))}
        return fields | {"zoom": entry.get("zoom", "divide")}, {}

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        values = _load_npy(path) if path.suffix.lower() == ".npy" else read_values(path)
        if not np.issubdtype(values.dtype, np.floating):
            values = values * np.float32(self.task.scale)
        values = values.astype(np.float32)
        return np.where(np.isfinite(values) & (values > 0), values, np.float32(0))

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


def _load_npy(path: Path) -> np.ndarray:
    """A two-dimensional array of numbers; its header is believed only as far as the file reaches."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
    except (OSError, ValueError, TokenError) as error:
        hint = "write it again with numpy.save"
        raise UserError(f"is no array that can be read ({error})", file=path, hint=hint) from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UserError("is no (height, width) array of numbers", file=path, hint="save one number a pixel")
    if array.size > MAX_PIXELS:
        what = f"{array.size} pixels are over the limit of {MAX_PIXELS}"
        raise UserError(what, file=path, hint="resize the frame before it is packed")
    return array
