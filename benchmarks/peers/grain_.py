"""Grain over files in a folder, with threads, or with worker processes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grain
import numpy as np
import torch

from benchmarks.peers.readers import Decode, Sample, channels_first, loose


class Load:
    """A sample of a folder as arrays."""

    def __init__(self, folder: Path, crop: tuple[int, int] | None) -> None:
        self.samples, self.decode = loose(folder), Decode(crop)

    def __call__(self, index: int) -> dict[str, np.ndarray]:
        files = {name: path.read_bytes() for name, path in self.samples[int(index)].items()}
        return {name: tensor.numpy() for name, tensor in self.decode(files).items()}


def variant(text: str) -> dict[str, Any]:
    return {"processes": text == "processes"}


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0, processes: bool = False
) -> Iterator[Sample]:
    load = Load(folder, crop)
    data = grain.MapDataset.range(len(load.samples)).seed(0).shuffle().map(load).batch(size, drop_remainder=True)
    steps = len(load.samples) // size
    data = data.repeat(2)[resume : resume + steps] if resume else data
    threads = grain.ReadOptions(num_threads=0 if processes else workers, prefetch_buffer_size=4 if not processes else 1)
    found = data.to_iter_dataset(threads)
    if processes:
        found = found.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    for batch in found:
        yield channels_first({name: torch.from_numpy(array) for name, array in batch.items()})
