"""Check the axes and type of an array against those expected, with a hint on how to convert it."""

import json
from typing import Any

import numpy as np

from shards.codec import MAX_PIXELS
from shards.errors import UserError

_MAX_PATH = 200  # characters; bounds the recursion into a value that contains itself


def check_array(value: Any, template: np.ndarray, exact: bool = False) -> None:
    """Check that a value is an array with the axes of a template and a type of the same kind, integer or float.

    Args:
        value: anything; an array may have :data:`shards.codec.MAX_PIXELS` at most.
        template: an array of one pixel without a value, such as uint8 ``(1, 1, 3)`` zeros.
        exact: whether the type itself has to be the same.

    Raises:
        UserError: when it is not. The message says what it is, what is expected, and in Python how to convert it.
    """
    expected = f"{template.dtype} ({', '.join(('H', 'W', *map(str, template.shape[2:])))})"
    if not isinstance(value, np.ndarray):
        message = f"is {a_type(value)}, expected an array, {expected}"
        raise UserError(message, hint=f"give numpy.asarray(array, numpy.{template.dtype})")
    if isinstance(value, np.ma.MaskedArray):  # its numbers under the mask would be stored
        hint = f"give array.filled({template.flat[0]:g}), or what else it has to be where it is masked"
        raise UserError("is a masked array, of which the mask is not stored", hint=hint)
    message = f"is {value.dtype} {value.shape}, expected {expected}"
    if value.ndim != template.ndim or value.shape[2:] != template.shape[2:]:
        raise UserError(message, hint=_reshape_hint(value.shape, template.shape))
    integer = template.dtype.kind in "iu"
    widest = template.dtype if exact else np.dtype(np.int64 if integer else np.float64)
    if value.dtype.kind == "b" or not np.can_cast(value.dtype, widest):
        scale = "scale its values to 0..255 and " if exact else ""
        raise UserError(message, hint=f"{scale}give array.astype(numpy.{template.dtype})")
    height, width = value.shape[:2]
    if not height * width:
        raise UserError(f"has no pixels ({height}x{width})", hint="leave the frame out")
    if height * width > MAX_PIXELS:
        message = f"{height}x{width} pixels are over the limit of {MAX_PIXELS}"
        raise UserError(message, hint="resize it before it is packed")


def _reshape_hint(shape: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Return how to bring an array to the expected axes, where its shape suggests a way."""
    channels = expected[2:]
    if len(shape) == len(expected) + 1 and shape[-1] == 1:
        return "give array[..., 0]"
    if len(shape) == len(expected) + 1 and shape[0] == 1:
        return "give array[0]"
    if channels and len(shape) == 3 and shape[:1] == channels:
        return "give array.transpose(1, 2, 0)"
    if channels and len(shape) == 3 and shape[2] > channels[0]:
        return f"give array[..., :{channels[0]}], if these are the right ones"
    return f"give {f'{channels[0]} values' if channels else 'one value'} for each pixel"


def check_json(value: Any, path: str) -> None:
    """Check that a value can be written as JSON.

    Args:
        value: anything.
        path: the expression for the value in messages, such as ``meta``.

    Raises:
        UserError: when it cannot: ``meta['camera']['fx'] is a float32, which JSON does not have``.
    """
    try:
        json.dumps(value, allow_nan=False)
        return
    except (TypeError, ValueError, RecursionError):
        nested = value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list | tuple) else ()))
        for key, entry in nested.items():
            if len(path) < _MAX_PATH:
                check_json(entry, f"{path}[{key!r}]")
    description = f"{value}" if isinstance(value, float) else f"{a_type(value)}"
    hint = "give text, numbers, true or false, lists and dicts: str(path), float(number), array.tolist()"
    raise UserError(f"{path} is {description}, which JSON does not have", hint=hint)


def a_type(value: Any) -> str:
    """Return the type of a value with its article, for messages: ``a list``, ``an int``, ``None``."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
