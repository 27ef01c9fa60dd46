"""What ``prepare --profile`` brings: samples a second and bytes of large frames from which crops are taken, one thread.

    python -m benchmarks.profiles [--photos FOLDER] [--frames N] [--rounds N]

Frames of 2048×1024 as Cityscapes stores them (RGB, 16-bit depth and classes as PNG), of which training takes crops of
512×1024: rendered rooms with a sensor's noise, or mosaics of a folder's own photographs (``rgb``, ``depth`` and
``semseg`` of one size). For each profile an epoch of the training loader, augmentation off, beside webdataset that
decodes the same PNG whole and crops it; all in turn, in one process, from the system's cache. What both give is
compared first.
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
from trainer.config import Augment
from trainer.memory import keep_freed_memory
from trainer.trainingdata import TrainingData

SIZE, CROP = (1024, 2048), (512, 1024)
DEPTH = Task("depth", "scalar", scale=1 / 128, unit="m")


class Rooms:
    """Rendered rooms, RGB as PNG, with the noise that a sensor has."""

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
    """Mosaics of a folder's photographs: the statistics of real pictures, at the size of a large one."""

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
            of = [read(self.path(kind, position * down * across + part)) for part in range(down * across)]
            rows = [np.concatenate(of[row * across : (row + 1) * across], 1) for row in range(down)]
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
    keep_freed_memory()  # as in training, for all that is compared
    source = Photos(options.photos, options.frames) if options.photos else Rooms(options.frames)
    with tempfile.TemporaryDirectory() as folder:
        made = {profile: pack(source, Path(folder, profile), profile=profile) for profile in PROFILES}
        data = {profile: training(manifest) for profile, manifest in made.items()}
        compare(*(next(ours(data[profile])) for profile in ("archive", "train")))
        ways: dict[str, Callable[[], Iterator[object]]] = {"webdataset, PNG": lambda: plain(made["archive"])}
        ways |= {f"--profile {profile}": lambda profile=profile: ours(data[profile]) for profile in PROFILES}  # type: ignore[misc]
        seconds = {name: [] for name in ways}  # type: dict[str, list[float]]
        for number in range(options.rounds + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                for _ in way():
                    pass
                seconds[name] += [time.perf_counter() - began] if number else []
        print(f"| {source.name} | ms a frame | spread | samples/s | as much as webdataset | MB a frame |")
        print("|---|---|---|---|---|---|")
        for name, found in seconds.items():
            taken = [1000 * each / options.frames for each in found]
            manifest = made[name.partition(" ")[2]] if name.startswith("--") else made["archive"]
            weight = sum(shard.bytes for shard in manifest.shards("train")) / options.frames / 1e6
            middle = statistics.median(taken)
            times = statistics.median(one / other for one, other in zip(seconds["webdataset, PNG"], found, strict=True))
            spread = f"{min(taken):.1f} to {max(taken):.1f}"
            print(f"| {name} | {middle:.1f} | {spread} | {1000 / middle:.1f} | {times:.1f}× | {weight:.2f} |")


def training(manifest: Manifest) -> TrainingData:
    names = [task.name for task in manifest.tasks]
    none = Augment(flip=False, zoom=[1.0], jitter=0.0)
    return TrainingData(ShardDataset(manifest), ["rgb"], names, crop=CROP, augment=none, num_workers=0)


def ours(data: TrainingData) -> Iterator[object]:
    return data.batches(Batches(2), 0, data.samples // 2)


def plain(manifest: Manifest) -> Iterator[object]:
    """What a reader of PNG writes with webdataset alone: whole images, then batches of crops."""
    rng = np.random.default_rng(0)
    tars = [str(manifest.folder / shard.file) for shard in manifest.shards("train")]
    batch: list[dict[str, torch.Tensor]] = []
    for sample in webdataset.WebDataset(tars, shardshuffle=False):
        top, left = (int(rng.integers(whole - part + 1)) for whole, part in zip(SIZE, CROP, strict=True))
        cut: dict[str, torch.Tensor] = {}
        for name in ("rgb", *(task.name for task in manifest.tasks)):
            array = np.asarray(Image.open(io.BytesIO(sample[f"{name}.png"])))
            part = array[top : top + CROP[0], left : left + CROP[1]]
            cut[name] = torch.from_numpy(np.ascontiguousarray(part if name != "depth" else part * np.float32(1 / 128)))
        batch.append(cut)
        if len(batch) == 2:
            yield {name: torch.stack([each[name] for each in batch]) for name in batch[0]}
            batch = []


def compare(one: object, other: object) -> None:
    """Make sure that two batches are equal, bit for bit."""
    assert one.rgb.equal(other.rgb)  # type: ignore[attr-defined]
    for name, labels in one.labels.items():  # type: ignore[attr-defined]
        assert labels.equal(other.labels[name]), name  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
