"""Tasks: the kind of their labels, their classes or unit, and the form of label arrays in memory.

A task is anything that is predicted per pixel. Its *kind* (:mod:`shards.kinds`) decides how labels are stored, decoded,
learnt and measured; no code depends on a task's name.

| kind | in a shard (PNG) | in memory (numpy) | no label | channels out |
|---|---|---|---|---|
| classes | uint8, 0..C-1 | uint8 ``(H, W)`` | 255 | C |
| scalar | uint16, × ``scale`` | float32 ``(H, W)``, in unit | 0 | 1 |
| unit_vector | 8-bit RGB | float32 ``(H, W, 3)`` | the zero vector | 3 |
| binary | uint8 or uint16 | int16 ``(H, W)``, bits | 0 | masks |
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

from shards import kinds
from shards.errors import UserError
from shards.kinds import Storage
from shards.kinds.classes import IGNORE
from shards.kinds.named import is_colour, is_list, palette
from shards.kinds.zoom import zoom_of

__all__ = ["IGNORE", "RESERVED", "Task", "palette"]

RESERVED = frozenset({"rgb", "json", "key"})
"""Names that other members of a sample, or entries of a batch, have."""


@dataclass(frozen=True)
class Task:
    """One task of a data set, as its manifest declares it.

    Args:
        name: the member name of its labels (``KEY.NAME.png``); lower-case letters, digits and ``_``.
        kind: one of those in the table of :mod:`shards.tasks`.
        classes: names of the classes in index order, or of the masks (kinds ``classes`` and ``binary`` only).
        colours: one ``(r, g, b)`` in 0..255 for each of them; by default those of :func:`palette`.
        scale: units per stored step (kind ``scalar`` only): value = stored × scale.
        unit: the unit's symbol (kind ``scalar`` only).
        zoom: what enlarging an image by a factor, which makes things appear nearer, does to the values (kind
            ``scalar`` only): ``divide`` (depth), ``multiply`` (inverse depth), or ``keep``. By default
            what name and unit suggest (:func:`shards.kinds.zoom.zoom_of`), or ``divide`` where they suggest nothing.
        options: further options of a kind, as pairs of a name and a hashable value.
        declared_unit: the unit in which a declaration gives numbers, where it is not ``unit``; used in messages only.

    Attributes:
        zoom_assumed: whether ``zoom`` was not given.

    Raises:
        UserError: for an invalid name or declaration, or a field of another type.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    scale: float = 0.0
    unit: str = ""
    zoom: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    declared_unit: str = field(default="", repr=False, compare=False)
    zoom_assumed: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value in _normalised_fields(self).items():
            object.__setattr__(self, name, value)
        if not self.zoom:
            kind = kinds.storage_of(self.kind)
            zoom = zoom_of(self.name, self.unit) if kind and "zoom" in kind.options else None
            object.__setattr__(self, "zoom", zoom or "divide")
            object.__setattr__(self, "zoom_assumed", True)
        if not self.name.replace("_", "").isalnum() or self.name != self.name.lower() or self.name in RESERVED:
            problem = f"{self.name!r} is not a task name (lower-case letters, digits, _; not {sorted(RESERVED)})"
        elif kinds.storage_of(self.kind) is None:
            problem = f"kind {self.kind!r} is none of {', '.join(kinds.kind_names())}"
        elif self.zoom != "divide" and "zoom" not in self.storage.options:
            problem = f"zoom {self.zoom!r} is of the kind scalar, not of {self.kind}"
        else:
            problem = self.storage.problem() or ""
        if problem:
            raise UserError(problem, key=f"task {self.name}")

    @cached_property
    def storage(self) -> Storage:
        """The kind's methods for stored labels, applied to this task."""
        kind = kinds.storage_of(self.kind)
        assert kind is not None, "the constructor refuses unknown kinds"
        return kind(self)

    @property
    def channels(self) -> int:
        """Number of channels of a network's output for this task."""
        return self.storage.channels

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's entry, without fields that the kind does not use and without the default ``zoom``."""
        return {"kind": self.kind, **self.storage.to_json()}

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> "Task":
        """Make a task of a manifest's entry: the inverse of :meth:`to_json`.

        Raises:
            UserError: for an unknown kind, or an invalid entry.
        """
        kind_name = kinds.FORMER.get(entry["kind"], entry["kind"])
        kind = kinds.storage_of(kind_name)
        return cls(name, kind_name, **(kind.fields(entry) if kind else {}))


def check_is_list(key: str, names: object) -> None:
    """Check that names are given as a list: the letters of a single name would be taken for names.

    Raises:
        UserError: for a string.
    """
    if isinstance(names, str):
        raise UserError(f"is {names!r}", key=key, hint=f"give a list: {key}=[{names!r}]")


def check_are_tasks(tasks: Iterable[object]) -> "tuple[Task, ...]":
    """Return the given tasks, which may come from an iterator.

    Raises:
        UserError: naming the first that is none, but a name for example.
    """
    if isinstance(tasks, str) or not isinstance(tasks, Iterable):
        hint = "give a list of tasks: ShardDataset(...).tasks"
        raise UserError(f"is {tasks!r}, a {type(tasks).__name__}", key="tasks", hint=hint)
    checked = []
    for task in tasks:
        if not isinstance(task, Task):
            hint = "give tasks as a data set has them: ShardDataset(...).tasks"
            raise UserError(f"holds {task!r}, a {type(task).__name__}", key="tasks", hint=hint)
        checked.append(task)
    return tuple(checked)


def _normalised_fields(task: Task) -> dict[str, Any]:
    """Return the fields of a task in their declared types: tuples for lists, a float for a NumPy scalar.

    Raises:
        UserError: for a field of another type.
    """
    key = f"task {task.name}"
    for name in ("name", "kind", "unit", "zoom"):
        if not isinstance(getattr(task, name), str):
            raise UserError(f"{name} {getattr(task, name)!r} is not text", key=key, hint=f"give {name} in quotes")
    if not is_list(task.classes) or not all(isinstance(name, str) for name in task.classes):
        hint = "give them in index order: ('floor', 'shelf'); of one: ('floor',)"
        raise UserError(f"classes {task.classes!r} is not a tuple of names", key=key, hint=hint)
    scale: Any = task.scale
    if not isinstance(scale, Real) or isinstance(scale, bool):
        raise UserError(f"scale {scale!r} is not a number", key=key, hint="give the units of one step: 0.001")
    if not is_list(task.colours) or not all(map(is_colour, task.colours)):
        hint = "give one (r, g, b) in 0..255 for each class, or none for a palette"
        raise UserError(f"colours {task.colours!r} is not a tuple of colours", key=key, hint=hint)
    return {
        "classes": tuple(task.classes),
        "colours": tuple(map(tuple, task.colours)) or palette(len(task.classes)),
        "scale": scale if isinstance(scale, int | float) else float(scale),
    }
