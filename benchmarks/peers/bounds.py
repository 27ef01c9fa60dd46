"""The bounds: decoding bytes that lie in memory with as many threads, and reading them without decoding."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.readers import Decode, Sample, loose, stack


def variant(text: str) -> dict[str, Any]:
    return {"decoding": text == "decode"}


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0, decoding: bool = True
) -> Iterator[Sample]:
    if resume:
        raise SystemExit("cannot")
    samples, decode = loose(folder), Decode(crop)
    groups = [samples[start : start + size] for start in range(0, len(samples) - size + 1, size)]

    def read(sample: dict[str, Path]) -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in sample.items()}

    with ThreadPoolExecutor(workers) as pool:
        if not decoding:
            empty = stack([decode(read(sample)) for sample in groups[0]])
            for _ in pool.map(lambda group: [read(sample) for sample in group], groups):
                yield empty
            return
        ready = [[read(sample) for sample in group] for group in groups]
        # samples are the unit of work, as for the loaders of threads; batches are not waited for ahead of their turn
        decoded = pool.map(decode, (files for group in ready for files in group))
        for _ in groups:
            yield stack([next(decoded) for _ in range(size)])


torch.set_num_threads(1)
