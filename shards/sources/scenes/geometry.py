"""Geometry of :mod:`shards.sources.scenes`: boxes, rays and the pinhole camera.

World frame: x and y horizontal, z up, metres. Camera frame: x right, y down, z forward (OpenCV's). The centre of pixel
``(row, column)`` is at these integers. A pixel's ray is not normalised: its camera z is 1, so the ray parameter of a
point **is** its z-depth. Vectors are stored with components first, ``(3, ...)``, which is fast in NumPy.

Every solid object is an upright box, rotated about the vertical axis only. Its local frame has its origin at the box's
centre; yaw turns local x towards local y (counter-clockwise, seen from above).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

Vectors = np.ndarray | Sequence[np.ndarray]
"""Three arrays, x, y and z, stacked or not."""
TINY = np.float32(1e-9)
THIN = 0.008
"""Half thickness in metres; thinner boxes cast no shadow: panes, rugs, skirting boards."""
NEAR = 0.05
"""Smallest distance in metres in front of the camera at which a corner is projected."""
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)


@dataclass(frozen=True)
class Boxes:
    """Upright boxes as float32 arrays; box 0 is the room itself, seen from inside.

    Args:
        centre: ``(3, B)`` metres.
        half: half of the extent along the local axes, ``(3, B)`` metres.
        yaw: ``(B,)`` radians.
    """

    centre: np.ndarray
    half: np.ndarray
    yaw: np.ndarray

    def to_local(self, vectors: np.ndarray, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Rotate world vectors ``(3, N)`` to the frames of all boxes, or of the boxes ``index``, ``(N,)``."""
        return np.stack(rotate(vectors, -self.yaw[index]))

    def corners(self) -> np.ndarray:
        """Return the eight corners of every box in world coordinates, ``(3, B, 8)``."""
        local = self.half[:, :, None] * _CORNERS.T[:, None, :]
        return self.centre[:, :, None] + np.stack(rotate(local, self.yaw[:, None]))


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Args:
        size: ``(H, W)`` pixels.
        focal: focal length in pixels, the same for rows and columns; the principal point is the image's centre.
        rotation: camera to world, ``(3, 3)``: its columns are the camera's right, down and forward.
        position: position of the pinhole in the world, ``(3,)`` metres.
    """

    size: tuple[int, int]
    focal: float
    rotation: np.ndarray
    position: np.ndarray

    @property
    def centre(self) -> tuple[float, float]:
        """The principal point (cx, cy) in pixels."""
        return (self.size[1] - 1) / 2, (self.size[0] - 1) / 2

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Return camera x of every column's rays, ``(W,)``, and camera y of every row's rays, ``(H,)``, at z = 1."""
        (height, width), (cx, cy) = self.size, self.centre
        x = (np.arange(width, dtype=np.float32) - np.float32(cx)) / np.float32(self.focal)
        y = (np.arange(height, dtype=np.float32) - np.float32(cy)) / np.float32(self.focal)
        return x, y

    def rays(self) -> np.ndarray:
        """Return ray directions in the world, ``(3, H, W)``: position + z-depth × direction is the visible point."""
        x, y = self.axes()
        rotation = self.rotation.astype(np.float32)
        return np.stack([r[0] * x + (r[1] * y + r[2])[:, None] for r in rotation])

    def pose(self) -> np.ndarray:
        """Return the camera-to-world matrix, ``(4, 4)``."""
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = self.rotation, self.position
        return pose


def rotate(vectors: Vectors, yaw: np.ndarray | np.floating) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotate vectors ``(3, ...)`` about the vertical by ``yaw`` radians (broadcast over the rest); return x, y, z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y, z = vectors
    return cos * x - sin * y, sin * x + cos * y, z


