"""What a task's labels are: their kind, their classes or unit, and how an array of them looks in memory.

A task is anything that is predicted per pixel. Its *kind* (:mod:`shards.kinds`) decides how labels are stored, decoded,
learnt and measured; nothing in the project asks for a task by name.

| kind | in a shard (PNG) | in memory (numpy) | no label | channels out |
|---|---|---|---|---|
| classes | uint8, 0..C-1 | uint8 ``(H, W)`` | 255 | C |
| scalar | uint16, × ``scale`` | float32 ``(H, W)``, in unit | 0 | 1 |
| unit_vector | 8-bit RGB | float32 ``(H, W, 3)`` | the zero vector | 3 |
| binary | uint8 or uint16 | int16 ``(H, W)``, bits | 0 | masks |
"""

from collections.abc import Mapping
from dataclasses import dataclass
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

RESERVED = frozenset({"rgb", "json"})


@dataclass(frozen=True)
class Task:
    """One task of a data set, as its manifest declares it.

    Args:
        name: the member name of its labels (``KEY.NAME.png``); lower-case letters, digits and ``_``.
        kind: one of the table of :mod:`shards.tasks`.
        classes: names of the classes in index order, or of the masks (kinds ``classes`` and ``binary`` only).
        colours: one ``(r, g, b)`` in 0..255 for each of them; by default those of :func:`palette`.
        scale: units per stored step (kind ``scalar`` only): value = stored × scale.
        unit: the unit's symbol (kind ``scalar`` only).
        zoom: what an image that is enlarged by a factor, which shows things nearer, does with the values (kind
            ``scalar`` only): ``divide`` (depth), ``multiply`` (inverse depth), or ``keep``. By default
            what name and unit suggest (:func:`shards.kinds.zoom.zoom_of`), or ``divide`` where they suggest nothing.
        options: what else a kind wants to know, as pairs of a name and a hashable value.

    Raises:
        UserError: for a name or a declaration that makes no task, or a field of another type.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    scale: float = 0.0
    unit: str = ""
    zoom: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for field, value in _typed(self).items():
            object.__setattr__(self, field, value)
        if not self.zoom:
            object.__setattr__(self, "zoom", (self.unit and zoom_of(self.name, self.unit)) or "divide")
        if not self.name.replace("_", "").isalnum() or self.name != self.name.lower() or self.name in RESERVED:
            problem = f"{self.name!r} is not a task name (lower-case letters, digits, _; not {sorted(RESERVED)})"
        elif kinds.storage_of(self.kind) is None:
            problem = f"kind {self.kind!r} is none of {', '.join(kinds.known())}"
        elif self.zoom != "divide" and "zoom" not in self.storage.options:
            problem = f"zoom {self.zoom!r} is of the kind scalar, not of {self.kind}"
        else:
            problem = self.storage.problem() or ""
        if problem:
            raise UserError(problem, key=f"task {self.name}")

    @cached_property
    def storage(self) -> Storage:
        """What its kind says of its labels at rest."""
        kind = kinds.storage_of(self.kind)
        assert kind is not None, "a task of another kind cannot be made"
        return kind(self)

    @property
    def channels(self) -> int:
        """Channels of a network's output for this task."""
        return self.storage.channels

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry, without the fields that this kind does not use, and without the usual ``zoom``."""
        return {"kind": self.kind, **self.storage.to_json()}

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> "Task":
        """The inverse of :meth:`to_json`.

        Raises:
            UserError: for a kind that is not known, or an entry that makes no task.
        """
        word = kinds.FORMER.get(entry["kind"], entry["kind"])
        kind = kinds.storage_of(word)
        return cls(name, word, **(kind.fields(entry) if kind else {}))


def _typed(task: Task) -> dict[str, Any]:
    """The fields of a task in the types that are declared: tuples for lists, a float for NumPy's.

    Raises:
        UserError: for a field of another type.
    """
    key = f"task {task.name}"
    for field in ("name", "kind", "unit", "zoom"):
        if not isinstance(getattr(task, field), str):
            raise UserError(f"{field} {getattr(task, field)!r} is not text", key=key, hint=f"give {field} in quotes")
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
