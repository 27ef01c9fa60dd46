"""SPDL's pipeline of threads over files in a folder."""

import random
from collections.abc import Iterator
from pathlib import Path

from spdl.pipeline import PipelineBuilder

from benchmarks.peers.readers import Decode, Sample, loose, stack
from benchmarks.peers.readers import plain as variant  # noqa: F401


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0
) -> Iterator[Sample]:
    if resume:
        raise SystemExit("cannot")
    samples, decode = loose(folder), Decode(crop)
    random.Random(0).shuffle(samples)

    def load(sample: dict[str, Path]) -> Sample:
        return decode({name: path.read_bytes() for name, path in sample.items()})

    pipeline = (
        PipelineBuilder()
        .add_source(samples)
        .pipe(load, concurrency=workers)
        .aggregate(size, drop_last=True)
        .pipe(stack)
        .add_sink(2)
        .build(num_threads=workers)
    )
    with pipeline.auto_stop():
        yield from pipeline.get_iterator()
