"""Benefit of ``prepare --profile``: samples per second and bytes of large frames with crops, on one thread.

    python -m benchmarks.profiles [--photos FOLDER] [--frames N] [--rounds N]

Frames of 2048×1024 as stored by Cityscapes (RGB, 16-bit depth and classes as PNG), from which training takes crops of
512×1024: rendered rooms with sensor noise, or mosaics of the photographs in a folder (``rgb``, ``depth`` and ``semseg``
of one size). For each profile, an epoch of the training loader without augmentation is compared with webdataset, which
decodes the same PNG completely and crops it; in turn, in one process, from the system's cache. The batches are first
checked to be equal.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import webdataset
from PIL import Image

from shards.codec import encode_png
from shards.dataset import ShardDataset
from shards.manifest import Manifest
from shards.members import PROFILES
from shards.pack import pack
from shards.sources.base import Frame
from shards.sources.scenes import Scenes
from shards.stream import Batches
from shards.tasks import Task, palette
from trainer.memory import keep_freed_memory
from trainer.sections import Augment
from trainer.trainingdata import TrainingData

SIZE, CROP = (1024, 2048), (512, 1024)
DEPTH = Task("depth", "scalar", scale=1 / 128, unit="m")


class Rooms:
    """Rendered rooms with sensor noise, RGB as PNG."""

    name = "rooms"

    def __init__(self, frames: int) -> None:
        self.options: dict[str, object] = {}
        self.scenes = Scenes(frames, 0, SIZE)
        self.tasks, self.splits = self.scenes.tasks, {"train": self.scenes.splits["train"]}

    def load(self, split: str, position: int) -> Frame:
        frame = self.scenes.load(split, position)
        noise = np.random.default_rng(position).normal(0, 2, (*SIZE, 3))
        rgb = np.clip(np.asarray(frame.rgb) + noise, 0, 255).astype(np.uint8)
        return Frame(encode_png(rgb), frame.labels)


class Photos:
    """Mosaics of a folder's photographs: large frames with the statistics of real pictures."""

    name = "photos"

    def __init__(self, folder: Path, frames: int) -> None:
        self.options: dict[str, object] = {}
        self.photos = sorted((folder / "rgb").iterdir())
        self.tasks = (Task("semseg", "classes", classes=tuple(map(str, range(41))), colours=palette(41)), DEPTH)
        self.splits = {"train": [f"mosaic-{number:03d}" for number in range(frames)]}

    def load(self, split: str, position: int) -> Frame:
        def mosaic(kind: str) -> np.ndarray:
            first = read(self.path(kind, 0))
            down, across = (-(-side // part) for side, part in zip(SIZE, first.shape[:2], strict=True))
            photos = [read(self.path(kind, position * down * across + part)) for part in range(down * across)]
            rows = [np.concatenate(photos[row * across : (row + 1) * across], 1) for row in range(down)]
            return np.concatenate(rows)[: SIZE[0], : SIZE[1]]

        rng = np.random.default_rng(position)
        depth = mosaic("depth") / 1000 + rng.normal(0, 1 / 64, SIZE)
        return Frame(encode_png(mosaic("rgb")), {"semseg": mosaic("semseg"), "depth": depth.astype(np.float32)})

    def path(self, kind: str, number: int) -> Path:
        rgb = self.photos[number % len(self.photos)]
        return rgb if kind == "rgb" else rgb.parents[1] / kind / f"{rgb.stem}.png"


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=Path, metavar="FOLDER")
    arguments.add_argument("--frames", type=int, default=12)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as in training, for all readers
    source = Photos(options.photos, options.frames) if options.photos else Rooms(options.frames)
    with tempfile.TemporaryDirectory() as folder:
        manifests = {profile: pack(source, Path(folder, profile), profile=profile) for profile in PROFILES}
        data = {profile: training_data(manifest) for profile, manifest in manifests.items()}
        check_equal(*(next(tutelage_batches(data[profile])) for profile in ("archive", "train")))
        readers: dict[str, Callable[[], Iterator[object]]] = {
            "webdataset, PNG": lambda: webdataset_batches(manifests["archive"])
        }
        readers |= {
            f"--profile {profile}": lambda profile=profile: tutelage_batches(data[profile])  # type: ignore[misc]
            for profile in PROFILES
        }
        seconds = {name: [] for name in readers}  # type: dict[str, list[float]]
        for number in range(options.rounds + 1):
            for name, reader in readers.items():
                start = time.perf_counter()
                for _ in reader():
                    pass
                seconds[name] += [time.perf_counter() - start] if number else []
        print(f"| {source.name} | ms a frame | spread | samples/s | as much as webdataset | MB a frame |")
        print("|---|---|---|---|---|---|")
        for name, reader_seconds in seconds.items():
            milliseconds = [1000 * value / options.frames for value in reader_seconds]
            manifest = manifests[name.partition(" ")[2]] if name.startswith("--") else manifests["archive"]
            megabytes = sum(shard.bytes for shard in manifest.shards("train")) / options.frames / 1e6
            median = statistics.median(milliseconds)
            pairs = zip(seconds["webdataset, PNG"], reader_seconds, strict=True)
            speedup = statistics.median(reference / measured for reference, measured in pairs)
            spread = f"{min(milliseconds):.1f} to {max(milliseconds):.1f}"
            print(f"| {name} | {median:.1f} | {spread} | {1000 / median:.1f} | {speedup:.1f}× | {megabytes:.2f} |")


def training_data(manifest: Manifest) -> TrainingData:
    names = [task.name for task in manifest.tasks]
    none = Augment(flip=False, zoom=[1.0], jitter=0.0)
    return TrainingData(ShardDataset(manifest), ["rgb"], names, crop=CROP, augment=none, num_workers=0)


def tutelage_batches(data: TrainingData) -> Iterator[object]:
    return data.batches(Batches(2), 0, data.samples // 2)


def webdataset_batches(manifest: Manifest) -> Iterator[object]:
    """Yield batches of crops as read with plain webdataset, which decodes whole PNG images."""
    rng = np.random.default_rng(0)
    tars = [str(manifest.folder / shard.file) for shard in manifest.shards("train")]
    batch: list[dict[str, torch.Tensor]] = []
    for sample in webdataset.WebDataset(tars, shardshuffle=False):
        top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(SIZE, CROP, strict=True))
        crop: dict[str, torch.Tensor] = {}
        for name in ("rgb", *(task.name for task in manifest.tasks)):
            array = np.asarray(Image.open(io.BytesIO(sample[f"{name}.png"])))
            part = array[top : top + CROP[0], left : left + CROP[1]]
            crop[name] = torch.from_numpy(np.ascontiguousarray(part if name != "depth" else part * np.float32(1 / 128)))
        batch.append(crop)
        if len(batch) == 2:
            yield {name: torch.stack([crops[name] for crops in batch]) for name in batch[0]}
            batch = []


def check_equal(first: object, second: object) -> None:
    """Check that two batches are equal, bit for bit."""
    assert first.rgb.equal(second.rgb)  # type: ignore[attr-defined]
    for name, labels in first.labels.items():  # type: ignore[attr-defined]
        assert labels.equal(second.labels[name]), name  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
