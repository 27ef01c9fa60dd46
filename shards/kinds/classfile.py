"""Label files of the kind ``classes``: the meaning of their numbers or colours, and conversion to class indices."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.images import read_mask
from shards.kinds.named import is_colour, is_list
from shards.kinds.text import is_whole

IGNORE = 255
"""The class index of a pixel without a label."""
_VALUES = 2**16  # numbers that a 16-bit PNG can store


def declared_numbers(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Parse the classes of an entry of ``dataset.yaml``: their names, and how files are read, as JSON values.

    ``stored`` are the numbers of classes, ``index`` the class of each (left out where it is the position), ``ignore``
    numbers that mean no label, ``ignore_colours`` colours that do (left out where there are none).

    Raises:
        UserError: for names or numbers that are not valid.
    """
    stored_names, stored = _names(entry)
    wrong = next((name for name in stored_names if not isinstance(name, str)), None)
    if wrong is not None:
        raise UserError(f"class name {wrong!r} is not text in YAML", hint="put it in quotes")
    if "" in stored_names:
        raise UserError("a class has an empty name", hint="name every class")
    names = tuple(dict.fromkeys(stored_names))  # several numbers with one name are one class
    ignored = entry.get("ignore", [] if IGNORE in stored else IGNORE)
    ignored = ignored if is_list(ignored) else [ignored]
    colours = [list(value) for value in ignored if is_list(value)]
    ignore = [value for value in ignored if not is_list(value)]
    for number in (*stored, *ignore):
        if not is_whole(number) or not 0 <= number < _VALUES:
            raise UserError(f"{number!r} is not a stored number", hint=f"give whole numbers in 0..{_VALUES - 1}")
    if not all(map(is_colour, colours)):
        raise UserError(f"ignore {ignored!r} is neither numbers nor colours", hint="a colour is [r, g, b] in 0..255")
    ambiguous = next((number for number in stored if number in ignore), None)
    if ambiguous is not None:
        index = stored.index(ambiguous)
        message = f"stored {ambiguous} is both ignored and class {index} ({stored_names[index]})"
        raise UserError(message, hint="set offset to the stored number of the first class, or change ignore")
    how: dict[str, Any] = {"stored": list(stored), "ignore": ignore}
    how |= {"index": [names.index(name) for name in stored_names]} if len(names) < len(stored_names) else {}
    return names, how | ({"ignore_colours": colours} if colours else {})


def refuse_ignored_colours(names: Sequence[str], colours: Iterable[Sequence[int]], how: Mapping[str, Any]) -> None:
    """Refuse a declaration in which the colour of a class also means no label.

    Args:
        names, colours: of the classes, as declared.
        how: the second value that :func:`declared_numbers` returned.

    Raises:
        UserError: naming the first such class.
    """
    for name, colour in zip(names, map(list, colours), strict=False):  # their number is checked by the task
        if colour in how.get("ignore_colours", ()):
            message = f"colour {colour} is both ignored and that of class {name!r}"
            raise UserError(message, hint="change colours or ignore")


def read_classes(path: Path, how: Mapping[str, Any], colours: Sequence[Sequence[int]]) -> np.ndarray:
    """Read the class indices of a file, ``(H, W)`` uint8, :data:`IGNORE` for no label.

    Args:
        how: the second value that :func:`declared_numbers` returned, and as ``given`` the keys of the task's entry.
        colours: colours of the classes, for files that store colours instead of numbers.

    Raises:
        UserError: when the file holds a number or a colour of no class.
    """
    stored = read_mask(path, coloured="colours" in how.get("given", ()))
    if stored.ndim == 3:
        return _of_colours(path, stored, how, colours)
    numbers, ignore = how["stored"], how["ignore"]
    index_of = np.full(_VALUES, -1, np.int16)  # -1: neither a class nor ignored
    index_of[ignore] = IGNORE
    index_of[numbers] = how.get("index", range(len(numbers)))
    indices = index_of[stored]
    if (indices < 0).any():
        span = f"{min(numbers)} to {max(numbers)}"
        message = f"stored {stored[indices < 0].max()} is none of {len(numbers)} classes, which are {span}"
        ignored = ", ".join(map(str, ignore))
        hint = f"correct the label, or classes, offset or ignore (now {ignored}) of dataset.yaml"
        raise UserError(message, file=path, hint=hint)
    if len(numbers) <= 2 and 255 in ignore and "ignore" not in how.get("given", ("ignore",)):
        refuse_black_and_white(path, stored, "{0: background, 255: thing}")
    return indices.astype(np.uint8)


def refuse_black_and_white(path: Path, stored: np.ndarray, classes: str = "") -> None:
    """Refuse a mask of only 0 and 255 where 255 means "no label" by default and not by declaration.

    Raises:
        UserError: when the file is such a mask.
    """
    if (stored == 0).any() and (stored == 255).any() and ((stored == 0) | (stored == 255)).all():
        hint = f"declare classes: {classes} and ignore: []" if classes else "declare ignore: 254, or any unused number"
        message = "is drawn in 0 and 255, and 255 means no label where ignore is not declared"
        raise UserError(message, file=path, hint=f"{hint}; or ignore: 255, if it does mean no label")


def _of_colours(path: Path, stored: np.ndarray, how: Mapping[str, Any], colours: Sequence[Sequence[int]]) -> np.ndarray:
    if len(set(map(tuple, colours))) < len(colours):
        raise UserError("stores colours, but two classes have the same", file=path, hint="give each class its own")
    codes, inverse = np.unique(_code(stored), return_inverse=True)
    index_of = {int(_code(np.array(colour))): IGNORE for colour in how.get("ignore_colours", ())}
    index_of |= {int(_code(np.array(colour))): index for index, colour in enumerate(colours)}
    wrong = next((int(code) for code in codes if int(code) not in index_of), None)
    if wrong is not None:
        colour = [wrong >> 16, wrong >> 8 & 255, wrong & 255]
        hint = f"correct the label, or colours of dataset.yaml, or add ignore: [255, {colour}] if it means no label"
        raise UserError(f"holds the colour {colour}, which no class has", file=path, hint=hint)
    table = np.array([index_of[int(code)] for code in codes], np.uint8)
    return table[inverse.reshape(stored.shape[:2])]


def _code(colours: np.ndarray) -> np.ndarray:
    return colours[..., :3].astype(np.int64) @ (1 << 16, 1 << 8, 1)


def _names(entry: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the name of each stored number, and the numbers."""
    classes: Any = entry.get("classes")
    offset: Any = entry.get("offset", 0)
    stored: Iterable[Any]
    if isinstance(classes, Mapping):
        if "offset" in entry:
            raise UserError("offset is given although classes have stored numbers", hint="leave offset out")
        return tuple(classes.values()), tuple(classes.keys())
    if is_whole(classes) or is_list(classes):
        names = tuple(classes) if is_list(classes) else tuple(f"class {index}" for index in range(classes))
        if not is_whole(offset):
            raise UserError(f"offset {offset!r} is not a whole number", hint="give the stored number of class 0")
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            hint = f"write {{number: name, ...}} to give one class several numbers: {{3: {duplicate}, 7: {duplicate}}}"
            raise UserError(f"class {duplicate!r} occurs twice", hint=hint)
        stored = range(offset, offset + len(names))
    else:
        hint = "give a list of names, a mapping from stored number to name, or the number of classes"
        raise UserError("classes are missing", hint=hint)
    return names, tuple(stored)
