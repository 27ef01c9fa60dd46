"""A data set that is small enough to be made in every test: frames of blocks, whose class gives colour and depth.

It is not in a conftest, so that worker processes can import it too.
"""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shards.errors import BadFile
from shards.manifest import Manifest
from shards.sources.base import Frame
from shards.statistics import merge
from shards.tasks import IGNORE, Task, palette
from shards.write import EncodedSample, shard_info, write_shard

SIZE = (32, 64)
BLOCK = 8
SEMSEG = Task("semseg", "classes", classes=("floor", "wall", "person", "shelf"), colours=palette(4))
DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")


def hang() -> None:
    time.sleep(600)


def unreadable() -> None:
    raise BadFile("cannot be read", file="gone.png", hint="restore it")


@dataclass(frozen=True)
class Tiny:
    """A source of frames with ``semseg`` and ``depth``.

    By position, the 3rd of every 3 frames lacks ``semseg`` and the 4th of every 4 ``depth``: of 12 frames 8 carry
    semseg, 9 depth, 6 both and one neither. RGB is the bytes of a PNG at even positions, and an array at odd ones.

    Args:
        train, val: number of frames of the splits.
        options: options of the source, as the manifest stores them.
        at, act: ``act`` is called when training frame ``at`` is loaded, so that a test can interrupt the work there.
    """

    train: int = 12
    val: int = 5
    options: dict[str, Any] = field(default_factory=dict)
    at: int | None = None
    act: Callable[[], Any] = hang
    name: str = "tiny"
    tasks: tuple[Task, ...] = (SEMSEG, DEPTH)

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        return {split: [f"{split}-{i:03d}" for i in range(getattr(self, split))] for split in ("train", "val")}

    def load(self, split: str, position: int) -> Frame:
        if split == "train" and position == self.at:
            self.act()
        random = np.random.default_rng([len(split), position])
        classes = random.integers(0, 4, (SIZE[0] // BLOCK, SIZE[1] // BLOCK), dtype=np.uint8)
        classes = np.kron(classes, np.ones((BLOCK, BLOCK), np.uint8))
        rgb = np.asarray(SEMSEG.colours, np.uint8)[classes] + random.integers(0, 32, (*SIZE, 3), dtype=np.uint8)
        depth = (1 + classes + np.linspace(0, 1, SIZE[0])[:, None]).astype(np.float32)
        semseg = classes.copy()
        semseg[:2], depth[:, :3] = IGNORE, 0
        labels: dict[str, np.ndarray] = {"semseg": semseg, "depth": depth}
        if position % 3 == 2:
            del labels["semseg"]
        if position % 4 == 3:
            del labels["depth"]
        files = {"rgb": Path(f"raw/{split}/{position}.png")}
        return Frame(rgb if position % 2 else png(rgb), labels, {"position": position}, files)


def png(array: np.ndarray) -> bytes:
    """Return an array as the bytes of a PNG, written by Pillow alone."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def dataset_of(
    folder: Path, members: Mapping[str, Mapping[str, bytes]], tasks: tuple[Task, ...], label_format: str = "png"
) -> Manifest:
    """Write a data set of one shard with exactly these members, by key and extension, however invalid they are.

    Its hashes are right, so that reading can fail only because of the members.
    """
    statistics: dict[str, Any] = {task.name: merge(task, []) for task in tasks}
    samples = [EncodedSample(key, dict(contents), {}) for key, contents in members.items()]
    index = write_shard(folder / "train-000000.tar", samples, lambda contents: statistics)
    splits = {"train": (shard_info(folder, index),)}
    entries = {"train": statistics}
    manifest = Manifest(folder, "forged", "frames", None, tasks, splits, entries, label_format=label_format)
    manifest.save()
    return manifest
