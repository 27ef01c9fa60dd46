"""Kind ``unit_vector``: each pixel has a direction in the camera's frame: x right, y down, z forward.

In a shard 8-bit RGB PNG; in memory float32 ``(H, W, 3)``; the zero vector for no label.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shards.errors import UserError
from shards.images import read_channels
from shards.kinds.base import MISSING, Storage

ANGLE = 22.5
"""Degrees: two directions that are further apart count as different."""


class UnitVectorStorage(Storage):
    """A vector of length 1 for each pixel, such as a surface normal."""

    kind = "unit_vector"
    mode = "RGB"
    channels = 3
    directional = True
    difference = f"differ by more than {ANGLE}°"

    def empty(self, height: int, width: int) -> np.ndarray:
        return np.zeros((height, width, 3), np.float32)

    def labelled(self, label: np.ndarray) -> np.ndarray:
        return np.any(label != 0, axis=-1)

    def to_stored(self, label: np.ndarray) -> np.ndarray:
        """Map -1..1 to 1..255, so that 0 is left for the zero vector."""
        steps = np.rint(label.astype(np.float64) * 127 + 128)
        if not ((steps >= 1) & (steps <= 255)).all():  # NaN as well
            raise UserError("a vector is longer than 1", hint="divide every vector by its length; zeros mean no label")
        return np.where(self.labelled(label)[..., None], steps, 0).astype(np.uint8)

    def from_stored(self, stored: np.ndarray) -> np.ndarray:
        vectors = (stored.astype(np.float32) - 128) / 127
        vectors[(stored == 0).all(-1)] = 0
        return vectors

    def read_file(self, path: Path, how: Mapping[str, Any]) -> np.ndarray:
        """Map 0..255 to -1..1, the usual coding of normal maps; vectors far from length 1 become "no label"."""
        vectors = read_channels(path).astype(np.float32) / 127.5 - 1
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return np.where(np.abs(length - 1) < 0.5, vectors / np.maximum(length, 0.5), np.float32(0))

    def write_file(self, label: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.rint((label + 1) * 127.5).astype(np.uint8)).save(buffer, "PNG")
        return buffer.getvalue()

    def colourise(self, label: np.ndarray, limits: tuple[float, float] | None = None) -> np.ndarray:
        """Draw the usual colours of normal maps: red right, green up, blue towards the camera."""
        colours = np.clip(label * (127.5, -127.5, -127.5) + 127.5, 0, 255)
        return np.where(self.labelled(label)[..., None], colours, MISSING).astype(np.uint8)

    def legend(self) -> np.ndarray:
        """Return a sphere that faces the viewer (x right, y down, −z to the viewer)."""
        y, x = np.mgrid[-1:1:96j, -1:1:96j]
        inside = x**2 + y**2 < 1
        vectors = np.stack([x, y, -np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))], -1) * inside[..., None]
        return vectors.astype(np.float32)

    def glance(self, label: np.ndarray) -> str:
        return "directions of surfaces"

    def score(self, label: np.ndarray, truth: np.ndarray) -> str:
        labelled = self.labelled(truth)
        return f"{_angles(label[labelled], truth[labelled]).mean():.1f}° off" if labelled.any() else ""

    def differ(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return _angles(one, other) > ANGLE


def _angles(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the angles between vectors ``(..., 3)`` in degrees, ``(...)``; 90 where one of them is zero.

    As in :meth:`trainer.kinds.vectors.UnitVectorLearning.measure`, they do not depend on the vectors' lengths: stored
    vectors have a length of 1 only up to rounding, which the arc cosine would take for an angle.
    """
    one, other = one.astype(np.float64), other.astype(np.float64)
    cosine = (one * other).sum(-1)
    angles = np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other), axis=-1), cosine))
    return np.where(np.any(one != 0, axis=-1) & np.any(other != 0, axis=-1), angles, 90)
