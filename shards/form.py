"""The form of an array, its axes and its type: what is due, what is given, and how to come from one to the other."""

import json
from typing import Any

import numpy as np

from shards.codec import MAX_PIXELS
from shards.errors import UserError

_DEEP = 200  # characters of the place of a value, which one that holds itself would go on with for ever


def check_array(given: Any, due: np.ndarray, exact: bool = False) -> None:
    """Make sure that something is an array of the same axes and of a type whose numbers are of the same sort.

    Args:
        given: what may be anything; of its height and width there is no more than one limit of pixels.
        due: an array of no pixels, such as uint8 ``(0, 0, 3)``.
        exact: whether the type itself has to be the same.

    Raises:
        UserError: when it is not. It says what it is, what is due, and in Python how to convert it.
    """
    wanted = f"{due.dtype} ({', '.join(('H', 'W', *map(str, due.shape[2:])))})"
    if not isinstance(given, np.ndarray):
        what = f"is {a_type(given)}, where an array is due, {wanted}"
        raise UserError(what, hint=f"give numpy.asarray(array, numpy.{due.dtype})")
    said = f"is {given.dtype} {given.shape}, where {wanted} is due"
    if given.ndim != due.ndim or given.shape[2:] != due.shape[2:]:
        raise UserError(said, hint=_reshaping(given.shape, due.shape))
    whole = due.dtype.kind in "iu"
    widest = due.dtype if exact else np.dtype(np.int64 if whole else np.float64)
    if given.dtype.kind == "b" or not np.can_cast(given.dtype, widest):
        scale = "scale its values to 0..255 and " if exact else ""
        raise UserError(said, hint=f"{scale}give array.astype(numpy.{due.dtype})")
    height, width = given.shape[:2]
    if not 0 < height * width <= MAX_PIXELS:
        what = f"{height}x{width} pixels are {'over the limit of ' + str(MAX_PIXELS) if height * width else 'none'}"
        raise UserError(what, hint="resize it before it is packed" if height * width else "leave the frame out")


def _reshaping(given: tuple[int, ...], due: tuple[int, ...]) -> str:
    """How an array comes to the axes that are due, where that can be told."""
    channels = due[2:]
    if len(given) == len(due) + 1 and given[-1] == 1:
        return "give array[..., 0]"
    if len(given) == len(due) + 1 and given[0] == 1:
        return "give array[0]"
    if channels and len(given) == 3 and given[:1] == channels:
        return "give array.transpose(1, 2, 0)"
    if channels and len(given) == 3 and given[2] > channels[0]:
        return f"give array[..., :{channels[0]}], if these are the ones that are due"
    return f"give {f'{channels[0]} values' if channels else 'one value'} for each pixel"


def check_json(value: Any, what: str) -> None:
    """Make sure that something can be written as JSON.

    Raises:
        UserError: when it cannot: ``meta['camera']['fx'] is a float32, which JSON does not have``.
    """
    try:
        json.dumps(value, allow_nan=False)
        return
    except (TypeError, ValueError, RecursionError):
        inner = value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list | tuple) else ()))
        for key, entry in inner.items():
            if len(what) < _DEEP:
                check_json(entry, f"{what}[{key!r}]")
    said = f"{value}" if isinstance(value, float) else f"{a_type(value)}"
    hint = "give text, numbers, true or false, lists and dicts: str(path), float(number), array.tolist()"
    raise UserError(f"{what} is {said}, which JSON does not have", hint=hint)


def a_type(value: Any) -> str:
    """``a list``, ``an int``, ``None``: what something is, in a sentence."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
