"""A source of one frame, as a user could write it."""

import numpy as np
from tiny import DEPTH, NORMALS, SEMSEG

from shards.sources.base import Frame
from shards.tasks import Task

SHAPE = (8, 10)
RGB = np.full((*SHAPE, 3), 7, np.uint8)
CLASSES = np.zeros(SHAPE, np.uint8)
METRES = np.linspace(1, 5, 80, dtype=np.float32).reshape(SHAPE)
MASKS = Task("ground", "binary", classes=("drivable",))
GOOD = Frame(RGB, {"semseg": CLASSES, "depth": METRES})


class Own:
    """A source of two training frames and one validation frame, which are all ``frame`` or what it returns."""

    name, options = "own", {}
    tasks = (SEMSEG, DEPTH, NORMALS, MASKS)

    def __init__(self, frame=GOOD, **parts):
        self.frame = frame
        self.splits = {"train": ["a", "b"], "val": ["c"]}
        self.__dict__.update(parts)

    def load(self, split, position):
        return self.frame() if callable(self.frame) else self.frame


def make_frame(rgb=RGB, meta=None, files=None, **labels):
    return Frame(rgb, labels, meta or {}, files or {})
