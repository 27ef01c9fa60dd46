"""Ours: threads over tar shards read in place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peers.readers import Sample
from shards import fastdecode
from shards.dataset import ShardDataset
from shards.stream import Batches
from trainer.sections import Augment
from trainer.trainingdata import TrainingData


def variant(text: str) -> dict[str, Any]:
    return {"pillow": True} if text == "pillow" else {"profile": text or "archive"}


def batches(
    folder: Path,
    size: int,
    workers: int,
    crop: tuple[int, int] | None,
    *,
    resume: int = 0,
    profile: str = "archive",
    pillow: bool = False,
) -> Iterator[Sample]:
    if pillow:
        fastdecode.has_imagecodecs = lambda: False  # type: ignore[assignment]
    train = ShardDataset(folder / profile)
    none = Augment(flip=False, zoom=[1.0], jitter=0.0)
    data = TrainingData(train, ["rgb"], ["depth", "semseg"], crop=crop, augment=none, num_workers=workers)
    steps = data.samples // size
    for batch in data.batches(Batches(size), resume, resume + steps):
        yield {"rgb": batch.rgb, "depth": batch.labels["depth"][:, 0], "semseg": batch.labels["semseg"]}
