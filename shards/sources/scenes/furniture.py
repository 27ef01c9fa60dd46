"""The furniture of :mod:`shards.sources.scenes`: compounds of boxes, of random but common sizes.

Every builder takes the room's :class:`~shards.sources.scenes.materials.Style` and returns a
:class:`~shards.sources.scenes.piece.Piece` whose front faces negative y.
"""

import math

import numpy as np

from shards.sources.scenes.materials import Style
from shards.sources.scenes.piece import Piece


def table(style: Style, size: tuple[float, float, float]) -> Piece:
    """A table of this width, depth and height, on legs or on side panels, with things on top."""
    rng, piece = style.rng, Piece("table")
    width, depth, height = size
    top, leg = style.pick(), style.pick()
    thick = rng.uniform(0.025, 0.06)
    if rng.random() < 0.7:
        piece.legs(leg, width - 0.06, depth - 0.06, height - thick, rng.uniform(0.04, 0.09))
        piece.add(leg, (width - 0.14, depth - 0.14, 0.07), (0, 0, height - thick - 0.07))
    else:
        for side in (-1, 1):
            piece.add(leg, (0.04, depth - 0.06, height - thick), (side * (width / 2 - 0.1), 0, 0))
        piece.add(leg, (width - 0.2, 0.03, 0.3), (0, depth / 2 - 0.1, height - thick - 0.35))
    piece.add(top, (width, depth, thick), (0, 0, height - thick))
    scatter(style, piece, (0, 0, height), (width - 0.1, depth - 0.1), tall=0.45, chance=0.5)
    return piece


def chair(style: Style) -> Piece:
    """A kitchen chair, or an office chair on one foot."""
    rng, piece = style.rng, Piece("chair")
    frame, soft = style.pick(), style.pick()
    width, seat, top = rng.uniform(0.4, 0.5), rng.uniform(0.42, 0.48), rng.uniform(0.8, 1.05)
    back = top - seat
    piece.add(soft, (width, width, 0.05), (0, 0, seat - 0.05))
    if rng.random() < 0.7:
        leg = rng.uniform(0.03, 0.05)
        edge = (width - leg) / 2
        piece.legs(frame, width, width, seat - 0.04, leg)
        for side in (-1, 1):
            piece.add(frame, (leg, leg, back), (side * edge, edge, seat))
        if rng.random() < 0.5:
            piece.add(soft, (width - 2 * leg, 0.03, 0.6 * back), (0, edge, seat + 0.35 * back))
        else:
            for slat in range(3):
                piece.add(frame, (width - leg, 0.02, 0.06), (0, edge, seat + (0.35 + 0.22 * slat) * back))
    else:
        for yaw in (math.pi / 4, -math.pi / 4):
            piece.add(frame, (1.2 * width, 0.05, 0.06), yaw=yaw)
        piece.add(frame, (0.06, 0.06, seat - 0.08), (0, 0, 0.04))
        piece.add(frame, (0.06, 0.03, 0.25), (0, width / 2, seat - 0.05))
        piece.add(soft, (width, 0.06, back - 0.12), (0, width / 2 - 0.02, seat + 0.12))
        if rng.random() < 0.6:
            for side in (-1, 1):
                piece.add(frame, (0.05, 0.7 * width, 0.03), (side * width / 2, 0, seat + 0.2))
                piece.add(frame, (0.03, 0.05, 0.24), (side * width / 2, 0, seat - 0.03))
    return piece


def sofa(style: Style) -> Piece:
    """A sofa for two or three, or an armchair."""
    rng, piece = style.rng, Piece("sofa")
    seats = int(rng.integers(1, 4))
    arm, deep, seat = rng.uniform(0.1, 0.24), rng.uniform(0.8, 0.98), rng.uniform(0.38, 0.46)
    width = seats * rng.uniform(0.58, 0.72) + 2 * arm
    body, cushion, foot = style.pick(), style.pick(), style.pick()
    if rng.random() < 0.6:
        cushion = body
    piece.legs(foot, width - 0.06, deep - 0.06, 0.1, 0.06)
    piece.add(body, (width - 2 * arm, deep, seat - 0.22), (0, 0, 0.08))
    piece.add(body, (width, 0.2, rng.uniform(0.62, 0.8)), (0, deep / 2 - 0.1, 0.08))
    for side in (-1, 1):
        piece.add(body, (arm, deep, seat + 0.08), (side * (width - arm) / 2, 0, 0.08))
    seat_width = (width - 2 * arm) / seats
    for number in range(seats):
        x = (number - (seats - 1) / 2) * seat_width
        piece.add(cushion, (seat_width - 0.015, deep - 0.2, 0.14), (x, -0.11, seat - 0.14))
        piece.add(cushion, (seat_width - 0.03, 0.16, 0.38), (x, deep / 2 - 0.28, seat))
        if rng.random() < 0.4:
            pillow = (0.38, 0.12, 0.34)
            piece.add(style.pick(), pillow, (x, deep / 2 - 0.44, seat), yaw=rng.uniform(-0.4, 0.4))
    return piece


