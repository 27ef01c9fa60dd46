"""Parsers and checks for option values: sizes, intervals, lists of names, thresholds of pseudo-labels.

Each function raises a ``UserError`` that names the option for a value that is not valid.
"""

import re
from collections.abc import Sequence

from shards.errors import UserError
from shards.keep import Keep
from shards.store import is_url, on_disk


def parse_size(text: str | None, key: str) -> tuple[int, int] | None:
    """Parse a size, height first: ``"96x128"`` → (96, 128).

    Raises:
        UserError: when it is not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not match or not all(int(side) for side in match.groups()):
        raise UserError(f"{text!r} is not a size", key=key, hint="write HEIGHTxWIDTH, such as 480x640")
    return int(match[1]), int(match[2])


def parse_bytes(text: str, key: str) -> int:
    """Parse a number of bytes: ``"50GB"`` → 50,000,000,000.

    Raises:
        UserError: when it is not a number of bytes, or 0.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kMGT]?)B?", text)
    size = int(float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")) if match else 0
    if not size:
        raise UserError(f"{text!r} is not a number of bytes over 0", key=key, hint="write one such as 200GB")
    return size


def check_local(path: str | None, key: str) -> None:
    """Make sure that a path, if there is one, is not a URL."""
    on_disk(path or "", key)


def check_url(text: str | None, key: str) -> None:
    """Make sure that a text, if there is one, is a URL."""
    if text is not None and not is_url(text):
        raise UserError(f"{text!r} is not a URL", key=key, hint="write one such as s3://bucket/labels")


def parse_every(value: int | str, key: str = "checkpoint.every") -> tuple[int | None, float | None]:
    """Parse an interval as steps or as seconds: ``500`` → (500, None), ``"30m"`` → (None, 1800.0).

    Raises:
        UserError: when it is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(value))
    if not match or not float(match[1]) or not (match[2] or match[1].isdigit()):
        hint = "give a number of steps from 1 up, or minutes such as 30m"
        raise UserError(f"{value!r} is not an interval", key=key, hint=hint)
    return (None, 60 * float(match[1])) if match[2] else (int(match[1]), None)


def parse_keep(value: float | str, key: str) -> float | str:
    """Normalise ``pseudo.TASK.keep``, so that values can be compared: a number, ``all``, ``50%``, or a filter's name.

    Raises:
        UserError: when it is none of them.
    """
    if isinstance(value, str) and ":" in value:
        return value
    try:
        normalised = Keep.of(value).value
    except UserError as error:
        raise UserError(error.what, key=key, hint=error.hint) from None
    assert normalised is not None
    return normalised


def check_unique(names: Sequence[str] | None, key: str) -> None:
    """Refuse a list of names that is empty or contains a name twice."""
    if names is not None and (not names or len(set(names)) < len(names)):
        raise UserError(f"{list(names)} is empty or names one twice", key=key, hint="name each one once")


def check_zoom(factors: Sequence[float], key: str) -> None:
    """Refuse a list of zoom factors that is empty or contains one below 1."""
    if not factors or min(factors) < 1:
        raise UserError(f"{list(factors)} has no factor, or one below 1", key=key, hint="use [1.0] for none")


def check_widths(widths: Sequence[int] | None, key: str) -> None:
    """Refuse anything but one positive width for each of the four scales."""
    if widths is not None and not (len(widths) == 4 and min(widths) > 0):
        hint = "give one for each of strides 4, 8, 16, 32, such as [18, 36, 72, 144], or null for the backbone's own"
        raise UserError(f"{list(widths)} is not four widths", key=key, hint=hint)


def check_limits(pair: Sequence[float], key: str) -> None:
    """Refuse anything but a smallest and a largest value, from 0 up."""
    if len(pair) != 2 or not 0 <= pair[0] < pair[1]:
        hint = "give [least, greatest] from 0 up, such as [0.001, 10]"
        raise UserError(f"{list(pair)} is not a range", key=key, hint=hint)
