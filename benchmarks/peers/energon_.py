"""Megatron-Energon over the same tars, beside which it writes an index of its own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megatron.energon import (
    Cooker,
    CrudeWebdataset,
    DefaultTaskEncoder,
    WorkerConfig,
    basic_sample_keys,
    get_loader,
    get_train_dataset,
    stateless,
)
from megatron.energon.flavors import BaseWebdatasetFactory

from benchmarks.peers.readers import Decode, Sample, stack
from benchmarks.peers.readers import plain as variant  # noqa: F401


@stateless
def as_it_is(sample: dict[str, Any]) -> dict[str, Any]:
    return {**basic_sample_keys(sample), "files": {key: data for key, data in sample.items() if key[0] != "_"}}


class Encoder(DefaultTaskEncoder):
    """Bytes as tensors."""

    decoder = None
    cookers = [Cooker(as_it_is)]  # noqa: RUF012

    def __init__(self, decode: Decode) -> None:
        super().__init__()
        self.decode = decode

    @stateless
    def encode_sample(self, sample: dict[str, Any]) -> Sample:
        return self.decode(sample["files"])

    def batch(self, samples: list[Sample]) -> Sample:
        return stack(samples)

    def encode_batch(self, batch: Sample) -> Sample:
        return batch


def batches(
    folder: Path, size: int, workers: int, crop: tuple[int, int] | None, *, resume: int = 0
) -> Iterator[Sample]:
    if resume:
        raise SystemExit("cannot")  # it goes on from a state that a loader of as many workers has saved
    own = folder / "energon"
    if not own.exists():
        own.mkdir()
        for tar in sorted((folder / "archive").glob("train-*.tar")):
            os.link(tar, own / tar.name)
        BaseWebdatasetFactory.prepare_dataset(
            own, sorted(tar.name for tar in own.glob("*.tar")), split_parts_ratio=[("train", 1.0)], workers=1
        )
        (own / ".nv-meta" / "dataset.yaml").write_text(
            f"__module__: {CrudeWebdataset.__module__}\n__class__: {CrudeWebdataset.__name__}\n"
        )
    data = get_train_dataset(
        own,
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers),
        batch_size=size,
        batch_drop_last=True,
        shuffle_buffer_size=4 * size,
        max_samples_per_sequence=None,
        task_encoder=Encoder(Decode(crop)),
        repeat=False,
    )
    return iter(get_loader(data, prefetch_factor=2))
