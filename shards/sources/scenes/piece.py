"""Compounds of boxes, which all objects in :mod:`shards.sources.scenes` are made of."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """One box of a piece: its label, material index, centre, half extents (metres) and yaw (radians)."""

    label: str
    material: int
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float = 0.0


@dataclass
class Piece:
    """A compound in its own frame: x to its right, y towards its back, z up, the origin on the ground below it.

    Args:
        label: the class of parts without a label of their own.
        parts: the boxes.
        bulbs: positions of its light sources, if any.
    """

    label: str
    parts: list[Part] = field(default_factory=list)
    bulbs: list[tuple[float, float, float]] = field(default_factory=list)

    def add(
        self,
        material: int,
        size: tuple[float, float, float],
        at: tuple[float, float, float] = (0.0, 0.0, 0.0),
        label: str | None = None,
        yaw: float = 0.0,
    ) -> None:
        """Add a box of width, depth and height ``size``, with the centre of its bottom face ``at`` a point."""
        centre = (at[0], at[1], at[2] + size[2] / 2)
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.parts.append(Part(label or self.label, material, centre, half, yaw))

    def legs(self, material: int, width: float, depth: float, height: float, thick: float) -> None:
        """Add four legs at the corners of ``width`` × ``depth``."""
        x, y = (width - thick) / 2, (depth - thick) / 2
        for at in ((-x, -y), (x, -y), (-x, y), (x, y)):
            self.add(material, (thick, thick, height), (*at, 0.0))

    def half_size(self) -> tuple[float, float]:
        """Return half of the footprint's width and depth, about the origin."""
        reach = [
            (
                abs(p.centre[0]) + abs(math.cos(p.yaw)) * p.half[0] + abs(math.sin(p.yaw)) * p.half[1],
                abs(p.centre[1]) + abs(math.cos(p.yaw)) * p.half[1] + abs(math.sin(p.yaw)) * p.half[0],
            )
            for p in self.parts
        ]
        return max(x for x, _ in reach), max(y for _, y in reach)

    def span(self) -> tuple[float, float]:
        """Return the lowest and highest z."""
        return min(p.centre[2] - p.half[2] for p in self.parts), max(p.centre[2] + p.half[2] for p in self.parts)