def bed(style: Style) -> Piece:
    """A bed, its headboard at the back, with a mattress, a blanket and pillows."""
    rng, piece = style.rng, Piece("bed")
    width, length = rng.choice([0.9, 1.2, 1.4, 1.6]), rng.uniform(1.95, 2.1)
    frame, linen, blanket = style.pick(), style.pick(), style.pick()
    base, thick = rng.uniform(0.25, 0.36), rng.uniform(0.14, 0.24)
    if rng.random() < 0.5:
        piece.legs(frame, width, length, base, 0.07)
        piece.add(frame, (width, length, 0.16), (0, 0, base - 0.14))
    else:
        piece.add(frame, (width, length, base), (0, 0, 0.02))
    piece.add(frame, (width + 0.06, 0.06, rng.uniform(0.7, 1.15)), (0, length / 2 + 0.03, 0))
    piece.add(linen, (width - 0.06, length - 0.06, thick), (0, 0, base))
    cover = rng.uniform(0.55, 0.75) * length
    piece.add(blanket, (width + 0.02, cover, thick * 0.9), (0, (cover - length) / 2 - 0.01, base + thick * 0.1 + 0.04))
    pillows = 2 if width > 1.3 else 1
    for number in range(pillows):
        x = (number - (pillows - 1) / 2) * 0.66
        piece.add(linen, (0.58, 0.38, 0.12), (x, length / 2 - 0.3, base + thick), yaw=rng.uniform(-0.15, 0.15))
    return piece


def cabinet(style: Style) -> Piece:
    """A wardrobe, sideboard, chest of drawers or bedside cabinet."""
    rng, piece = style.rng, Piece("cabinet")
    shape = rng.random()
    if shape < 0.35:
        width, depth, height, columns, rows = rng.uniform(0.8, 1.8), 0.6, rng.uniform(1.8, 2.2), 2, 1
    elif shape < 0.7:
        width, depth, height, columns, rows = rng.uniform(1.0, 1.8), 0.45, rng.uniform(0.5, 0.95), 3, 1
    else:
        width, depth, height, columns, rows = rng.uniform(0.4, 0.9), 0.42, rng.uniform(0.5, 1.1), 1, 3
    body, front, metal = style.pick(), style.pick(), style.pick()
    if rng.random() < 0.6:
        front = body
    plinth = rng.uniform(0.05, 0.14)
    piece.add(metal, (width - 0.06, depth - 0.06, plinth), (0, 0.02, 0))
    piece.add(body, (width, depth, height - plinth), (0, 0, plinth))
    wide, high = (width - 0.02) / columns, (height - plinth - 0.02) / rows
    for column in range(columns):
        for row in range(rows):
            x, z = (column - (columns - 1) / 2) * wide, plinth + 0.01 + row * high
            piece.add(front, (wide - 0.02, 0.02, high - 0.02), (x, -depth / 2 - 0.01, z + 0.01))
            handle = (0.02, 0.03, 0.16) if rows == 1 else (0.14, 0.03, 0.02)
            beside = (0.5 * wide - 0.06) * (1 if column % 2 == 0 else -1) if rows == 1 else 0.0
            piece.add(metal, handle, (x + beside, -depth / 2 - 0.035, z + 0.5 * high - handle[2] / 2))
    if height < 1.3:
        scatter(style, piece, (0, 0, height), (width, depth - 0.05), tall=0.5, chance=0.6)
    return piece


def shelf(style: Style) -> Piece:
    """A bookcase, full of books and boxes."""
    rng, piece = style.rng, Piece("shelf")
    width, depth, height = rng.uniform(0.6, 1.4), rng.uniform(0.25, 0.38), rng.uniform(0.8, 2.1)
    wood, back = style.pick(), style.pick()
    for side in (-1, 1):
        piece.add(wood, (0.025, depth, height), (side * (width / 2 - 0.0125), 0, 0))
    if rng.random() < 0.75:
        piece.add(back, (width - 0.04, 0.01, height - 0.02), (0, depth / 2 - 0.01, 0.01))
    boards = max(2, round(height / rng.uniform(0.32, 0.42)))
    gap = (height - 0.03) / boards
    for board in range(boards + 1):
        piece.add(wood, (width - 0.05, depth - 0.01, 0.025), (0, 0, board * gap))
        if board < boards:
            fill(style, piece, (0, 0, board * gap + 0.025), (width - 0.06, depth - 0.06), gap - 0.04)
    return piece


