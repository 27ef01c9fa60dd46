"""How a room of :mod:`shards.sources.scenes` is laid out: what stands where, the lights, and the camera.

A layout is a function of its random stream alone; the image size does not enter.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards.sources import scenes_fixtures as fixtures
from shards.sources import scenes_furniture as furniture
from shards.sources.scenes_furniture import Part, Piece
from shards.sources.scenes_geometry import Boxes, enter_and_leave, look
from shards.sources.scenes_materials import Material, Style

SHELL = ("wall", "wall", "wall", "wall", "floor", "ceiling")
"""Labels of the room's own faces, in the order -x, +x, -y, +y, -z, +z."""

THEMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("bed",), ("cabinet", "cabinet", "shelf", "lamp", "chair", "desk", "box")),
    (("sofa", "coffee table"), ("sofa", "cabinet", "shelf", "shelf", "lamp", "chair", "box")),
    (("dining table", "cabinet"), ("cabinet", "shelf", "sofa", "lamp", "box")),
    (("desk", "shelf"), ("shelf", "cabinet", "sofa", "bed", "lamp", "box", "box", "chair")),
    (("shelf", "box", "cabinet"), ("shelf", "cabinet", "box", "box", "books", "chair", "lamp", "bed")),
)
"""Bedroom, living room, dining room, study, store room: what is there, and what may be there too."""


@dataclass(frozen=True)
class Light:
    """A point light: position (metres), linear RGB intensity at one metre, and the radius of its soft shadow."""

    position: np.ndarray
    colour: np.ndarray
    radius: float


@dataclass(frozen=True)
class Room:
    """A finished layout, ready to be rendered.

    Args:
        size: width (x), length (y) and height (z) in metres; one lower corner is the world's origin.
        boxes: box 0 is the room itself.
        labels: the class name of every box; box 0 has the six of :data:`SHELL`.
        materials: what boxes are made of.
        finish: material index of every box.
        shell_finish: material indices of the room's six faces, in the order of :data:`SHELL`.
        lights: the strongest first.
        ambient: linear RGB of the light that comes from everywhere.
        rotation, position: the camera's pose, see :class:`~shards.sources.scenes_geometry.Camera`.
        view: the angle that the image's longer side spans, radians.
    """

    size: tuple[float, float, float]
    boxes: Boxes
    labels: list[str]
    materials: list[Material]
    finish: np.ndarray
    shell_finish: np.ndarray
    lights: list[Light]
    ambient: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    view: float


@dataclass(frozen=True)
class Prism:
    """The space that a thing takes: an upright box with its yaw as cosine and sine, from ``low`` to ``high``."""

    x: float
    y: float
    cos: float
    sin: float
    wide: float
    deep: float
    low: float
    high: float

    def reach(self, cos: float, sin: float) -> float:
        """Half of its extent along a horizontal direction."""
        return self.wide * abs(cos * self.cos + sin * self.sin) + self.deep * abs(sin * self.cos - cos * self.sin)

    def overlaps(self, other: "Prism") -> bool:
        """Whether the two share space (separating axes: the vertical and both prisms' sides)."""
        if self.low >= other.high or other.low >= self.high:
            return False
        dx, dy = other.x - self.x, other.y - self.y
        for p in (self, other):
            for cos, sin in ((p.cos, p.sin), (-p.sin, p.cos)):
                if abs(dx * cos + dy * sin) >= self.reach(cos, sin) + other.reach(cos, sin):
                    return False
        return True


