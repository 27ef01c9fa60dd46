"""What ``dataset.yaml`` declares about a folder of images (the format: :mod:`shards.sources.folder`)."""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from shards import kinds
from shards.codec import key_of
from shards.errors import UserError
from shards.kinds.base import is_number
from shards.notes import about
from shards.sources.layout import Pattern
from shards.tasks import Task

FILE = "dataset.yaml"
_KEYS = ("name", "images", "val_fraction", "tasks", "intrinsics", "group_by", "label_orientation")
IMAGES = Pattern("rgb/{name}")
ORIENTATIONS = ("upright", "sensor")
_INTRINSICS = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class LabelFormat:
    """A task, and how its label files are read.

    Args:
        task: the task.
        how: what its kind's :meth:`shards.kinds.Storage.declared` gave, JSON values.
        given: the keys that were declared.
        guesses: what is taken for granted, as sentences.
        files: where they lie; None for the folder of the task's name.
    """

    task: Task
    how: Mapping[str, Any]
    given: frozenset[str] = frozenset()
    guesses: tuple[str, ...] = ()
    files: Pattern | None = None

    @property
    def pattern(self) -> Pattern:
        return self.files or Pattern(f"{self.task.name}/{{name}}")

    def read(self, path: Path) -> np.ndarray:
        """The label array of a file.

        Raises:
            UserError: when it cannot be read, or holds what was not declared.
        """
        with about(self.task.name):
            return self.task.storage.read_file(path, {**self.how, "given": self.given})


@dataclass(frozen=True)
class Declaration:
    """A whole ``dataset.yaml``."""

    name: str
    val_fraction: float | None
    intrinsics: dict[str, float] | None
    formats: tuple[LabelFormat, ...]
    images: Pattern = IMAGES
    group_by: str | None = None
    label_orientation: str | None = None


def declare(root: Path, given: Mapping[str, Any]) -> Declaration:
    """Read ``ROOT/dataset.yaml``, if there is one, under values that were given by hand.

    Args:
        root: the folder.
        given: the same keys as in the file; these win.

    Raises:
        UserError: no folder, a file that is no YAML mapping, unknown keys, or values that make no task.
    """
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UserError(what, file=root, hint="give the folder that holds your frames")
    path = root / FILE
    spec = _merge(_load(path) if path.exists() else {}, given)
    where = path if path.exists() else root
    _check_keys(where, "", spec, _KEYS)
    name = spec.get("name", key_of(root.resolve().name))
    if not isinstance(name, str) or not name or key_of(name) != name:
        raise UserError(f"{name!r}", file=where, key="name", hint="use letters, digits, _ and - only")
    fraction = spec.get("val_fraction")
    if fraction is not None and not (is_number(fraction) and 0 < fraction < 1):
        raise UserError(f"{fraction!r}", file=where, key="val_fraction", hint="give a number between 0 and 1")
    intrinsics = spec.get("intrinsics")
    if intrinsics is not None and not _is_camera(intrinsics):
        hint = f"give {', '.join(_INTRINSICS)} in pixels, the first two over 0"
        raise UserError(f"{intrinsics!r}", file=where, key="intrinsics", hint=hint)
    tasks = spec.get("tasks", {})
    if not isinstance(tasks, Mapping) or not tasks:
        hint = f"name them in {FILE}, or give the classes of semseg or the scale of depth"
        raise UserError("no tasks are declared", file=where, key="tasks", hint=hint)
    formats = tuple(_label_format(where, str(task), tasks[task]) for task in tasks)
    group_by, orientation = spec.get("group_by"), spec.get("label_orientation")
    if group_by is not None and not isinstance(group_by, str):
        raise UserError(f"{group_by!r}", file=where, key="group_by", hint="give folder, or a regular expression")
    if group_by is not None and fraction is None:
        raise UserError("is of val_fraction", file=where, key="group_by", hint="give val_fraction too, or leave it out")
    if orientation not in (None, *ORIENTATIONS):
        hint = f"give one of {', '.join(ORIENTATIONS)}"
        raise UserError(f"{orientation!r}", file=where, key="label_orientation", hint=hint)
    images = _pattern(where, "images", spec["images"]) if "images" in spec else IMAGES
    for each in formats:
        if images.splits and not each.pattern.splits:
            hint = "write {split} in tasks.TASK.files too, where images have it"
            raise UserError(
                f"{each.pattern.text!r} has no {{split}}", file=where, key=f"tasks.{each.task.name}.files", hint=hint
            )
        if each.pattern.splits and not images.splits:
            raise UserError("has no {split}", file=where, key="images", hint="write it where the labels have it")
    if images.splits and fraction is not None:
        hint = "leave one of them out"
        raise UserError("stands beside {split}, which says it already", file=where, key="val_fraction", hint=hint)
    return Declaration(name, fraction, dict(intrinsics) if intrinsics else None, formats, images, group_by, orientation)


def declaration_of(tasks: Iterable[Task]) -> str:
    """The text of a ``dataset.yaml`` for labels that are stored as in shards, which :func:`declare` reads."""
    entries = {task.name: task.to_json() for task in tasks}
    return yaml.safe_dump({"tasks": entries}, sort_keys=False, default_flow_style=None, allow_unicode=True)


def _label_format(where: Path, name: str, entry: Any) -> LabelFormat:
    key = f"tasks.{name}"
    said = str(entry.get("kind")) if isinstance(entry, Mapping) else ""
    kind = kinds.storage_of(said)
    if kind is None:
        hint = (
            f"did you mean {kinds.FORMER[said]}?" if said in kinds.FORMER else f"give kind: {', '.join(kinds.known())}"
        )
        raise UserError("has no kind", file=where, key=key, hint=hint)
    _check_keys(where, key, entry, ("kind", "files", *kind.options))
    files = _pattern(where, f"{key}.files", entry["files"]) if "files" in entry else None
    try:
        fields, how = kind.declared(entry)
        task = Task(name, kind.kind, **fields)
        return LabelFormat(task, how, frozenset(entry), tuple(task.storage.guesses(entry)), files)
    except UserError as error:
        hint = error.hint or "correct the declaration of the task"
        raise UserError(error.what, file=where, key=key, hint=hint) from error


def _pattern(where: Path, key: str, text: Any) -> Pattern:
    try:
        return Pattern(str(text))
    except UserError as error:
        raise UserError(error.what, file=where, key=key, hint=error.hint) from error


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML keeps the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        spec = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"is no YAML that can be read ({reason})", file=path, hint="correct the file") from error
    if not isinstance(spec, Mapping):
        raise UserError("is not a mapping", file=path, hint=f"give its keys: {', '.join(_KEYS)}")
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
            hint = f"did you mean {near}? known: {', '.join(known)}"
            raise UserError("is not a key", file=where, key=f"{parent}.{key}".lstrip("."), hint=hint)


def _is_camera(value: Any) -> bool:
    known = isinstance(value, Mapping) and value.keys() == set(_INTRINSICS) and all(map(is_number, value.values()))
    return known and all(map(math.isfinite, value.values())) and min(value["fx"], value["fy"]) > 0
