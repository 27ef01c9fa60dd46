"""Label files of the kind ``classes``: what their numbers or colours mean, and the class indices that follow."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.images import read_mask
from shards.kinds.base import is_whole
from shards.kinds.named import is_colour, is_list

IGNORE = 255
"""The class index of a pixel without a label."""
_VALUES = 2**16  # numbers that a 16-bit PNG can store


def declared_numbers(entry: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The names of the classes, and how files are read, as JSON values.

    ``stored`` are the numbers of classes, ``index`` the class of each (left out where it is the position), ``ignore``
    numbers that mean no label, ``ignore_colours`` colours that do (left out where there are none).

    Raises:
        UserError: for names or numbers that make no classes.
    """
    named, stored = _names(entry)
    wrong = next((name for name in named if not isinstance(name, str)), None)
    if wrong is not None:
        raise UserError(f"class name {wrong!r} is not a text to YAML", hint="put it in quotes")
    if "" in named:
        raise UserError("a class has an empty name", hint="name every class")
    names = tuple(dict.fromkeys(named))  # several numbers of one name are one class
    given = entry.get("ignore", [] if IGNORE in stored else IGNORE)
    given = given if is_list(given) else [given]
    colours = [list(each) for each in given if is_list(each)]
    ignore = [each for each in given if not is_list(each)]
    for number in (*stored, *ignore):
        if not is_whole(number) or not 0 <= number < _VALUES:
            raise UserError(f"{number!r} is not a stored number", hint=f"give whole numbers in 0..{_VALUES - 1}")
    if not all(map(is_colour, colours)):
        raise UserError(f"ignore {given!r} is neither numbers nor colours", hint="a colour is [r, g, b] in 0..255")
    both = next((number for number in stored if number in ignore), None)
    if both is not None:
        index = stored.index(both)
        what = f"stored {both} is both ignored and class {index} ({named[index]})"
        raise UserError(what, hint="set offset to the stored number of the first class, or change ignore")
    how: dict[str, Any] = {"stored": list(stored), "ignore": ignore}
    how |= {"index": [names.index(name) for name in named]} if len(names) < len(named) else {}
    return names, how | ({"ignore_colours": colours} if colours else {})


def read_classes(path: Path, how: Mapping[str, Any], colours: Sequence[Sequence[int]]) -> np.ndarray:
    """Class indices of a file, ``(H, W)`` uint8, :data:`IGNORE` for no label.

    Args:
        how: what :func:`declared_numbers` gave, and as ``given`` the keys of the task's entry.
        colours: of the classes, for files that store colours in place of numbers.

    Raises:
        UserError: when it holds a number or a colour that is no class.
    """
    stored = read_mask(path, coloured="colours" in how.get("given", ()))
    if stored.ndim == 3:
        return _of_colours(path, stored, how, colours)
    known, ignore = how["stored"], how["ignore"]
    index_of = np.full(_VALUES, -1, np.int16)  # what is neither a class nor ignored
    index_of[ignore] = IGNORE
    index_of[known] = how.get("index", range(len(known)))
    indices = index_of[stored]
    if (indices < 0).any():
        span = f"{min(known)} to {max(known)}"
        what = f"stored {stored[indices < 0].max()} is none of {len(known)} classes, which are {span}"
        ignored = ", ".join(map(str, ignore))
        hint = f"correct the label, or classes, offset or ignore (now {ignored}) of dataset.yaml"
        raise UserError(what, file=path, hint=hint)
    if len(known) <= 2 and 255 in ignore and "ignore" not in how.get("given", ("ignore",)):
        refuse_black_and_white(path, stored, "{0: background, 255: thing}")
    return indices.astype(np.uint8)


def refuse_black_and_white(path: Path, stored: np.ndarray, classes: str = "") -> None:
    """Refuse a mask of nothing but 0 and 255, where 255 means "no label" only because nothing else was declared.

    Raises:
        UserError: when it is one.
    """
    if (stored == 0).any() and (stored == 255).any() and ((stored == 0) | (stored == 255)).all():
        hint = f"declare classes: {classes} and ignore: []" if classes else "declare ignore: 254, or any unused number"
        what = "is drawn in 0 and 255, and 255 means no label where ignore is not declared"
        raise UserError(what, file=path, hint=f"{hint}; or ignore: 255, if it does mean no label")


def _of_colours(path: Path, stored: np.ndarray, how: Mapping[str, Any], colours: Sequence[Sequence[int]]) -> np.ndarray:
    if len(set(map(tuple, colours))) < len(colours):
        raise UserError("has colours, of which two classes have the same", file=path, hint="give each class its own")
    codes, inverse = np.unique(_code(stored), return_inverse=True)
    index_of = {int(_code(np.array(colour))): IGNORE for colour in how.get("ignore_colours", ())}
    index_of |= {int(_code(np.array(colour))): index for index, colour in enumerate(colours)}
    wrong = next((int(code) for code in codes if int(code) not in index_of), None)
    if wrong is not None:
        colour = [wrong >> 16, wrong >> 8 & 255, wrong & 255]
        hint = f"correct the label, or colours of dataset.yaml, or say ignore: [255, {colour}] if it means no label"
        raise UserError(f"holds the colour {colour}, which is no class's", file=path, hint=hint)
    table = np.array([index_of[int(code)] for code in codes], np.uint8)
    return table[inverse.reshape(stored.shape[:2])]


def _code(colours: np.ndarray) -> np.ndarray:
    return colours[..., :3].astype(np.int64) @ (1 << 16, 1 << 8, 1)


def _names(entry: Mapping[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The name that each stored number has, and the numbers."""
    classes: Any = entry.get("classes")
    offset: Any = entry.get("offset", 0)
    stored: Iterable[Any]
    if isinstance(classes, Mapping):
        if "offset" in entry:
            raise UserError("offset beside classes that have stored numbers", hint="leave offset out")
        return tuple(classes.values()), tuple(classes.keys())
    if is_whole(classes) or is_list(classes):
        names = tuple(classes) if is_list(classes) else tuple(f"class {index}" for index in range(classes))
        if not is_whole(offset):
            raise UserError(f"offset {offset!r} is not a whole number", hint="give the stored number of class 0")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            hint = f"write {{number: name, ...}} to give one class several numbers: {{3: {twice}, 7: {twice}}}"
            raise UserError(f"class {twice!r} stands twice", hint=hint)
        stored = range(offset, offset + len(names))
    else:
        hint = "give a list of names, a mapping from stored number to name, or the number of classes"
        raise UserError("classes are missing", hint=hint)
    return names, tuple(stored)
