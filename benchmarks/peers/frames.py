"""The frames of each workload, as sources that worker processes can be given."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.profiles import Photos, Rooms
from shards.resize import resize_label, resize_rgb
from shards.sources.base import Frame, Source


class Small:
    """Frames of another source, resized; RGB as JPEG."""

    def __init__(self, source: Source, size: tuple[int, int], name: str) -> None:
        self.source, self.size, self.name = source, size, name
        self.tasks, self.splits, self.options = source.tasks, source.splits, {"of": source.name}

    def load(self, split: str, position: int) -> Frame:
        frame = self.source.load(split, position)
        rgb = np.asarray(frame.rgb) if isinstance(frame.rgb, np.ndarray) else decoded(frame.rgb)
        labels = {name: resize_label(label, self.size) for name, label in frame.labels.items()}
        return Frame(resize_rgb(rgb, self.size), labels)


class Single(Photos):
    """Photographs as they are."""

    def load(self, split: str, position: int) -> Frame:
        def array(kind: str) -> np.ndarray:
            with Image.open(self.path(kind, position)) as image:
                return np.asarray(image)

        rgb = self.path("rgb", position).read_bytes()
        return Frame(rgb, {"semseg": array("semseg"), "depth": (array("depth") / 1000).astype(np.float32)})


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def workloads(photos: Path | None, quick: bool) -> dict[str, Any]:
    frames, large, tiny = (64, 20, 256) if quick else (400, 40, 2000)
    if photos:
        several: Any = Single(photos, frames)
        return {
            "frames": several,
            "large": Photos(photos, large),
            "tiny": Small(Single(photos, tiny), (96, 128), "tiny"),
        }
    return {
        "frames": Small(Rooms(frames), (480, 640), "rooms"),
        "large": Rooms(large),
        "tiny": Small(Rooms(tiny), (96, 128), "tiny"),
    }
