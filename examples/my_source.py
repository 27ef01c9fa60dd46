"""A source of one's own: ``tutelage prepare my_source:Arrays OUT FOLDER`` packs a folder of NumPy archives.

Each ``FOLDER/SPLIT/KEY.npz`` holds ``rgb``, uint8 ``(H, W, 3)``, and perhaps ``depth``, float32 ``(H, W)`` in metres, 0
where nothing was measured.
"""

from pathlib import Path
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.sources.base import Frame
from shards.tasks import Task


class Arrays:
    """What :class:`shards.sources.base.Source` asks for."""

    tasks = (Task("depth", "scalar", scale=0.001, unit="m"),)

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.name = self.folder.name
        self.splits = {
            split: sorted(path.stem for path in (self.folder / split).glob("*.npz")) for split in ("train", "val")
        }
        self.options: dict[str, Any] = {"source": "arrays"}

    def load(self, split: str, position: int) -> Frame:
        path = self.folder / split / f"{self.splits[split][position]}.npz"
        with np.load(path, allow_pickle=False) as arrays:
            if "rgb" not in arrays:
                raise UserError("has no array named rgb", file=path, hint="save one: numpy.savez(path, rgb=...)")
            labels = {"depth": arrays["depth"]} if "depth" in arrays else {}
            return Frame(arrays["rgb"], labels, {"file": f"{split}/{path.name}"})
