"""A user's labels of the kind ``scalar``, in files or arrays, and notes on suspicious values."""

from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.codec import MAX_PIXELS
from shards.errors import BadFile, UserError
from shards.exr import read_exr
from shards.images import read_tiff, read_values
from shards.kinds.named import is_list
from shards.kinds.text import is_number
from shards.kinds.zoom import LENGTHS
from shards.notes import note

if TYPE_CHECKING:
    from shards.tasks import Task

SUFFIXES = frozenset({".png", ".npy", ".tif", ".tiff", ".exr"})
MAX_STEPS = 65535
"""The largest number of steps that 16 bits hold."""
_SATURATED = 0.01  # share of pixels with the largest number of their bits above which it looks like "no measurement"
_FLAT = 0.05  # share of measured pixels with the largest value above which it looks like a limit or the sky


def reading_options(entry: Mapping[str, Any], unit: str = "m") -> dict[str, Any]:
    """Parse ``invalid``, ``range`` and ``channel`` of ``dataset.yaml`` to JSON values; undeclared keys are absent.

    Limits are converted to metres, and ``unit`` is present for a unit of length other than the metre.

    Raises:
        UserError: when they are not finite numbers, the range is empty, or the channel is not a name.
    """
    how: dict[str, Any] = {}
    if "invalid" in entry:
        invalid = entry["invalid"] if is_list(entry["invalid"]) else [entry["invalid"]]
        if not all(map(is_number, invalid)):
            message = f"invalid {entry['invalid']!r} is not a list of numbers"
            hint = "give the numbers in the files that mean no measurement: [65535]; NaN and infinity always do"
            raise UserError(message, hint=hint)
        how["invalid"] = list(invalid)
    if "range" in entry:
        limits = entry["range"]
        if not is_list(limits) or len(limits) != 2 or not all(map(is_number, limits)) or not limits[0] < limits[1]:
            message = f"range {limits!r} is not [smallest, largest]"
            hint = "give two numbers in the unit: [0.1, 80]; where there is no limit, 0 or a large number"
            raise UserError(message, hint=hint)
        how["range"] = [float(limit) * LENGTHS.get(unit, 1.0) for limit in limits]
    if LENGTHS.get(unit, 1.0) != 1:
        how["unit"] = unit
    if "channel" in entry:
        if not isinstance(entry["channel"], str):
            raise UserError(f"channel {entry['channel']!r} is not a name", hint="name a channel of the EXR files: Z")
        how["channel"] = entry["channel"]
    return how


def read_scalar(path: Path, task: "Task", how: Mapping[str, Any]) -> np.ndarray:
    """Read the values of a file in the task's unit, ``(H, W)`` float32, 0 where there is no measurement.

    Raises:
        UserError: when the file cannot be read as one number per pixel.
    """
    stored = _load(path, how)
    whole = not np.issubdtype(stored.dtype, np.floating)
    with np.errstate(over="ignore"):  # values beyond float32 are refused when they are stored
        factor = task.scale if whole else LENGTHS[how.get("unit", "m")]
        values = (stored * np.float32(factor)).astype(np.float32)
    if "unit" in how:
        note(f"declared in {how['unit']}: stored, learnt and reported in m")
    measured = _measured(stored)
    if "invalid" in how:
        invalid = np.isin(stored, np.asarray(how["invalid"], np.float64 if whole else stored.dtype))
        if count := _count(invalid & measured):
            note("declared as invalid: no measurement", count)
        measured &= ~invalid
    if "range" in how:
        low, high = how["range"]
        inside = (values >= low - task.scale / 2) & (values <= high + task.scale / 2)
        if count := _count(measured & ~inside):
            note(f"outside the declared range of {low:g} to {high:g} {task.unit}: no measurement", count)
        measured &= inside
    label = np.where(measured, values, np.float32(0))
    if measured.any():
        _examine_file(stored, measured, label, task)
    return label


def examine_array(label: np.ndarray, task: "Task") -> np.ndarray:
    """Apply the checks of files to an array of a user's source.

    Args:
        label: ``(H, W)`` numbers in the task's unit.

    Returns:
        The array with 0 where values are NaN, infinite or negative. Suspicious values are noted.
    """
    low, top = label.min(), label.max()  # NaN where there is one
    if not (low >= 0 and np.isfinite(top)):
        label = np.where(_measured(label), label, label.dtype.type(0))
        top = label.max()
    if top <= 0:
        return label
    share = _count(label == top) / label.size
    if share >= _SATURATED and round(float(top) / task.scale) == MAX_STEPS:
        text = f"{top:g} {task.unit}, the largest value that can be stored, counts as a measurement"
        note(f"{text}; if it means none, give 0 there", round(share * label.size), f"{100 * share:.0f} % of it")
    else:
        _note_limit(label, task, "give 0 there")
    return label


def _measured(values: np.ndarray) -> np.ndarray:
    """Return where there is a measurement, and note negative numbers."""
    if negative := _count(values < 0):
        note("negative numbers count as no measurement: this kind stores positive values", negative)
    return np.isfinite(values) & (values > 0)


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))


def _examine_file(stored: np.ndarray, measured: np.ndarray, values: np.ndarray, task: "Task") -> None:
    """Note signs that a file's numbers do not mean what was declared; values are 0 where there is no measurement."""
    if stored.dtype == np.uint8:
        text = f"8 bits hold 255 steps of {task.scale:g} {task.unit} at most: is this a picture of the values?"
        note(text, detail=f"up to {values.max():g} {task.unit}")
    if stored.dtype in (np.uint8, np.uint16):
        top = np.iinfo(stored.dtype).max
        share = _count((stored == top) & measured) / stored.size
        if share >= _SATURATED:
            text = f"{top}, the largest number of its bits, counts as a measurement; if it means none: invalid: [{top}]"
            note(text, round(share * stored.size), f"{100 * share:.0f} % of it")
            return
    _note_limit(values, task, "declare invalid or range")


def _note_limit(values: np.ndarray, task: "Task", hint: str) -> None:
    """Note a largest value that many pixels share; values are 0 or less where there is no measurement."""
    top = values.max()
    count, measured = _count(values == top), _count(values > 0)
    if _FLAT * measured <= count < measured:
        second = values[values < top].max()
        if second < 0.8 * top or count >= 10 * _count(values == second):
            text = "many pixels share the largest value, as where a limit or the sky is meant"
            detail = f"{top:g} {task.unit} in {100 * count / measured:.0f} % of the measured pixels"
            note(f"{text}; if it means no measurement, {hint}", count, detail)


def _load(path: Path, how: Mapping[str, Any]) -> np.ndarray:
    """Read the numbers of a file as they are stored."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _load_npy(path)
    if suffix == ".exr":
        return read_exr(path, how.get("channel"))
    return read_values(path, palette=False) if suffix == ".png" else read_tiff(path)


def _load_npy(path: Path) -> np.ndarray:
    """Read a two-dimensional array of numbers; memory mapping refuses a header that claims more than the file holds."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # refuses pickled objects
    except (OSError, ValueError, TokenError) as error:
        hint = "write it again with numpy.save"
        raise BadFile(f"is not an array that can be read ({error})", file=path, hint=hint) from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise UserError("is not a (height, width) array of numbers", file=path, hint="save one number per pixel")
    if array.size > MAX_PIXELS:
        message = f"{array.size} pixels are over the limit of {MAX_PIXELS}"
        raise BadFile(message, file=path, hint="resize the frame before it is packed")
    return array
