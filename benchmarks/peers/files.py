"""Files in a folder, read by torch's DataLoader."""

from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.readers import Decode, Sample, loose, stack
from benchmarks.peers.readers import plain as variant  # noqa: F401


class Files(Dataset[Sample]):
    """Samples in files of their own."""

    def __init__(self, folder: Path, crop: tuple[int, int] | None) -> None:
        self.samples, self.decode = loose(folder), Decode(crop)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.decode({name: path.read_bytes() for name, path in self.samples[index].items()})


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0
) -> Iterator[Sample]:
    if resume:
        raise SystemExit("cannot")
    loader = DataLoader(
        Files(folder, crop),
        size,
        shuffle=True,
        num_workers=workers,
        collate_fn=stack,
        drop_last=True,
        prefetch_factor=2,
    )
    return iter(loader)