def look(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the camera-to-world rotation that looks along ``yaw``, up by ``pitch``, turned by ``roll`` (radians)."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.stack([cos * right + sin * down, cos * down - sin * right, forward], axis=1)


def enter_and_leave(origin: Vectors, direction: Vectors, half: Vectors) -> tuple[np.ndarray, np.ndarray]:
    """Intersect rays with boxes centred at the origin; a ray misses its box when it leaves before it enters.

    The slab method of Kay and Kajiya, "Ray Tracing Complex Scenes" (SIGGRAPH 1986).

    Args:
        origin, direction, half: arrays of x, y and z that broadcast together.

    Returns:
        The ray parameters of entering and leaving; negative ones lie behind the ray's origin.
    """
    enters, leaves = [], []
    for o, d, h in zip(origin, direction, half, strict=True):
        inverse = 1 / (d + TINY)  # avoids division by zero for rays parallel to the slab
        middle, reach = -o * inverse, h * np.abs(inverse)
        enters.append(middle - reach)
        leaves.append(middle + reach)
    return reduce(np.maximum, enters), reduce(np.minimum, leaves)


def cast(camera: Camera, boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest surface at every pixel.

    Returns:
        z-depth in metres, float32 ``(H, W)``, and the index of the visible box, ``(H, W)``.
    """
    x, y = camera.axes()
    position = camera.position.astype(np.float32)
    _, depth = enter_and_leave(position - boxes.centre[:, 0], camera.rays(), boxes.half[:, 0])
    index = np.zeros(camera.size, np.int32)

    origins = boxes.to_local(position[:, None] - boxes.centre)
    axes = np.broadcast_to(camera.rotation.astype(np.float32)[:, :, None], (3, 3, boxes.yaw.size))
    turns = np.stack(rotate(axes, -boxes.yaw))  # camera to local: (3 local axes, 3 camera axes, B)
    for box, rows, columns in _visible(camera, boxes):
        direction = [t[0] * x[columns] + (t[1] * y[rows] + t[2])[:, None] for t in turns[:, :, box]]
        enter, leave = enter_and_leave(origins[:, box], direction, boxes.half[:, box])
        window = depth[rows, columns]
        hit = (enter < leave) & (enter > 0) & (enter < window)
        np.copyto(window, enter, where=hit)
        np.copyto(index[rows, columns], box, where=hit)
    return depth, index


def _visible(camera: Camera, boxes: Boxes) -> list[tuple[int, slice, slice]]:
    """Return the boxes that may be visible, each with the rows and columns that its projection touches."""
    corners = boxes.corners() - camera.position.astype(np.float32)[:, None, None]
    x, y, z = np.einsum("wc,wbk->cbk", camera.rotation.astype(np.float32), corners)
    (height, width), (cx, cy) = camera.size, camera.centre
    crossing = (z < NEAR).any(axis=1)
    z = np.maximum(z, NEAR)
    scale = np.float32(camera.focal) / z
    columns, rows = x * scale + np.float32(cx), y * scale + np.float32(cy)
    left, right = np.floor(columns.min(1)).clip(0, width), np.ceil(columns.max(1) + 1).clip(0, width)
    top, bottom = np.floor(rows.min(1)).clip(0, height), np.ceil(rows.max(1) + 1).clip(0, height)
    # A box that reaches behind the camera may project anywhere.
    left[crossing], right[crossing], top[crossing], bottom[crossing] = 0, width, 0, height
    seen = (z > NEAR).any(axis=1) & (left < right) & (top < bottom)
    edges = np.stack([top, bottom, left, right]).astype(int)
    return [
        (int(box), slice(edges[0, box], edges[1, box]), slice(edges[2, box], edges[3, box]))
        for box in np.flatnonzero(seen)
        if box > 0
    ]


def shadowed(points: np.ndarray, targets: np.ndarray, light: np.ndarray, spread: float, boxes: Boxes) -> np.ndarray:
    """Return which points a box hides from a light.

    A box is only tested against the points in the cone behind its bounding sphere, about one in ten.

    Args:
        points: ``(3, N)``, slightly off their surfaces.
        targets: the position on the light that each point is tested against, ``(3, N)``.
        light: the light's centre, ``(3,)``.
        spread: the largest distance of a target from the centre, metres.
        boxes: all boxes; the room and thin boxes (:data:`THIN`) cast no shadow.

    Returns:
        bool ``(N,)``.
    """
    segments = np.concatenate([points, targets - points])
    sight = points - light[:, None]
    distance = np.sqrt((sight**2).sum(0))
    sight /= distance
    axes = boxes.centre - light[:, None]
    away = np.sqrt((axes**2).sum(0))
    axes /= away
    radius = np.sqrt((boxes.half**2).sum(0)) + np.float32(spread)
    cosine = np.where(radius < away, np.sqrt(1 - np.minimum(radius / away, 1) ** 2), -1)  # -1: light in the sphere
    nearest = np.maximum(away - radius, 0)
    for box in np.flatnonzero(boxes.half.min(0) > THIN)[1:]:
        along = axes[0, box] * sight[0] + axes[1, box] * sight[1] + axes[2, box] * sight[2]
        behind = np.flatnonzero((along > cosine[box]) & (distance > nearest[box]))
        if behind.size:
            start, ray = np.split(segments.take(behind, axis=1), 2)
            start -= boxes.centre[:, box, None]
            turn = -boxes.yaw[box]
            enter, leave = enter_and_leave(rotate(start, turn), rotate(ray, turn), boxes.half[:, box])
            distance[behind[(enter < leave) & (enter > 0) & (enter < 1)]] = -1  # hidden: not tested any more
    return distance < 0
