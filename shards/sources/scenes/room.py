"""Layout and lighting of a room of :mod:`shards.sources.scenes`.

A layout depends on its random generator alone, and not on the size of the image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards.sources.scenes import fixtures, furniture
from shards.sources.scenes.geometry import Boxes
from shards.sources.scenes.materials import Material, Style
from shards.sources.scenes.piece import Part, Piece
from shards.sources.scenes.plan import FloorPlan, Point, Prism

SHELL = ("wall", "wall", "wall", "wall", "floor", "ceiling")
"""Labels of the room's own faces, in the order -x, +x, -y, +y, -z, +z."""

THEMES = (
    # (required furniture, optional furniture)
    (("bed",), ("cabinet", "cabinet", "shelf", "lamp", "chair", "desk", "box")),
    (("sofa", "coffee table"), ("sofa", "cabinet", "shelf", "shelf", "lamp", "chair", "box")),
    (("dining table", "cabinet"), ("cabinet", "shelf", "sofa", "lamp", "box")),
    (("desk", "shelf"), ("shelf", "cabinet", "sofa", "bed", "lamp", "box", "box", "chair")),
    (("shelf", "box", "cabinet"), ("shelf", "cabinet", "box", "box", "books", "chair", "lamp", "bed")),
)
"""Furniture of bedroom, living room, dining room, study and store room."""

_WARM, _COOL = np.array([1.0, 0.86, 0.68]), np.array([0.86, 0.95, 1.0])


@dataclass(frozen=True)
class Light:
    """A light: its position (metres), linear RGB intensity, and the radius that softens its shadows."""

    position: np.ndarray
    colour: np.ndarray
    radius: float


@dataclass(frozen=True)
class Room:
    """A finished layout.

    Args:
        size: width (x), length (y), height (z) in metres; a lower corner is the world's origin.
        boxes: everything solid; box 0 is the room itself.
        labels: a class name for each of the room's six faces (:data:`SHELL`), then for each further box.
        finish: a material index for each label.
        materials: all materials of the room.
        lights: all lights, the strongest first.
        ambient: linear RGB of the ambient light.
        solid: the spaces that furniture occupies.
        reserved: the spaces in front of doors, windows and pictures.
    """

    size: Point
    boxes: Boxes
    labels: tuple[str, ...]
    finish: np.ndarray
    materials: list[Material]
    lights: list[Light]
    ambient: np.ndarray
    solid: list[Prism]
    reserved: list[Prism]


def build(rng: np.random.Generator) -> Room:
    """Build a room with furniture and lights."""
    size = (rng.uniform(2.8, 6.2), rng.uniform(2.8, 6.2), rng.uniform(2.35, 3.1))
    style, plan = Style(rng), FloorPlan(rng, size)
    wall, floor, ceiling = style.pick(), style.pick(), style.pick()
    shell_finish = [wall] * 4 + [floor, ceiling]
    if rng.random() < 0.4:
        shell_finish[rng.integers(4)] = style.pick()

    if rng.random() < 0.35:
        plan.lean(fixtures.pillar(style, wall, size[2]), gap=0.0)
    skirting(style, plan)
    for chance in (0.95, 0.25):
        if rng.random() < chance:
            plan.hang(fixtures.door(style), 0.0, front=0.75)
    daylight = windows(style, plan)
    needed, optional = THEMES[rng.integers(len(THEMES))]
    for name in (*needed, *(name for name in optional if rng.random() < 0.7)):
        furnish(name, style, plan)
    if rng.random() < 0.55:
        rug(style, plan)
    for _ in range(int(rng.integers(1, 6))):
        plan.hang(fixtures.picture(style), rng.uniform(1.05, 1.5), front=0.05)
    return _assemble(style, plan, shell_finish, [*daylight, *lamps(style, plan, dark=not daylight)])


def furnish(name: str, style: Style, plan: FloorPlan) -> None:
    """Add a piece of furniture and its chairs where there is space."""
    rng = style.rng
    simple: dict[str, tuple[Callable[[Style], Piece], Callable[[Piece], bool]]] = {
        "bed": (furniture.bed, plan.lean),
        "sofa": (furniture.sofa, lambda piece: plan.lean(piece, gap=rng.uniform(0.02, 0.4))),
        "cabinet": (furniture.cabinet, plan.lean),
        "shelf": (furniture.shelf, plan.lean),
        "lamp": (furniture.floor_lamp, plan.stand),
        "chair": (furniture.chair, plan.stand),
        "box": (furniture.carton, plan.stand),
        "books": (furniture.book_stack, plan.stand),
    }
    if name in simple:
        builder, place = simple[name]
        place(builder(style))
    elif name == "coffee table":
        plan.stand(furniture.table(style, (rng.uniform(0.7, 1.2), rng.uniform(0.45, 0.65), rng.uniform(0.35, 0.45))))
    elif name == "desk":
        size = (rng.uniform(1.0, 1.6), rng.uniform(0.55, 0.75), rng.uniform(0.7, 0.76))
        if plan.lean(furniture.table(style, size)):
            draw_up(furniture.chair(style), plan, plan.solid[-1], rng.uniform(-0.2, 0.2), front=True)
    elif name == "dining table":
        size = (rng.uniform(1.1, 1.8), rng.uniform(0.75, 0.95), rng.uniform(0.72, 0.78))
        if plan.stand(furniture.table(style, size), tries=30):
            table = plan.solid[-1]
            for across in (-0.45, 0.45):
                for front in (True, False):
                    if rng.random() < 0.75:
                        draw_up(furniture.chair(style), plan, table, across * table.wide, front)


