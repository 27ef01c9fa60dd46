"""Fixtures of walls, floor and ceiling of :mod:`shards.sources.scenes`: doors, windows, pictures, rugs, lamps.

In the frame of a :class:`~shards.sources.scenes.piece.Piece` that hangs, the wall is the plane y = 0 and the
room is where y is negative.
"""

import numpy as np

from shards.sources.scenes.materials import Style
from shards.sources.scenes.piece import Piece


def _frame(piece: Piece, material: int, width: float, height: float, bottom: float, bar: float, deep: float) -> None:
    """Add bars around an opening of ``width`` × ``height``; none below an opening that reaches the floor."""
    for side in (-1, 1):
        piece.add(material, (bar, deep, height), (side * (width + bar) / 2, -deep / 2, bottom))
    piece.add(material, (width + 2 * bar, deep, bar), (0, -deep / 2, bottom + height))
    if bottom > 0:
        piece.add(material, (width + 2 * bar, deep, bar), (0, -deep / 2, bottom - bar))


def door(style: Style) -> Piece:
    """A closed door: leaf, frame, handle, and panels or a pane."""
    rng, piece = style.rng, Piece("door")
    width, height = rng.uniform(0.75, 1.0), rng.uniform(1.95, 2.1)
    leaf, trim, panel = style.pick(), style.pick(), style.pick()
    _frame(piece, trim, width, height, 0, rng.uniform(0.06, 0.1), 0.06)
    piece.add(leaf, (width, 0.03, height), (0, -0.015, 0))
    rows = int(rng.integers(0, 4))
    for row in range(rows):
        high = (height - 0.15) / rows - 0.12
        piece.add(panel, (width - 0.26, 0.015, high), (0, -0.035, 0.15 + row * (high + 0.12)))
    side = rng.choice([-1, 1])
    piece.add(trim, (0.13, 0.03, 0.025), (side * (width / 2 - 0.1), -0.075, 1.02))
    piece.add(trim, (0.03, 0.06, 0.03), (side * (width / 2 - 0.05), -0.05, 1.02))
    return piece


def window(style: Style, width: float, height: float, bottom: float, glow: float) -> Piece:
    """A window: glowing pane, frame, bars and a sill."""
    rng, piece = style.rng, Piece("window")
    frame = style.pick()
    pane = style.fresh(glow, ("gradient", "gradient", "plain", "marble"))
    piece.add(pane, (width, 0.012, height), (0, -0.006, bottom))
    _frame(piece, frame, width, height, bottom, rng.uniform(0.05, 0.09), 0.05)
    bars = int(rng.integers(0, 3))
    for number in range(bars):
        x = ((number + 1) / (bars + 1) - 0.5) * width
        piece.add(frame, (0.045, 0.035, height), (x, -0.02, bottom))
    if rng.random() < 0.4:
        piece.add(frame, (width, 0.035, 0.04), (0, -0.02, bottom + rng.uniform(0.5, 0.75) * height))
    if bottom > 0.5:
        piece.add(frame, (width + 0.3, 0.16, 0.03), (0, -0.08, bottom - 0.09))
    return piece


def curtain(style: Style, width: float, top: float, bottom: float) -> Piece:
    """Pleated curtains on a rod, on both sides of a window that is ``width`` wide."""
    rng, piece = style.rng, Piece("curtain")
    cloth = style.pick()
    pleats, pleat = int(rng.integers(3, 7)), rng.uniform(0.07, 0.11)
    outer = width / 2 + 0.25
    for side in (-1, 1):
        for number in range(pleats):
            x = side * (outer - (number + 0.5) * pleat)
            deep = 0.035 if number % 2 else 0.06
            piece.add(cloth, (pleat, deep, top - bottom), (x, -0.13 - deep / 2, bottom))
    piece.add(style.pick(), (2 * outer + 0.16, 0.03, 0.03), (0, -0.15, top))
    return piece


def picture(style: Style) -> Piece:
    """A framed picture, with or without a mount; the bottom of its frame is at z = 0."""
    rng, piece = style.rng, Piece("picture")
    width, height = rng.uniform(0.3, 1.3), rng.uniform(0.3, 0.95)
    bar = rng.uniform(0.02, 0.06)
    piece.add(style.fresh(), (width, 0.015, height), (0, -0.0075, bar))
    _frame(piece, style.pick(), width, height, bar, bar, 0.035)
    if rng.random() < 0.5:
        margin = rng.uniform(0.12, 0.25) * min(width, height)
        piece.add(style.fresh(), (width - 2 * margin, 0.004, height - 2 * margin), (0, -0.017, bar + margin))
    for _ in range(int(rng.integers(0, 4))):  # an abstract composition
        w, h = rng.uniform(0.1, 0.4) * width, rng.uniform(0.1, 0.4) * height
        x, z = rng.uniform(-0.3, 0.3) * width, rng.uniform(0.25, 0.7) * (height - h)
        piece.add(style.fresh(), (w, 0.003, h), (x, -0.0205, bar + z))
    return piece


def rug(style: Style, width: float, depth: float) -> Piece:
    """A rug with a border."""
    piece = Piece("rug")
    border = style.rng.uniform(0.06, 0.2)
    piece.add(style.fresh(), (width, depth, 0.01))
    piece.add(style.fresh(), (width - 2 * border, depth - 2 * border, 0.013))
    return piece


def pendant(style: Style, drop: float, glow: float) -> Piece:
    """A lamp on a cord: the ceiling is at z = 0, and the shade hangs ``drop`` metres below."""
    rng, piece = style.rng, Piece("lamp")
    shade, radius, tall = style.fresh(glow), rng.uniform(0.12, 0.28), rng.uniform(0.12, 0.3)
    cord = style.pick()
    piece.add(cord, (0.1, 0.1, 0.03), (0, 0, -0.03))
    piece.add(cord, (0.02, 0.02, drop), (0, 0, -drop))
    for yaw in (0.0, np.pi / 4):
        piece.add(shade, (1.6 * radius, 1.6 * radius, tall), (0, 0, -drop - tall), yaw=yaw)
    piece.bulbs.append((0.0, 0.0, -drop - tall - 0.06))
    return piece


def spot(style: Style, glow: float) -> Piece:
    """A flat lamp under the ceiling, which is at z = 0."""
    piece = Piece("lamp")
    wide, deep = style.rng.uniform(0.2, 0.5), style.rng.uniform(0.2, 1.0)
    piece.add(style.pick(), (wide + 0.04, deep + 0.04, 0.03), (0, 0, -0.03))
    piece.add(style.fresh(glow), (wide, deep, 0.05), (0, 0, -0.08))
    piece.bulbs.append((0.0, 0.0, -0.16))
    return piece


def pillar(style: Style, wall: int, height: float) -> Piece:
    """A chimney breast, column or duct with its back to the wall; ``wall`` is the wall's material."""
    piece = Piece("wall")
    piece.add(wall, (style.rng.uniform(0.4, 1.5), style.rng.uniform(0.25, 0.6), height))
    return piece
