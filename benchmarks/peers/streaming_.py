"""mosaicml-streaming over its own MDS shards of the same files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

from benchmarks.peers.readers import Decode, Sample, loose, stack
from benchmarks.peers.readers import plain as variant  # noqa: F401


class Decoded(StreamingDataset):
    """Samples as tensors."""

    decode: Decode

    def __getitem__(self, at: Any) -> Any:
        return self.decode(super().__getitem__(at))


def write(folder: Path) -> None:
    """Write MDS shards of a folder's files."""
    samples = loose(folder)
    columns = dict.fromkeys(samples[0], "bytes")
    with MDSWriter(out=str(folder / "mds"), columns=columns, size_limit=1 << 25) as writer:
        for sample in samples:
            writer.write({name: path.read_bytes() for name, path in sample.items()})


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0
) -> Iterator[Sample]:
    if not (folder / "mds").exists():
        write(folder)
    data = Decoded(local=str(folder / "mds"), shuffle=True, batch_size=size)
    data.decode = Decode(crop)
    if resume:
        state = {"epoch": 0, "sample_in_epoch": resume * size, "num_canonical_nodes": 1, "initial_physical_nodes": 1}
        data.load_state_dict(state | {"shuffle_seed": data.shuffle_seed})
    return iter(DataLoader(data, size, num_workers=workers, collate_fn=stack, drop_last=True, prefetch_factor=2))
