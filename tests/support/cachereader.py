"""A process that reads a data set by URL through a cache: ``cachereader.py URL FOLDER LIMIT SEED ROUNDS``.

Prints a hash of all samples after every round, which reads them in a random order, and at the end by how many bytes the
cache exceeded its limit at most.
"""

import hashlib
import random
import sys
from contextlib import suppress
from pathlib import Path

from shards import store
from shards.cache import Cache
from shards.dataset import ShardDataset


def stored_bytes(cache: Cache) -> int:
    """Return the bytes on the disk, of complete and of incomplete files, while no process evicts any."""
    sizes = {}
    with cache._folder_lock():
        for file in cache.folder.iterdir():
            if file.suffix in ("", ".part") and file.name != ".lock":
                with suppress(FileNotFoundError):
                    status = file.stat()
                    sizes[status.st_ino] = status.st_size  # counted once, even if it is renamed meanwhile
    return sum(sizes.values())


if __name__ == "__main__":
    url, folder, limit, seed, rounds = sys.argv[1:]
    store.PAUSES[:] = [0.02] * 8
    dataset = ShardDataset(url, cache=Cache(Path(folder), int(limit)))
    shuffle, max_bytes = random.Random(int(seed)), 0
    for _ in range(int(rounds)):
        numbers = [*range(len(dataset))]
        shuffle.shuffle(numbers)
        samples = {}
        for number in numbers:
            samples[number] = b"".join(array.tobytes() for array in dataset[number].values())
            max_bytes = max(max_bytes, stored_bytes(dataset.manifest.cache))
        print(hashlib.sha256(b"".join(samples[number] for number in sorted(samples))).hexdigest(), flush=True)
    print(max(0, max_bytes - int(limit)), flush=True)
