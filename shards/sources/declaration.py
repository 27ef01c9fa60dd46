"""What ``dataset.yaml`` declares about a folder of images (the format: :mod:`shards.sources.folder`)."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from shards.codec import key_of
from shards.errors import UserError
from shards.tasks import IGNORE, Task, palette

FILE = "dataset.yaml"
_KEYS = ("name", "val_fraction", "tasks", "intrinsics")
_INTRINSICS = ("fx", "fy", "cx", "cy")
_TASK_KEYS = {
    "classes": ("kind", "classes", "colours", "ignore", "offset"),
    "metric": ("kind", "scale", "unit", "zoom"),
    "unit_vector": ("kind",),
}
_VALUES = 2**16  # numbers that a 16-bit PNG can store


@dataclass(frozen=True)
class LabelFormat:
    """A task, and how its label files store it.

    Args:
        task: the task.
        stored: the stored number of each class, in index order (kind ``classes`` only).
        ignore: stored numbers that mean "no label" (kind ``classes`` only).
    """

    task: Task
    stored: tuple[int, ...] = ()
    ignore: tuple[int, ...] = ()

    def index_of(self) -> np.ndarray:
        """``(65536,)`` int16: of every stored number its class index, :data:`IGNORE`, or -1 where it is neither."""
        table = np.full(_VALUES, -1, np.int16)
        table[list(self.ignore)] = IGNORE
        table[list(self.stored)] = range(len(self.stored))
        return table

    def to_json(self) -> dict[str, Any]:
        return {"stored": list(self.stored), "ignore": list(self.ignore)} if self.stored else {}


@dataclass(frozen=True)
class Declaration:
    """A whole ``dataset.yaml``."""

    name: str
    val_fraction: float | None
    intrinsics: dict[str, float] | None
    formats: tuple[LabelFormat, ...]


def declare(root: Path, given: Mapping[str, Any]) -> Declaration:
    """Read ``ROOT/dataset.yaml``, if there is one, under values that were given by hand.

    Args:
        root: the folder.
        given: the same keys as in the file; these win.

    Raises:
        UserError: a file that is no YAML mapping, unknown keys, or values that make no task.
    """
    path = root / FILE
    spec = _merge(_load(path) if path.exists() else {}, given)
    where = path if path.exists() else root
    _check_keys(where, "", spec, _KEYS)
    name = spec.get("name", key_of(root.resolve().name))
    if not isinstance(name, str) or not name or key_of(name) != name:
        raise UserError(f"{name!r}", file=where, key="name", cure="use letters, digits, _ and - only")
    fraction = spec.get("val_fraction")
    if fraction is not None and not (_is_number(fraction) and 0 < fraction < 1):
        raise UserError(f"{fraction!r}", file=where, key="val_fraction", cure="give a number between 0 and 1")
    intrinsics = spec.get("intrinsics")
    if intrinsics is not None and not _is_camera(intrinsics):
        cure = f"give {', '.join(_INTRINSICS)} in pixels, the first two over 0"
        raise UserError(f"{intrinsics!r}", file=where, key="intrinsics", cure=cure)
    tasks = spec.get("tasks", {})
    if not isinstance(tasks, Mapping) or not tasks:
        cure = f"name them in {FILE}, or give the classes of semseg or the scale of depth"
        raise UserError("no tasks are declared", file=where, key="tasks", cure=cure)
    formats = tuple(_label_format(where, str(task), tasks[task]) for task in tasks)
    return Declaration(name, fraction, dict(intrinsics) if intrinsics else None, formats)


def declaration_of(tasks: Iterable[Task]) -> str:
    """The text of a ``dataset.yaml`` for labels that are stored as in shards, which :func:`declare` reads."""
    entries: dict[str, dict[str, Any]] = {}
    for task in tasks:
        entry: dict[str, Any] = {"kind": task.kind}
        if task.kind == "classes":
            entry |= {"classes": list(task.classes), "colours": [list(colour) for colour in task.colours]}
        elif task.kind == "metric":
            entry |= {"scale": task.scale, "unit": task.unit}
            if task.zoom != "divide":
                entry["zoom"] = task.zoom
        entries[task.name] = entry
    return yaml.safe_dump({"tasks": entries}, sort_keys=False, default_flow_style=None, allow_unicode=True)


def _label_format(where: Path, name: str, entry: Any) -> LabelFormat:
    key = f"tasks.{name}"
    if not isinstance(entry, Mapping) or str(entry.get("kind")) not in _TASK_KEYS:
        raise UserError("has no kind", file=where, key=key, cure=f"give kind: {', '.join(_TASK_KEYS)}")
    kind = entry["kind"]
    _check_keys(where, key, entry, _TASK_KEYS[kind])
    try:
        if kind == "classes":
            return _class_format(name, entry)
        if kind == "metric":
            if not _is_number(entry.get("scale")):
                raise UserError("scale is no number", cure="give the value of one stored step: 0.001 for mm in m")
            zoom: Any = entry.get("zoom", "divide")
            unit = str(entry.get("unit", "m"))
            return LabelFormat(Task(name, kind, scale=float(entry["scale"]), unit=unit, zoom=zoom))
        return LabelFormat(Task(name, kind))
    except UserError as error:
        cure = error.cure or "correct the declaration of the task"
        raise UserError(error.what, file=where, key=key, cure=cure) from error


def _class_format(name: str, entry: Mapping[str, Any]) -> LabelFormat:
    classes: Any = entry.get("classes")
    offset: Any = entry.get("offset", 0)
    stored: Iterable[Any]
    if isinstance(classes, Mapping):
        if "offset" in entry:
            raise UserError("offset beside classes that have stored numbers", cure="leave offset out")
        stored, names = classes.keys(), tuple(classes.values())
    elif _is_whole(classes) or _is_list(classes):
        names = tuple(classes) if _is_list(classes) else tuple(f"class {index}" for index in range(classes))
        if not _is_whole(offset):
            raise UserError(f"offset {offset!r} is no whole number", cure="give the stored number of class 0")
        stored = range(offset, offset + len(names))
    else:
        cure = "give a list of names, a mapping from stored number to name, or the number of classes"
        raise UserError("classes are missing", cure=cure)
    wrong = next((each for each in names if not isinstance(each, str)), None)
    if wrong is not None:
        raise UserError(f"class name {wrong!r} is no text to YAML", cure="put it in quotes")
    if "" in names:
        raise UserError("a class has an empty name", cure="name every class")
    stored = tuple(stored)
    ignore = entry.get("ignore", [] if IGNORE in stored else IGNORE)
    ignore = tuple(ignore) if _is_list(ignore) else (ignore,)
    for number in (*stored, *ignore):
        if not _is_whole(number) or not 0 <= number < _VALUES:
            raise UserError(f"{number!r} is no stored number", cure=f"give whole numbers in 0..{_VALUES - 1}")
    both = next((number for number in stored if number in ignore), None)
    if both is not None:
        what = f"stored {both} is both ignored and class {stored.index(both)} ({names[stored.index(both)]})"
        raise UserError(what, cure="set offset to the stored number of the first class, or change ignore")
    colours = entry.get("colours", palette(len(names)))
    if not _is_list(colours) or not all(
        _is_list(colour) and len(colour) == 3 and all(_is_whole(each) and 0 <= each <= 255 for each in colour)
        for colour in colours
    ):
        raise UserError("colours are no list of [r, g, b] in 0..255", cure="give one for each class, or none")
    return LabelFormat(Task(name, "classes", names, tuple(tuple(colour) for colour in colours)), stored, ignore)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        spec = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"is no YAML that can be read ({reason})", file=path, cure="correct the file") from error
    if not isinstance(spec, Mapping):
        raise UserError("is no mapping", file=path, cure=f"give its keys: {', '.join(_KEYS)}")
    return spec


def _merge(spec: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(spec)
    for key, value in given.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _check_keys(where: Path, parent: str, entry: Mapping[Any, Any], known: Sequence[str]) -> None:
    for key in map(str, entry):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            cure = f"did you mean {near}? known: {', '.join(known)}"
            raise UserError("is no key", file=where, key=f"{parent}.{key}".lstrip("."), cure=cure)


def _is_camera(value: Any) -> bool:
    known = isinstance(value, Mapping) and value.keys() == set(_INTRINSICS) and all(map(_is_number, value.values()))
    return known and all(map(math.isfinite, value.values())) and min(value["fx"], value["fy"]) > 0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
