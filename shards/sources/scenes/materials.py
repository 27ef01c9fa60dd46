"""Materials of the surfaces of :mod:`shards.sources.scenes`: colours and procedural textures.

A room draws a scheme of a few colours from one palette, and all its materials from that scheme; walls, furniture and
small objects share those materials. A colour therefore says little about a class, as in real rooms.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_SRGB = bytes.fromhex(
    "f4efe6 e8dcc8 d9c3a3 c9a27a a9744f 7a4e33 4d3426 b5533c d98e73 e8b7a0 c98a2b e3bd5f 8a9a5b 5f7a5a 3f5b4b "
    "a9c0b0 7fa3a8 3e6f7c 2f4a63 6d87ab b3c2d6 8d7a94 5c4660 c7a3b0 efefec b9b6b0 86847f 4a4a4c"
)
PALETTE = (np.frombuffer(_SRGB, np.uint8).reshape(-1, 3) / np.float32(255)) ** np.float32(2.2)
"""``(28, 3)`` linear RGB: the colours of every surface, lamp shades and window panes included."""
_ANGLES = (0.0, 0.0, 0.0, 0.0, np.pi / 2, np.pi / 2, np.pi / 2, np.pi / 4)


@dataclass(frozen=True)
class Material:
    """One surface finish.

    Args:
        texture: a key of :data:`TEXTURES`.
        colours: linear RGB of the texture's 0 and 1, ``(2, 3)``.
        period: approximate period of the texture in metres.
        angle: rotation of the texture on its face, radians.
        gloss: strength of the highlight, 0..1.
        glow: emitted light, as a multiple of the surface's colour.
    """

    texture: str
    colours: np.ndarray
    period: float
    angle: float
    gloss: float
    glow: float = 0.0


class Style:
    """The finishes of one room.

    Args:
        rng: the layout's random generator, for all choices.

    Attributes:
        materials: all materials of the room so far; boxes refer to them by index.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.scheme = PALETTE[rng.choice(len(PALETTE), 6, replace=False)]
        self.materials: list[Material] = []
        self.pool = [self.fresh() for _ in range(9)]

    def pick(self) -> int:
        """Return the index of one of the few materials that the room's objects share."""
        return self.pool[self.rng.integers(len(self.pool))]

    def fresh(self, glow: float = 0.0, textures: Sequence[str] = ()) -> int:
        """Add a material in the room's colours, with any texture or one of ``textures``, and return its index."""
        rng = self.rng
        first = self.scheme[rng.integers(len(self.scheme))] * rng.uniform(0.75, 1.2)
        if rng.random() < 0.65:  # tone on tone
            second = first * rng.uniform(0.6, 0.88)
        else:
            second = self.scheme[rng.integers(len(self.scheme))] * rng.uniform(0.75, 1.2)
        material = Material(
            texture=textures[int(rng.integers(len(textures)))] if textures else _any_texture(rng),
            colours=np.stack([first, second]).clip(0.01, 0.95).astype(np.float32),
            period=float(np.exp(rng.uniform(np.log(0.06), np.log(0.4)))),
            angle=_ANGLES[rng.integers(len(_ANGLES))],
            gloss=float(rng.uniform(0.1, 0.6) if rng.random() < 0.35 else 0.0),
            glow=glow,
        )
        self.materials.append(material)
        return len(self.materials) - 1


# Every texture maps face coordinates u, v (in periods) and the height on the face (0 at one edge, 1 at the
# other) to a mixing weight of the material's second colour, 0..1.
Texture = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

_LATTICE = np.random.Generator(np.random.PCG64(20)).random((64, 64), np.float32)


