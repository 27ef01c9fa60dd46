"""Position and direction of the camera in a room of :mod:`shards.sources.scenes`."""

from dataclasses import dataclass

import numpy as np

from shards.sources.scenes.geometry import Camera, enter_and_leave, look, rotate
from shards.sources.scenes.plan import Prism
from shards.sources.scenes.room import SHELL, Room

CANDIDATES = 10
CLEARANCE = 0.25
"""Smallest distance in metres of the camera from furniture and walls."""
NEAREST = 0.5
"""Distance in metres within which a good view shows nothing."""
_PROBE = (6, 8)
"""Rows and columns of the rays that score a view."""


@dataclass(frozen=True)
class View:
    """A camera's pose, and the angle that the image's longer side spans (radians)."""

    rotation: np.ndarray
    position: np.ndarray
    angle: float

    def camera(self, size: tuple[int, int]) -> Camera:
        """Return the camera for an image of ``(H, W)`` pixels."""
        return Camera(size, max(size) / 2 / float(np.tan(self.angle / 2)), self.rotation, self.position)


def choose(rng: np.random.Generator, room: Room) -> View:
    """Draw candidate views, and return the one with the highest score."""
    views = [_candidate(rng, room) for _ in range(CANDIDATES)]
    scores = [_score(view, room) for view in views]
    return views[int(np.argmax(scores))]


def _candidate(rng: np.random.Generator, room: Room) -> View:
    """Draw a free position at the height of a robot's or a person's camera, facing an object or across the room."""
    width, length, _ = room.size
    for _ in range(20):
        x, y = rng.uniform(CLEARANCE, (width - CLEARANCE, length - CLEARANCE))
        z = rng.uniform(0.8, 1.75)
        space = Prism(x, y, 0.0, CLEARANCE, CLEARANCE, z - CLEARANCE, z + CLEARANCE)
        if not any(space.overlaps(piece) for piece in room.solid):
            break
    targets = [(width / 2, length / 2, 1.0), *(prism.middle for prism in (*room.solid, *room.reserved))]
    target = targets[rng.integers(len(targets))] + rng.normal(0, 0.3, 3)
    ahead = target - (x, y, z)
    yaw = np.arctan2(ahead[1], ahead[0])
    pitch = np.arctan2(ahead[2], np.hypot(ahead[0], ahead[1])).clip(-0.6, 0.2)
    rotation = look(yaw, pitch, rng.normal(0, 0.03))
    return View(rotation, np.array([x, y, z]), np.radians(rng.uniform(58, 82)))


def _score(view: View, room: Room) -> float:
    """Score a view by the boxes and classes that a coarse grid of rays hits; low where the view is blocked."""
    camera, boxes = view.camera(_PROBE), room.boxes
    rays = camera.rays().reshape(3, 1, -1)
    origin = boxes.to_local(camera.position.astype(np.float32)[:, None] - boxes.centre)
    enter, leave = enter_and_leave(origin[:, :, None], rotate(rays, -boxes.yaw[:, None]), boxes.half[:, :, None])
    depth = np.where((enter < leave) & (leave > 0), enter, np.inf)
    depth[0] = leave[0]
    nearest = depth.min(0)
    seen = np.unique(depth.argmin(0))
    labels = {room.labels[box + len(SHELL) - 1] for box in seen if box > 0}
    blocked = nearest.min() < NEAREST or np.quantile(nearest, 0.25) < 1.2
    return len(labels) + 0.1 * seen.size + float(np.clip(nearest.min(), 0, NEAREST)) - 100 * blocked
