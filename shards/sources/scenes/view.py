"""Where the camera stands in a room of :mod:`shards.sources.scenes`, and where it looks."""

from dataclasses import dataclass

import numpy as np

from shards.sources.scenes.geometry import Camera, enter_and_leave, look, rotate
from shards.sources.scenes.plan import Prism
from shards.sources.scenes.room import SHELL, Room

CANDIDATES = 10
CLEARANCE = 0.25
"""Metres that the camera keeps from furniture and walls."""
NEAREST = 0.5
"""Metres within which a good view shows nothing."""
_PROBE = (6, 8)
"""Rays that judge a view, as rows and columns."""


@dataclass(frozen=True)
class View:
    """A camera's pose, and the angle that the image's longer side spans (radians)."""

    rotation: np.ndarray
    position: np.ndarray
    angle: float

    def camera(self, size: tuple[int, int]) -> Camera:
        """The camera that makes an image of ``(H, W)`` pixels of it."""
        return Camera(size, max(size) / 2 / float(np.tan(self.angle / 2)), self.rotation, self.position)


def choose(rng: np.random.Generator, room: Room) -> View:
    """The candidate that shows the most, of those that nothing stands in the way of."""
    views = [_candidate(rng, room) for _ in range(CANDIDATES)]
    scores = [_score(view, room) for view in views]
    return views[int(np.argmax(scores))]


def _candidate(rng: np.random.Generator, room: Room) -> View:
    """A free place at the height of a robot's or a person's camera, looking at something or across the room."""
    width, length, _ = room.size
    for _ in range(20):
        x, y = rng.uniform(CLEARANCE, (width - CLEARANCE, length - CLEARANCE))
        z = rng.uniform(0.8, 1.75)
        here = Prism(x, y, 0.0, CLEARANCE, CLEARANCE, z - CLEARANCE, z + CLEARANCE)
        if not any(here.overlaps(other) for other in room.solid):
            break
    targets = [(width / 2, length / 2, 1.0), *(prism.middle for prism in (*room.solid, *room.kept))]
    target = targets[rng.integers(len(targets))] + rng.normal(0, 0.3, 3)
    ahead = target - (x, y, z)
    yaw = np.arctan2(ahead[1], ahead[0])
    pitch = np.arctan2(ahead[2], np.hypot(ahead[0], ahead[1])).clip(-0.6, 0.2)
    rotation = look(yaw, pitch, rng.normal(0, 0.03))
    return View(rotation, np.array([x, y, z]), np.radians(rng.uniform(58, 82)))


def _score(view: View, room: Room) -> float:
    """How many boxes and classes a coarse grid of rays meets; little where something stands right ahead."""
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
