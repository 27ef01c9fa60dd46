"""A custom source of frames: ``tutelage prepare my_source:Arrays OUT FOLDER`` packs a folder of NumPy archives.

Each ``FOLDER/SPLIT/NAME.npz`` holds ``rgb``, uint8 ``(H, W, 3)``, and optionally ``semseg``, uint8 ``(H, W)``, class
indices, 255 for none, and ``depth``, float32 ``(H, W)`` in metres, 0 where nothing was measured.
"""

from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import key_of
from shards.errors import UserError
from shards.sources.base import Frame
from shards.tasks import Task

CLASSES = {"floor": (128, 64, 128), "wall": (70, 70, 70), "thing": (220, 20, 60)}


class Arrays:
    """Implements :class:`shards.sources.base.Source`, with ``files``, so that changed archives are noticed."""

    tasks = (
        Task("semseg", "classes", classes=tuple(CLASSES), colours=tuple(CLASSES.values())),  # colours: or a palette
        Task("depth", "scalar", scale=0.001, unit="m"),  # given in metres, stored in steps of 1 mm, up to 65.535 m
    )

    def __init__(self, folder: str) -> None:
        root = Path(folder)
        self.name = key_of(root.resolve().name)
        self.paths = {split: sorted((root / split).glob("*.npz")) for split in ("train", "val")}
        self.splits = {split: [f"{split}_{key_of(path.stem)}" for path in paths] for split, paths in self.paths.items()}
        self.options: dict[str, Any] = {"source": "arrays"}

    def files(self, split: str, position: int) -> dict[str, Path]:
        return {"arrays": self.paths[split][position]}

    def load(self, split: str, position: int) -> Frame:
        path = self.paths[split][position]
        with np.load(path, allow_pickle=False) as arrays:  # an error for a damaged file leaves that frame out
            if "rgb" not in arrays:
                raise UserError("has no array named rgb", file=path, hint="save one: numpy.savez(path, rgb=...)")
            labels = {task.name: arrays[task.name] for task in self.tasks if task.name in arrays}
            meta, files = {"file": f"{split}/{path.name}"}, dict.fromkeys(("rgb", *labels), path)
            return Frame(arrays["rgb"], labels, meta, files)