def value_noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return smooth noise of wavelength 1 in 0..1: an interpolated lattice of random values (Perlin's fade curve)."""
    column, row = np.floor(u), np.floor(v)
    fu, fv = u - column, v - row
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    x0, y0 = column.astype(np.int32) & 63, row.astype(np.int32) & 63
    x1, y1 = (x0 + 1) & 63, (y0 + 1) & 63
    top = _LATTICE[y0, x0] * (1 - fu) + _LATTICE[y0, x1] * fu
    bottom = _LATTICE[y1, x0] * (1 - fu) + _LATTICE[y1, x1] * fu
    return top * (1 - fv) + bottom * fv


def _cell_value(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return one random value for every unit cell."""
    return _LATTICE[np.floor(v).astype(np.int32) & 63, np.floor(u).astype(np.int32) & 63]


def _plain(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    return 0.25 * value_noise(0.5 * u, 0.5 * v)


def _gradient(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    return height


def _stripes(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    return ((v % 1) < 0.5).astype(np.float32)


def _checks(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    return 0.5 * (((u % 1) < 0.5).astype(np.float32) + ((v % 1) < 0.5))


def _speckle(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    return ((value_noise(5 * u, 5 * v) - 0.45) * 4).clip(0, 1)


def _wood(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    plank = np.floor(v)
    grain = value_noise(1.5 * u + 17 * plank, 14 * v)
    seam = (v - plank < 0.05).astype(np.float32)
    return (0.55 * grain + 0.45 * _cell_value(0.25 * u + 0.37 * plank, plank) + 0.4 * seam).clip(0, 1)


def _tiles(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    joint = ((u % 1) < 0.07) | ((v % 1) < 0.07)
    return np.where(joint, np.float32(1), 0.3 * _cell_value(u, v))


def _bricks(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    row = np.floor(v)
    u = 0.5 * (u + row)
    joint = ((u % 1) < 0.05) | (v - row < 0.1)
    return np.where(joint, np.float32(1), 0.5 * _cell_value(u, v))


def _marble(u: np.ndarray, v: np.ndarray, height: np.ndarray) -> np.ndarray:
    wave = value_noise(u, v) + 0.5 * value_noise(2.3 * u + 5, 2.3 * v)
    return np.abs((3 * wave) % 2 - 1)


TEXTURES: dict[str, tuple[Texture, float]] = {
    "plain": (_plain, 0.34),
    "wood": (_wood, 0.18),
    "speckle": (_speckle, 0.09),
    "gradient": (_gradient, 0.07),
    "stripes": (_stripes, 0.09),
    "checks": (_checks, 0.06),
    "tiles": (_tiles, 0.07),
    "bricks": (_bricks, 0.04),
    "marble": (_marble, 0.06),
}
"""Textures by name, with the share of materials that use each."""
_NAMES = list(TEXTURES)
_CUMULATIVE = np.cumsum([share for _, share in TEXTURES.values()])


def _any_texture(rng: np.random.Generator) -> str:
    """Draw a texture's name by the shares; much faster than ``rng.choice``."""
    return _NAMES[int(np.searchsorted(_CUMULATIVE[:-1], rng.random()))]


def paint(
    materials: list[Material],
    which: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    height: np.ndarray,
    pixel: np.ndarray,
) -> np.ndarray:
    """Compute the colours of surface points.

    Args:
        materials: the materials of a room.
        which: material of each point, ``(N,)``.
        u, v: position on the face in metres, ``(N,)``.
        height: position across the face, 0..1, ``(N,)``.
        pixel: metres of surface that the point's pixel covers, ``(N,)``: finer texture fades to its mean, as in a
            camera, instead of aliasing.

    Returns:
        Linear RGB ``(3, N)``.
    """
    period = np.array([m.period for m in materials], np.float32)[which]
    angle = np.array([m.angle for m in materials], np.float32)[which]
    kind = np.array([_NAMES.index(m.texture) for m in materials])[which]
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = (cos * u + sin * v) / period, (cos * v - sin * u) / period
    mix = np.empty_like(height)
    for number, (texture, _) in enumerate(TEXTURES.values()):
        points = np.flatnonzero(kind == number)
        if points.size:
            mix[points] = texture(u[points], v[points], height[points])
    sharpness = (period / (4 * pixel)).clip(0, 1)
    sharpness[kind == _NAMES.index("gradient")] = 1
    mix = 0.4 + (mix - 0.4) * sharpness
    colours = np.stack([m.colours for m in materials])[which].transpose(1, 2, 0)
    return colours[0] + mix * (colours[1] - colours[0])
