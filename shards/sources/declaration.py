"""The declaration of a folder of images, ``dataset.yaml`` (for its format, see :mod:`shards.sources.folder`)."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from shards import kinds
from shards.codec import key_of
from shards.errors import UserError
from shards.images import RGB_SUFFIXES
from shards.kinds.text import is_number
from shards.notes import member_context
from shards.sources.layout import Files, Pattern
from shards.tasks import Task

FILE = "dataset.yaml"
_KEYS = ("name", "images", "val_fraction", "tasks", "intrinsics", "group_by", "label_orientation")
IMAGES = Pattern("rgb/{name}")
ORIENTATIONS = ("upright", "sensor")
_MERGE = "tag:yaml.org,2002:merge"
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
"""Numbers that YAML 1.2 and people read as such, and YAML 1.1 as text: 1e-3, 1.5e10."""
_INTRINSICS = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class LabelFormat:
    """A task, and how its label files are read.

    Args:
        task: the task.
        how: the second value that :meth:`shards.kinds.Storage.declared` returned, JSON values.
        declared_keys: the keys that were declared.
        guesses: assumptions about the task, as sentences.
        files: the pattern of label files; None for the folder of the task's name.
    """

    task: Task
    how: Mapping[str, Any]
    declared_keys: frozenset[str] = frozenset()
    guesses: tuple[str, ...] = ()
    files: Pattern | None = None

    @property
    def pattern(self) -> Pattern:
        return self.files or Pattern(f"{self.task.name}/{{name}}")

    def find(self, root: Path) -> Files:
        """Find the label files under a data set's folder.

        Raises:
            UserError: when there is no folder for them, it holds no file, or two files belong to one frame.
        """
        folder = root / self.task.name
        hint = f"put labels there, or, in {FILE}, say where they lie (files: 'labels/{{name}}') or take the task out"
        if self.files is None and not folder.is_dir():
            raise UserError("is not a folder", file=folder, hint=hint)
        files = self.pattern.find(root, self.task.storage.suffixes)
        if self.files is None and not files.by_stem and not files.unread:
            raise UserError("holds no label", file=folder, hint=hint)
        if self.files is not None and not files.by_stem:
            message, key = f"{self.files.text} matches no file", f"tasks.{self.task.name}.files"
            hint = f"correct the pattern; labels end in {', '.join(sorted(self.task.storage.suffixes))}"
            raise UserError(message, file=root / FILE, key=key, hint=hint)
        return files

    def read(self, path: Path) -> np.ndarray:
        """Read the label array of a file.

        Raises:
            UserError: when it cannot be read, or holds values that were not declared.
        """
        with member_context(self.task.name):
            return self.task.storage.read_file(path, {**self.how, "given": self.declared_keys})


@dataclass(frozen=True)
class Declaration:
    """The content of a ``dataset.yaml``."""

    name: str
    val_fraction: float | None
    intrinsics: dict[str, float] | None
    formats: tuple[LabelFormat, ...]
    images: Pattern = IMAGES
    group_by: str | None = None
    label_orientation: str | None = None

    def find_images(self, root: Path) -> Files:
        """Find the images under the data set's folder.

        Raises:
            UserError: when there is no folder for them, it holds no image, or two images have the same stem.
        """
        folder = root / "rgb"
        hint = f"say in {FILE} where images lie, such as images: 'color/{{name}}'"
        if self.images == IMAGES and not folder.is_dir():
            raise UserError("is not a folder", file=folder, hint=f"make it, or {hint}")
        images = self.images.find(root, RGB_SUFFIXES)
        suffixes = ", ".join(sorted(RGB_SUFFIXES))
        if self.images == IMAGES and not images.by_stem:
            raise UserError("holds no image", file=folder, hint=f"put some there, ending in {suffixes}, or {hint}")
        if not images.by_stem:
            hint = f"correct the pattern; images end in {suffixes}"
            raise UserError(f"{self.images.text} matches no image", file=root / FILE, key="images", hint=hint)
        return images


def declare(root: Path, overrides: Mapping[str, Any]) -> Declaration:
    """Read ``ROOT/dataset.yaml``, if there is one, and apply overrides.

    Args:
        root: the folder.
        overrides: values of the same keys as in the file, which take precedence.

    Raises:
        UserError: no folder, a file that is not a YAML mapping, unknown keys, or values that are not a valid task.
    """
    if not root.is_dir():
        message = "is not a folder" if root.exists() else "does not exist"
        raise UserError(message, file=root, hint="give the folder that holds your frames")
    path = root / FILE
    spec = _merge(_load(path) if path.exists() else {}, overrides)
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
        hint = f"name them in {FILE}, or give the classes of semseg (--classes) or the scale of depth (--depth-scale)"
        raise UserError("no tasks are declared", file=where, key="tasks", hint=hint)
    formats = tuple(_label_format(where, str(task), tasks[task]) for task in tasks)
    group_by, orientation = spec.get("group_by"), spec.get("label_orientation")
    if group_by is not None and not isinstance(group_by, str):
        raise UserError(f"{group_by!r}", file=where, key="group_by", hint="give folder, or a regular expression")
    if group_by is not None and fraction is None:
        hint = "give val_fraction too, or leave it out"
        raise UserError("applies only with val_fraction", file=where, key="group_by", hint=hint)
    if orientation not in (None, *ORIENTATIONS):
        hint = f"give one of {', '.join(ORIENTATIONS)}"
        raise UserError(f"{orientation!r}", file=where, key="label_orientation", hint=hint)
    images = _pattern(where, "images", spec["images"]) if "images" in spec else IMAGES
    for label_format in formats:
        pattern, key = label_format.pattern, f"tasks.{label_format.task.name}.files"
        if images.splits and not pattern.splits:
            hint = "write {split} in tasks.TASK.files too, where images have it"
            raise UserError(f"{pattern.text!r} has no {{split}}", file=where, key=key, hint=hint)
        if pattern.splits and not images.splits:
            raise UserError("has no {split}", file=where, key="images", hint="write it where the labels have it")
    if images.splits and fraction is not None:
        hint = "leave one of them out"
        raise UserError("conflicts with {split} in images", file=where, key="val_fraction", hint=hint)
    return Declaration(name, fraction, dict(intrinsics) if intrinsics else None, formats, images, group_by, orientation)


def declaration_of(tasks: Iterable[Task]) -> str:
    """Return the text of a ``dataset.yaml`` that :func:`declare` reads, for label files stored as in shards."""
    entries = {task.name: task.to_json() for task in tasks}
    return yaml.safe_dump({"tasks": entries}, sort_keys=False, default_flow_style=None, allow_unicode=True)


def _label_format(where: Path, name: str, entry: Any) -> LabelFormat:
    key = f"tasks.{name}"
    if not isinstance(entry, Mapping) or "kind" not in entry:
        raise UserError("has no kind", file=where, key=key, hint=f"give kind: {', '.join(kinds.kind_names())}")
    kind_name = str(entry["kind"])
    kind = kinds.storage_of(kind_name)
    if kind is None:
        names = kinds.kind_names()
        closest = difflib.get_close_matches(kind_name, [*names, *kinds.FORMER], n=1)
        guess = f"did you mean {kinds.FORMER.get(closest[0], closest[0])}? " if closest else ""
        raise UserError(f"{kind_name!r} is not a kind", file=where, key=key, hint=f"{guess}known: {', '.join(names)}")
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
    """A loader that refuses duplicate keys, of which YAML silently keeps the last, and reads ``1e-3`` as a number."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # before merge keys are resolved
        node = super().compose_mapping_node(anchor)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        duplicate = next((key for place, key in enumerate(keys) if key in keys[:place]), None)
        if duplicate is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{duplicate!r} occurs twice", node.start_mark)
        return node


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def _load(path: Path) -> Mapping[str, Any]:
    try:
        spec = yaml.load(path.read_text("utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot be read as YAML ({reason})", file=path, hint="correct the file") from error
    if not isinstance(spec, Mapping):
        raise UserError("is not a mapping", file=path, hint=f"give its keys: {', '.join(_KEYS)}")
    return spec


def _merge(spec: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(spec)
    for key, value in overrides.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if nested else value
    return merged


def _check_keys(where: Path, parent: str, entry: Mapping[Any, Any], valid: Sequence[str]) -> None:
    for key in map(str, entry):
        if key not in valid:
            closest = difflib.get_close_matches(key, valid, n=1, cutoff=0.0)[0]
            hint = f"did you mean {closest}? known: {', '.join(valid)}"
            raise UserError("is not a key", file=where, key=f"{parent}.{key}".lstrip("."), hint=hint)


def _is_camera(value: Any) -> bool:
    numbers = isinstance(value, Mapping) and value.keys() == set(_INTRINSICS) and all(map(is_number, value.values()))
    return numbers and min(value["fx"], value["fy"]) > 0