def draw_up(chair: Piece, plan: FloorPlan, table: Prism, across: float, front: bool) -> None:
    """Place a chair at a table's front or back; it may reach under the table."""
    rng = plan.rng
    out = table.deep + chair.half_size()[1] + rng.uniform(-0.18, 0.25)
    x, y = table.to_world(across, -out if front else out)
    yaw = table.yaw + (np.pi if front else 0.0) + rng.uniform(-0.3, 0.3)
    plan.put(chair, x, y, yaw=yaw, reach_under=table)


def skirting(style: Style, plan: FloorPlan) -> None:
    """Add skirting boards along the walls, in most rooms."""
    rng, (width, length, _) = style.rng, plan.size
    if rng.random() < 0.3:
        return
    board, high, thick = style.pick(), rng.uniform(0.06, 0.14), 0.015
    piece = Piece("wall")
    for side in (-1, 1):
        piece.add(board, (width, thick, high), (0, side * (length - thick) / 2, 0))
        piece.add(board, (thick, length, high), (side * (width - thick) / 2, 0, 0))
    plan.add(piece, width / 2, length / 2)


def windows(style: Style, plan: FloorPlan) -> list[Light]:
    """Add up to three windows, most with curtains, and return the daylight that enters through them."""
    rng, lights = style.rng, []
    day = rng.random() < 0.65
    glow = rng.uniform(1.0, 2.2) if day else rng.uniform(0.0, 0.1)
    tint = _COOL * (1 - 0.3 * rng.random() * np.array([0, 0.5, 1]))
    low = rng.random() < 0.2  # French windows
    for _ in range(int(rng.integers(0, 4))):
        bottom = 0.08 if low else rng.uniform(0.75, 1.0)
        height = min(rng.uniform(0.9, 1.4) + (0.9 - bottom if low else 0), plan.size[2] - bottom - 0.25)
        width = rng.uniform(0.7, 1.9)
        piece = fixtures.window(style, width, height, bottom, glow)
        if rng.random() < 0.65:
            hem = 0.04 if low or rng.random() < 0.5 else bottom - 0.15
            piece.parts += fixtures.curtain(style, width, bottom + height + 0.1, hem).parts
        space = plan.hang(piece, 0.0, front=0.3)
        if space and day:
            x, y = space.to_world(0, -0.1)
            power = 3.0 * glow * width * height
            lights.append(Light(np.array([x, y, bottom + 0.6 * height]), power * tint, 0.3))
    return lights


def rug(style: Style, plan: FloorPlan) -> None:
    """Add a rug on the floor, under the furniture; it occupies no space."""
    rng, (width, length, _) = style.rng, plan.size
    size = rng.uniform(0.3, 0.6) * width, rng.uniform(0.3, 0.6) * length
    x, y = rng.uniform(0.4, 0.6) * width, rng.uniform(0.4, 0.6) * length
    plan.add(fixtures.rug(style, *size), x, y, yaw=rng.uniform(-0.3, 0.3))


def lamps(style: Style, plan: FloorPlan, dark: bool) -> list[Light]:
    """Add the ceiling lamp, which is on when it is dark outside, and return it and all other lamps that are on."""
    rng, (width, length, height) = style.rng, plan.size
    lit = dark or rng.random() < 0.4
    glow = rng.uniform(0.7, 1.6) if lit else 0.0
    x, y = rng.uniform(0.35, 0.65) * width, rng.uniform(0.35, 0.65) * length
    if rng.random() < 0.55:
        lamp = fixtures.pendant(style, rng.uniform(0.2, max(0.3, height - 2.0)), glow)
    else:
        lamp = fixtures.spot(style, glow)
    lights = [Light(np.array(bulb), rng.uniform(0.5, 1.2) * _WARM, 0.1) for bulb in plan.bulbs]
    if plan.put(lamp, x, y, height, rng.uniform(0, np.pi)) and lit:
        lights.append(Light(np.array(plan.bulbs[-1]), rng.uniform(4, 7) * _WARM, 0.15))
    return lights


def _assemble(style: Style, plan: FloorPlan, shell_finish: list[int], lights: list[Light]) -> Room:
    """Collect the layout in arrays."""
    half = np.array(plan.size) / 2
    shell = Part("wall", 0, tuple(half), tuple(half))
    boxes = [shell, *plan.parts]
    lights = sorted(lights, key=lambda light: -light.colour.sum())
    power = sum((light.colour for light in lights), np.full(3, 2.0))
    return Room(
        size=plan.size,
        boxes=Boxes(
            np.array([b.centre for b in boxes], np.float32).T,
            np.array([b.half for b in boxes], np.float32).T,
            np.array([b.yaw for b in boxes], np.float32),
        ),
        labels=(*SHELL, *(part.label for part in plan.parts)),
        finish=np.array([*shell_finish, *(part.material for part in plan.parts)]),
        materials=style.materials,
        lights=lights,
        ambient=power * style.rng.uniform(0.05, 0.1),
        solid=plan.solid,
        reserved=plan.reserved,
    )
