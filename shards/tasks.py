"""What a task's labels are: their kind, their classes or unit, and how an array of them looks in memory.

A task is anything that is predicted per pixel. Its *kind* decides how labels are stored, decoded, resized,
learnt and measured; nothing else in the project asks for a task by name.

=========== ==================== ============================= ========================== ==============
kind        in a shard (PNG)     in memory (numpy)             no label                   channels out
=========== ==================== ============================= ========================== ==============
classes     uint8, 0..C-1        uint8 ``(H, W)``              255                        C
metric      uint16, × ``scale``  float32 ``(H, W)``, in unit   0                          1
unit_vector 8-bit RGB            float32 ``(H, W, 3)``         the zero vector            3
=========== ==================== ============================= ========================== ==============

Vectors are directions in the camera's frame: x right, y down, z forward. A quantity's ``zoom`` says how
it changes in an image that was enlarged, which shows things nearer: depth is divided by the factor, inverse depth is
multiplied by it, and what does not follow from distance is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shards.errors import UserError

Kind = Literal["classes", "metric", "unit_vector"]
Zoom = Literal["divide", "multiply", "keep"]
IGNORE = 255
"""The class index of a pixel without a label."""
RESERVED = frozenset({"rgb", "json"})


@dataclass(frozen=True)
class Task:
    """One task of a data set, as its manifest declares it.

    Args:
        name: the member name of its labels (``KEY.NAME.png``); lower-case letters, digits and ``_``.
        kind: see the table above.
        classes: class names in index order (kind ``classes`` only).
        colours: one ``(r, g, b)`` in 0..255 for each class (kind ``classes`` only).
        scale: units per stored step (kind ``metric`` only): value = stored × scale.
        unit: the unit's symbol (kind ``metric`` only).
        zoom: what an image that is enlarged by a factor does with the values (kind ``metric`` only).
    """

    name: str
    kind: Kind
    classes: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    scale: float = 0.0
    unit: str = ""
    zoom: Zoom = "divide"

    def __post_init__(self) -> None:
        problem = None
        if not self.name.replace("_", "").isalnum() or self.name != self.name.lower() or self.name in RESERVED:
            problem = f"{self.name!r} is no task name (lower-case letters, digits, _; not {sorted(RESERVED)})"
        elif self.kind not in get_args(Kind):
            problem = f"kind {self.kind!r} is none of {', '.join(get_args(Kind))}"
        elif self.kind == "classes" and not 1 <= len(self.classes) <= IGNORE:
            problem = f"{len(self.classes)} classes, where 1 to {IGNORE} can be stored"
        elif self.kind == "classes" and len(self.colours) != len(self.classes):
            problem = f"{len(self.colours)} colours for {len(self.classes)} classes"
        elif self.kind == "metric" and not self.scale > 0:
            problem = f"scale {self.scale} is not positive"
        elif self.zoom not in get_args(Zoom):
            problem = f"zoom {self.zoom!r} is none of {', '.join(get_args(Zoom))}"
        elif self.kind != "metric" and self.zoom != "divide":
            problem = f"zoom {self.zoom!r} is of the kind metric, not of {self.kind}"
        if problem:
            raise UserError(problem, key=f"task {self.name}")

    @property
    def channels(self) -> int:
        """Channels of a network's output for this task."""
        return {"classes": len(self.classes), "metric": 1, "unit_vector": 3}[self.kind]

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry, without the fields that this kind does not use, and without the usual ``zoom``."""
        entry: dict[str, Any] = {"kind": self.kind}
        if self.kind == "classes":
            entry |= {"classes": list(self.classes), "colours": [list(c) for c in self.colours]}
        elif self.kind == "metric":
            entry |= {"scale": self.scale, "unit": self.unit}
            if self.zoom != "divide":
                entry["zoom"] = self.zoom
        return entry

    @classmethod
    def from_json(cls, name: str, entry: Mapping[str, Any]) -> "Task":
        """The inverse of :meth:`to_json`."""
        return cls(
            name,
            entry["kind"],
            tuple(entry.get("classes", ())),
            tuple((int(r), int(g), int(b)) for r, g, b in entry.get("colours", ())),
            float(entry.get("scale", 0.0)),
            entry.get("unit", ""),
            entry.get("zoom", "divide"),
        )


def palette(count: int) -> tuple[tuple[int, int, int], ...]:
    """``count`` distinct colours for a data set that names none (the bit-reversal scheme of PASCAL VOC)."""
    colours = []
    for index in range(1, count + 1):
        rgb, value = [0, 0, 0], index
        for bit in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (value >> channel & 1) << bit
            value >>= 3
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)
