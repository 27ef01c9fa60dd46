"""The embedded data set: procedural indoor rooms with exact depth and classes, rendered while they are packed.

It needs no download and no licence. Rooms of boxes and planes are ray-cast by a pinhole camera with textures,
lights, shadows and sensor noise. All classes share colours and textures, so that colour hardly identifies a class and
depth helps, as in real images.
"""

from typing import Any

import numpy as np

from shards.errors import UserError
from shards.sources.base import Frame
from shards.sources.scenes.render import render
from shards.sources.scenes.room import build
from shards.sources.scenes.view import choose
from shards.tasks import Task

CLASSES: dict[str, tuple[int, int, int]] = {
    "wall": (174, 199, 232),
    "floor": (152, 223, 138),
    "ceiling": (197, 176, 213),
    "door": (214, 39, 40),
    "window": (23, 190, 207),
    "curtain": (219, 219, 141),
    "picture": (196, 156, 148),
    "rug": (227, 119, 194),
    "table": (255, 152, 150),
    "chair": (188, 189, 34),
    "sofa": (140, 86, 75),
    "bed": (255, 187, 120),
    "cabinet": (31, 119, 180),
    "shelf": (148, 103, 189),
    "lamp": (255, 127, 14),
    "box": (44, 160, 44),
    "book": (247, 182, 210),
}
"""Class names in index order, and their colours in pictures."""

VERSION = 1
"""Version of the rendering; increased when the same options give other frames."""
_SPLITS = ("train", "val")


class Scenes:
    """Rendered rooms; see :class:`shards.sources.base.Source`.

    A frame is a function of (seed, split, position, size) alone, and its content does not depend on the size. Depth
    is z-depth: metres along the camera's optical axis. A frame's ``meta`` contains

    - ``intrinsics``: fx, fy, cx, cy in pixels; the centre of pixel (row, column) is at (row, column);
    - ``camera_to_world``: 4 × 4; camera x right, y down, z forward; world z up, metres;
    - ``room``: width (world x), length (y) and height (z); the room is the box from the origin to this point.

    Args:
        train: number of training frames.
        val: number of validation frames.
        size: height and width of the frames.
        seed: seed of all random choices; another seed gives other rooms.
    """

    name = "scenes"

    def __init__(self, train: int = 400, val: int = 100, size: tuple[int, int] = (96, 128), seed: int = 0) -> None:
        for key, value, least in (("train", train, 0), ("val", val, 0), ("seed", seed, 0), ("size", min(size), 8)):
            if value < least:
                raise UserError(f"{value} is less than {least}", key=f"scenes.{key}", hint=f"give {least} or more")
        self.size = (int(size[0]), int(size[1]))
        self.seed = seed
        self.tasks = (
            Task("semseg", "classes", classes=tuple(CLASSES), colours=tuple(CLASSES.values())),
            Task("depth", "scalar", scale=0.001, unit="m"),
        )
        counts = zip(_SPLITS, (train, val), strict=True)
        self.splits = {split: [f"{split}_{position:06d}" for position in range(count)] for split, count in counts}
        self.options: dict[str, Any] = {
            "train": train,
            "val": val,
            "size": list(self.size),
            "seed": seed,
            "version": VERSION,
        }

    def load(self, split: str, position: int) -> Frame:
        """Render ``splits[split][position]``: RGB uint8 ``(H, W, 3)``, ``semseg`` and ``depth``."""
        layout, light = np.random.SeedSequence([self.seed, _SPLITS.index(split), position]).spawn(2)
        rng = np.random.Generator(np.random.PCG64(layout))
        room = build(rng)
        camera = choose(rng, room).camera(self.size)
        rgb, depth, surface = render(room, camera, np.random.Generator(np.random.PCG64(light)))
        names = list(CLASSES)
        classes = np.array([names.index(label) for label in room.labels], np.uint8)
        (cx, cy), focal = camera.centre, camera.focal
        meta = {
            "source": self.name,
            "seed": self.seed,
            "intrinsics": {"fx": focal, "fy": focal, "cx": cx, "cy": cy},
            "camera_to_world": camera.pose().tolist(),
            "room": list(room.size),
        }
        return Frame(rgb, {"semseg": classes[surface], "depth": depth}, meta)
