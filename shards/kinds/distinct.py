"""Colours that are easy to tell apart, for pictures of classes whose data set declares none."""

from functools import cache

import numpy as np

from shards.kinds.base import MISSING

_LEVELS = np.linspace(0, 255, 16)
_LIGHTNESS = 0.45, 0.92
"""Range of OKLab's lightness: darker colours look alike, and lighter ones like paper."""
_TO_CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
_TO_CONES += [[0.0883024619, 0.2817188376, 0.6299787005]]
_TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
_TO_LAB += [[0.0259040371, 0.7827717662, -0.8086757660]]


@cache
def distinct_colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Return ``count`` colours, of which each is as far as possible from those before it, from the colour of pixels
    without a label and from white: distances are those of OKLab (B. Ottosson, "A perceptual color space for image
    processing", 2020)."""
    candidates = np.stack(np.meshgrid(_LEVELS, _LEVELS, _LEVELS, indexing="ij"), -1).reshape(-1, 3)
    places = _oklab(candidates)
    allowed = (places[:, 0] >= _LIGHTNESS[0]) & (places[:, 0] <= _LIGHTNESS[1])
    candidates, places = candidates[allowed], places[allowed]
    taken = _oklab(np.array([MISSING, (255, 255, 255)], float))
    distances = np.linalg.norm(places[:, None] - taken, axis=-1).min(1)
    colours = []
    for _ in range(count):
        index = int(distances.round(6).argmax())  # rounded: no processor decides between equal ones
        red, green, blue = candidates[index].astype(int).tolist()
        colours.append((red, green, blue))
        distances = np.minimum(distances, np.linalg.norm(places - places[index], axis=-1))
    return tuple(colours)


def _oklab(colours: np.ndarray) -> np.ndarray:
    """Return OKLab's coordinates of sRGB colours in 0..255, ``(N, 3)``."""
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ np.transpose(_TO_CONES)) @ np.transpose(_TO_LAB)