def fill(style: Style, piece: Piece, at: tuple[float, float, float], size: tuple[float, float], tall: float) -> None:
    """Stand blocks of books, boxes and gaps side by side on a board of width and depth ``size``."""
    rng = style.rng
    left, right = at[0] - size[0] / 2, at[0] + size[0] / 2
    while left < right - 0.06:
        wide = min(rng.uniform(0.08, 0.3), right - left)
        middle, kind = (left + wide / 2, at[1], at[2]), rng.random()
        if kind < 0.5:
            book = (wide - 0.004, size[1] * rng.uniform(0.7, 1), tall * rng.uniform(0.6, 0.95))
            piece.add(style.fresh(), book, middle, "book")
        elif kind < 0.68:
            box = (wide - 0.03, size[1] * rng.uniform(0.6, 0.9), tall * rng.uniform(0.3, 0.9))
            piece.add(style.pick(), box, middle, "box")
        left += wide


def scatter(
    style: Style, piece: Piece, at: tuple[float, float, float], size: tuple[float, float], tall: float, chance: float
) -> None:
    """Put small things on a top of width and depth ``size``: one in each slot of its width, or none."""
    rng = style.rng
    slots = max(1, int(size[0] / 0.35))
    wide = size[0] / slots
    for slot in range(slots):
        if rng.random() > chance:
            continue
        reach = min(wide, size[1])
        x = at[0] + (slot + 0.5) * wide - size[0] / 2
        y = at[1] + rng.uniform(-0.5, 0.5) * (size[1] - reach)
        kind, yaw = rng.random(), rng.uniform(-math.pi, math.pi)
        if kind < 0.5:
            z = at[2]
            for _ in range(int(rng.integers(1, 5))):
                thick = rng.uniform(0.015, 0.05)
                book = (reach * rng.uniform(0.4, 0.75), reach * rng.uniform(0.35, 0.55), thick)
                piece.add(style.fresh(), book, (x, y, z), "book", yaw + rng.uniform(-0.3, 0.3))
                z += thick
        elif kind < 0.8:
            box = (reach * rng.uniform(0.2, 0.65), reach * rng.uniform(0.2, 0.65), tall * rng.uniform(0.2, 0.7))
            piece.add(style.fresh(), box, (x, y, at[2]), "box", yaw)
        else:
            add_lamp(style, piece, (x, y, at[2]), rng.uniform(0.3, 0.5), reach * 0.4)


def add_lamp(style: Style, piece: Piece, at: tuple[float, float, float], height: float, radius: float) -> None:
    """A lamp on a foot: pole and shade, lit or not."""
    rng, (x, y, z) = style.rng, at
    metal, lit = style.pick(), rng.random() < 0.5
    shade = style.fresh(glow=rng.uniform(0.7, 1.8) if lit else 0.0)
    tall = min(0.4 * height, 1.4 * radius)
    piece.add(metal, (radius, radius, 0.03), at, "lamp")
    piece.add(metal, (0.025, 0.025, height - tall), at, "lamp")
    for step, share in enumerate((1.0, 0.88, 0.76)):  # a shade that narrows upwards
        width = 2 * share * radius
        piece.add(shade, (width, width, tall / 3), (x, y, z + height - tall * (1 - step / 3)), "lamp", math.pi / 4)
    if lit:
        piece.bulbs.append((x, y, z + height + 0.1))


def floor_lamp(style: Style) -> Piece:
    """A standing lamp."""
    piece = Piece("lamp")
    add_lamp(style, piece, (0, 0, 0), style.rng.uniform(1.3, 1.75), style.rng.uniform(0.14, 0.22))
    return piece


def carton(style: Style) -> Piece:
    """One to three boxes, stacked, with a strip of tape or a lid."""
    rng, piece = style.rng, Piece("box")
    z, size = 0.0, np.array([rng.uniform(0.3, 0.6), rng.uniform(0.25, 0.5), 0.0])
    for _ in range(int(rng.integers(1, 4))):
        body, trim = style.pick(), style.pick()
        height, yaw = rng.uniform(0.16, 0.42), rng.uniform(-0.25, 0.25)
        piece.add(body, (size[0], size[1], height), (0, 0, z), yaw=yaw)
        if rng.random() < 0.6:
            piece.add(trim, (size[0] + 0.004, 0.06, height + 0.004), (0, 0, z), yaw=yaw)
        else:
            piece.add(trim, (size[0] + 0.03, size[1] + 0.03, 0.06), (0, 0, z + height - 0.06), yaw=yaw)
        z += height
        size *= rng.uniform(0.65, 0.95)
    return piece


def book_stack(style: Style) -> Piece:
    """A pile of books on the floor."""
    rng, piece = style.rng, Piece("book")
    z = 0.0
    for _ in range(int(rng.integers(3, 9))):
        thick = rng.uniform(0.02, 0.06)
        piece.add(
            style.fresh(),
            (rng.uniform(0.22, 0.34), rng.uniform(0.18, 0.26), thick),
            (0, 0, z),
            yaw=rng.uniform(-0.5, 0.5),
        )
        z += thick
    return piece
