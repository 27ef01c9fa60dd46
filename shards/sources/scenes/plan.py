"""The floor plan of a room of :mod:`shards.sources.scenes`: places pieces where they overlap nothing else."""

import math
from dataclasses import dataclass

import numpy as np

from shards.sources.scenes.piece import Part, Piece

Point = tuple[float, float, float]
_SLACK = 1e-6


@dataclass(frozen=True)
class Prism:
    """The space that a piece occupies: an upright box from ``low`` to ``high``.

    Args:
        x, y: its centre.
        yaw: rotation about the vertical, radians.
        wide, deep: half of its extent along its own x and y.
        low, high: its lowest and highest z.
    """

    x: float
    y: float
    yaw: float
    wide: float
    deep: float
    low: float
    high: float

    @classmethod
    def of(cls, piece: Piece, x: float, y: float, z: float, yaw: float) -> "Prism":
        """Return the space that ``piece`` occupies at x, y, z."""
        low, high = piece.span()
        return cls(x, y, yaw, *piece.half_size(), z + low, z + high)

    @property
    def middle(self) -> Point:
        """Its centre."""
        return self.x, self.y, (self.low + self.high) / 2

    def to_world(self, x: float, y: float) -> tuple[float, float]:
        """Convert a point of the prism's own ground plane to world coordinates."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + cos * x - sin * y, self.y + sin * x + cos * y

    def reach(self, direction: float) -> float:
        """Return half of the extent along the horizontal direction at this angle."""
        turn = direction - self.yaw
        return self.wide * abs(math.cos(turn)) + self.deep * abs(math.sin(turn))

    def overlaps(self, other: "Prism") -> bool:
        """Whether two prisms overlap, by separating axes: the vertical and the sides of both."""
        if self.low >= other.high or other.low >= self.high:
            return False
        dx, dy = other.x - self.x, other.y - self.y
        if math.hypot(dx, dy) >= math.hypot(self.wide, self.deep) + math.hypot(other.wide, other.deep):
            return False
        for axis in (self.yaw, self.yaw + math.pi / 2, other.yaw, other.yaw + math.pi / 2):
            apart = abs(dx * math.cos(axis) + dy * math.sin(axis))
            if apart >= self.reach(axis) + other.reach(axis):
                return False
        return True


class FloorPlan:
    """A rectangular room that is filled with pieces.

    Args:
        rng: the layout's random generator.
        size: width (x), length (y), height (z) in metres; a lower corner is the world's origin.

    Attributes:
        parts: all boxes so far, in world coordinates.
        bulbs: positions of light sources.
        solid: the spaces that pieces occupy.
        reserved: the spaces that stay free in front of doors, windows and pictures.
    """

    def __init__(self, rng: np.random.Generator, size: Point) -> None:
        self.rng, self.size = rng, size
        self.parts: list[Part] = []
        self.bulbs: list[Point] = []
        self.solid: list[Prism] = []
        self.reserved: list[Prism] = []

    def is_free(self, prism: Prism, reach_under: Prism | None = None) -> bool:
        """Whether a prism lies inside the room and overlaps nothing, except a prism that it may ``reach_under``."""
        dx, dy = prism.reach(0) - _SLACK, prism.reach(math.pi / 2) - _SLACK
        inside = dx <= prism.x <= self.size[0] - dx and dy <= prism.y <= self.size[1] - dy
        others = (other for other in (*self.solid, *self.reserved) if other is not reach_under)
        return inside and prism.high <= self.size[2] and not any(prism.overlaps(other) for other in others)

    def add(self, piece: Piece, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> None:
        """Add a piece at a position without occupying space."""
        frame = Prism(x, y, yaw, 0, 0, 0, 0)

        def world(point: Point) -> Point:
            return *frame.to_world(point[0], point[1]), z + point[2]

        self.parts += [Part(p.label, p.material, world(p.centre), p.half, p.yaw + yaw) for p in piece.parts]
        self.bulbs += [world(bulb) for bulb in piece.bulbs]

    def put(
        self, piece: Piece, x: float, y: float, z: float = 0.0, yaw: float = 0.0, reach_under: Prism | None = None
    ) -> bool:
        """Add a piece at a position if the space is free, and return whether it was."""
        prism = Prism.of(piece, x, y, z, yaw)
        if not self.is_free(prism, reach_under):
            return False
        self.add(piece, x, y, z, yaw)
        self.solid.append(prism)
        return True

    def stand(self, piece: Piece, tries: int = 12) -> bool:
        """Place a piece at a random position and angle, and return whether a free one was found."""
        width, length, _ = self.size
        for _ in range(tries):
            x, y, yaw = self.rng.uniform(0, (width, length, 2 * math.pi)).tolist()
            if self.put(piece, x, y, yaw=yaw):
                return True
        return False

    def lean(self, piece: Piece, gap: float = 0.02, tries: int = 12) -> bool:
        """Place a piece with its back to a random wall, ``gap`` metres from it, and return whether space was found."""
        away = piece.half_size()[1] + gap
        for _ in range(tries):
            x, y, yaw = self._at_wall(int(self.rng.integers(4)), self.rng.random(), away)
            if self.put(piece, x, y, yaw=yaw):
                return True
        return False

    def hang(self, piece: Piece, z: float, front: float, tries: int = 12) -> Prism | None:
        """Hang a piece on a random wall, keep ``front`` metres in front of it free, and return that space, if found."""
        wide, (low, high) = piece.half_size()[0], piece.span()
        for _ in range(tries):
            wall, along = int(self.rng.integers(4)), self.rng.random()
            x, y, yaw = self._at_wall(wall, along, front / 2)
            space = Prism(x, y, yaw, wide, front / 2, z + low, z + high)
            if self.is_free(space):
                self.add(piece, *space.to_world(0, front / 2), z, yaw)
                self.reserved.append(space)
                return space
        return None

    def _at_wall(self, wall: int, along: float, away: float) -> Point:
        """Return x, y, yaw of a piece with its back to ``wall`` (0..3: +y, -x, -y, +x), ``away`` metres from it."""
        width, length, _ = self.size
        x, y = (
            (along * width, length - away),
            (away, along * length),
            (along * width, away),
            (width - away, along * length),
        )[wall]
        return x, y, wall * math.pi / 2
