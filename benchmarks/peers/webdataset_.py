"""webdataset over our tars, with its own loader of worker processes."""

from collections.abc import Iterator
from pathlib import Path

import webdataset

from benchmarks.peers.readers import Decode, Sample, stack
from benchmarks.peers.readers import plain as variant  # noqa: F401


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0
) -> Iterator[Sample]:
    if resume:
        raise SystemExit("cannot")
    tars = sorted(str(path) for path in (folder / "archive").glob("train-*.tar"))
    data = webdataset.WebDataset(tars, shardshuffle=len(tars)).shuffle(4 * size).map(Decode(crop))
    data = data.batched(size, collation_fn=stack, partial=False)
    return iter(webdataset.WebLoader(data, batch_size=None, num_workers=workers, prefetch_factor=2))
