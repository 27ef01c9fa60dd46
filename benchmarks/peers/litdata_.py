"""litdata over its own chunks of the same files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from litdata import StreamingDataLoader, StreamingDataset, optimize

from benchmarks.peers.readers import Decode, Sample, loose, stack
from benchmarks.peers.readers import plain as variant  # noqa: F401


class Decoded(StreamingDataset):
    """Samples as tensors."""

    decode: Decode

    def __getitem__(self, index: Any) -> Any:
        return self.decode(super().__getitem__(index))


def whole(sample: dict[str, Path]) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in sample.items()}


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0
) -> Iterator[Sample]:
    if not (folder / "litdata").exists():
        optimize(whole, loose(folder), str(folder / "litdata"), chunk_bytes="32MB", num_workers=1)
    data = Decoded(str(folder / "litdata"), shuffle=True, drop_last=True)
    data.decode = Decode(crop)
    loader = StreamingDataLoader(
        data, batch_size=size, num_workers=workers, collate_fn=stack, drop_last=True, prefetch_factor=2
    )
    if resume:
        raise SystemExit("cannot")  # it goes on from a state that a loader of the same process count has saved
    return iter(loader)
