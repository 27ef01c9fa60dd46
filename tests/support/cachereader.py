"""A process that reads a data set by URL through a cache: ``cachereader.py URL FOLDER LIMIT SEED ROUNDS``.

Prints a hash of all samples, which it reads in a random order, and at the end how many bytes more than its limit the
cache was ever seen to hold.
"""

import hashlib
import random
import sys
from contextlib import suppress
from pathlib import Path

from shards import store
from shards.cache import Cache
from shards.dataset import ShardDataset


def held(cache: Cache) -> int:
    """Bytes on the disk, of whole files and of those that arrive, while nobody makes room."""
    sizes = {}
    with cache._folder_lock():
        for file in cache.folder.iterdir():
            if file.suffix in ("", ".part") and file.name != ".lock":
                with suppress(FileNotFoundError):
                    stat = file.stat()
                    sizes[stat.st_ino] = stat.st_size  # once, if it gets its name meanwhile
    return sum(sizes.values())


if __name__ == "__main__":
    url, folder, limit, seed, rounds = sys.argv[1:]
    store.PAUSES[:] = [0.02] * 8
    dataset = ShardDataset(url, cache=Cache(Path(folder), int(limit)))
    shuffle, most = random.Random(int(seed)), 0
    for _ in range(int(rounds)):
        numbers = [*range(len(dataset))]
        shuffle.shuffle(numbers)
        samples = {}
        for number in numbers:
            samples[number] = b"".join(array.tobytes() for array in dataset[number].values())
            most = max(most, held(dataset.manifest.cache))
        print(hashlib.sha256(b"".join(samples[number] for number in sorted(samples))).hexdigest(), flush=True)
    print(max(0, most - int(limit)), flush=True)