class Layout:
    """A room while it is being furnished."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.style = Style(rng)
        self.width, self.length = rng.uniform(2.8, 6.2, 2)
        self.height = rng.uniform(2.35, 3.1)
        self.parts: list[Part] = []
        self.taken: list[Prism] = []
        self.bulbs: list[tuple[float, float, float]] = []
        self.targets: list[tuple[float, float, float]] = []

    # -- placing ------------------------------------------------------------------------------------------

    def prism(self, piece: Piece, x: float, y: float, z: float, yaw: float) -> Prism:
        wide, deep = piece.half_size()
        low, high = piece.span()
        return Prism(x, y, float(np.cos(yaw)), float(np.sin(yaw)), wide, deep, z + low, z + high)

    def is_free(self, prism: Prism) -> bool:
        """Whether it lies within the room and meets nothing."""
        dx, dy = prism.reach(1, 0), prism.reach(0, 1)
        inside = dx <= prism.x <= self.width - dx and dy <= prism.y <= self.length - dy and prism.high <= self.height
        return inside and not any(prism.overlaps(other) for other in self.taken)

    def put(self, piece: Piece, x: float, y: float, z: float, yaw: float, solid: bool = True) -> None:
        """Stand a piece in the room; what is not solid may be stood on (rugs)."""
        cos, sin = float(np.cos(yaw)), float(np.sin(yaw))

        def world(p: tuple[float, float, float]) -> tuple[float, float, float]:
            return x + cos * p[0] - sin * p[1], y + sin * p[0] + cos * p[1], z + p[2]

        for part in piece.parts:
            self.parts.append(Part(part.label, part.material, world(part.centre), part.half, part.yaw + yaw))
        self.bulbs += [world(bulb) for bulb in piece.bulbs]
        low, high = piece.span()
        self.targets.append((x, y, z + (low + high) / 2))
        if solid:
            self.taken.append(self.prism(piece, x, y, z, yaw))

    def at_wall(self, wall: int, along: float, away: float) -> tuple[float, float, float]:
        """x, y and the yaw that turns a piece's back to ``wall`` (0..3: +y, -x, -y, +x), ``away`` from it."""
        x, y = [
            (along * self.width, self.length - away),
            (away, along * self.length),
            (along * self.width, away),
            (self.width - away, along * self.length),
        ][wall]
        return x, y, wall * np.pi / 2

    def lean(self, piece: Piece, gap: float = 0.02, tries: int = 12) -> bool:
        """Stand a piece with its back to some wall where there is room."""
        for _ in range(tries):
            wall, along = int(self.rng.integers(4)), self.rng.random()
            x, y, yaw = self.at_wall(wall, along, piece.half_size()[1] + gap)
            if self.is_free(self.prism(piece, x, y, 0, yaw)):
                self.put(piece, x, y, 0, yaw)
                return True
        return False

    def stand(self, piece: Piece, tries: int = 12) -> bool:
        """Stand a piece anywhere, turned at random."""
        for _ in range(tries):
            x, y, yaw = self.rng.uniform(0, self.width), self.rng.uniform(0, self.length), self.rng.uniform(0, 2 * np.pi)
            if self.is_free(self.prism(piece, x, y, 0, yaw)):
                self.put(piece, x, y, 0, yaw)
                return True
        return False

    def hang(self, piece: Piece, z: float, front: float, tries: int = 12) -> tuple[int, float] | None:
        """Hang a piece on a wall and keep ``front`` metres before it free; where, as (wall, along)."""
        wide, low_high = piece.half_size()[0], piece.span()
        for _ in range(tries):
            wall, along = int(self.rng.integers(4)), self.rng.random()
            x, y, yaw = self.at_wall(wall, along, front / 2)
            cos, sin = float(np.cos(yaw)), float(np.sin(yaw))
            space = Prism(x, y, cos, sin, wide, front / 2, z + low_high[0], z + low_high[1])
            if self.is_free(space):
                self.put(piece, *self.at_wall(wall, along, 0)[:2], z, yaw, solid=False)
                self.taken.append(space)
                return wall, along
        return None

    # -- furnishing ---------------------------------------------------------------------------------------

    def furnish(self) -> list[Light]:
        """Fill the room; returns the daylight, if there is any."""
        rng, style = self.rng, self.style
        self.wall_finish = style.pick()
        if rng.random() < 0.35:
            self.lean(fixtures.pillar(style, self.wall_finish, self.height - 1e-3), gap=0.0)
            column = self.parts[-1] if self.parts else None
            if column:  # it stands in the wall, so its back is never seen
                self.targets.clear()
        self.skirting()
        for chance in (0.95, 0.25):
            if rng.random() < chance:
                self.hang(fixtures.door(style), 0, front=0.75)
        daylight = self.windows()
        needed, optional = THEMES[rng.integers(len(THEMES))]
        extra = [name for name in optional if rng.random() < 0.65]
        for name in (*needed, *extra):
            self.add(name)
        if rng.random() < 0.55:
            self.rug()
        if rng.random() < 0.4:
            drop = rng.uniform(0.2, max(0.3, self.height - 1.95))
            x, y = self.width * rng.uniform(0.35, 0.65), self.length * rng.uniform(0.35, 0.65)
            lamp = fixtures.pendant(style, drop)
            if self.is_free(self.prism(lamp, x, y, self.height - 1e-3, 0)):
                self.put(lamp, x, y, self.height - 1e-3, rng.uniform(0, np.pi))
        for _ in range(int(rng.integers(1, 6))):
            self.hang(fixtures.picture(style), rng.uniform(1.1, 1.6), front=0.05)
        return daylight

    def add(self, name: str) -> None:
        """One piece of furniture by name, with what belongs to it."""
        rng, style = self.rng, self.style
        if name == "dining table":
            self.table_group(furniture.table(style), chairs=int(rng.integers(2, 5)))
        elif name == "coffee table":
            table = furniture.table(style, rng.uniform(0.7, 1.2), rng.uniform(0.45, 0.65), rng.uniform(0.35, 0.45))
            self.stand(table, tries=20)
        elif name == "desk":
            self.desk()
        else:
            builder, place = self.builders()[name]
            place(builder(style))

    def builders(self) -> dict[str, tuple[Callable[[Style], Piece], Callable[[Piece], bool]]]:
        """How the simple pieces are made and where they go."""
        return {
            "bed": (furniture.bed, self.lean),
            "sofa": (furniture.sofa, lambda piece: self.lean(piece, gap=self.rng.uniform(0.02, 0.4))),
            "cabinet": (furniture.cabinet, self.lean),
            "shelf": (furniture.shelf, self.lean),
            "lamp": (furniture.floor_lamp, self.stand),
            "chair": (furniture.chair, self.stand),
            "box": (furniture.carton, self.stand),
            "books": (furniture.book_stack, self.stand),
        }

    def table_group(self, table: Piece, chairs: int) -> None:
        """A table in the room with chairs drawn up to it."""
        if not self.stand(table, tries=30):
            return
        spot = self.taken[-1]
        for number in range(chairs):
            chair = furniture.chair(self.style)
            _, deep = chair.half_size()
            side = -1 if number % 2 else 1
            across = (number // 2 - (0.5 if chairs > 2 else 0)) * min(0.7, spot.wide)
            out = side * (spot.deep + deep + self.rng.uniform(-0.18, 0.2))
            x = spot.x + spot.cos * across - spot.sin * out
            y = spot.y + spot.sin * across + spot.cos * out
            yaw = np.arctan2(spot.sin, spot.cos) + (0 if side > 0 else np.pi) + self.rng.uniform(-0.2, 0.2)
            self.draw_up(chair, x, y, yaw, spot)

    def desk(self) -> None:
        """A table against a wall with a chair before it."""
        table = furniture.table(self.style, depth=self.rng.uniform(0.55, 0.75))
        if not self.lean(table):
            return
        spot = self.taken[-1]
        chair = furniture.chair(self.style)
        out = spot.deep + chair.half_size()[1] + self.rng.uniform(-0.15, 0.3)
        across = self.rng.uniform(-0.2, 0.2)
        x, y = spot.x + spot.cos * across + spot.sin * out, spot.y + spot.sin * across - spot.cos * out
        yaw = np.arctan2(spot.sin, spot.cos) + np.pi + self.rng.uniform(-0.5, 0.5)
        self.draw_up(chair, x, y, yaw, spot)

    def draw_up(self, chair: Piece, x: float, y: float, yaw: float, table: Prism) -> None:
        """Stand a chair that may reach under its table, if nothing else is in its way."""
        self.taken.remove(table)
        if self.is_free(self.prism(chair, x, y, 0, yaw)):
            self.put(chair, x, y, 0, yaw)
        self.taken.append(table)
