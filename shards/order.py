"""The order of samples: a pure function of (seed, epoch), in memory and time that do not grow with the samples.

Shards are permuted, taken in windows of ``window`` shards, and the samples of a window are permuted. A position is
found without looking at those before it, so a run continues anywhere at once. Permutations sort 64-bit hashes that
are computed here and by no library, so the order stays what it is when numpy changes.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(*values: int) -> int:
    """A 64-bit hash of integers: SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), chained."""
    state = 0
    for value in values:
        state = (state + _GOLDEN + (value & _MASK)) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def mix_range(seed: int, count: int) -> np.ndarray:
    """``count`` independent 64-bit hashes of one seed: ``mix`` of a counter, vectorised. uint64 ``(count,)``."""
    with np.errstate(over="ignore"):
        state = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)) + np.uint64(seed & _MASK)
        state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return state ^ state >> np.uint64(31)


def permutation(seed: int, count: int) -> np.ndarray:
    """A permutation of ``range(count)`` that follows from the seed. int64 ``(count,)``."""
    return np.argsort(mix_range(seed, count), kind="stable")


class Order:
    """Positions of an epoch → samples.

    Args:
        counts: samples of each shard, in the shards' order (0 is allowed).
        seed: of the run.
        window: shards whose samples are mixed. More of them shuffle better and keep more files open.
        shuffle: False gives the samples as they stand.
    """

    def __init__(
        self, counts: Sequence[int] | np.ndarray, seed: int, *, window: int = 32, shuffle: bool = True
    ) -> None:
        self.counts = np.asarray(counts, dtype=np.int64)
        self.seed, self.window, self.shuffle = seed, window, shuffle
        self.samples = int(self.counts.sum())
        self._epoch = lru_cache(maxsize=2)(self._permute_shards)
        self._window = lru_cache(maxsize=2)(self._permute_window)

    def locate(self, epoch: int, position: int) -> tuple[int, int]:
        """The sample at a position of an epoch, as (shard, number within the shard).

        Raises:
            IndexError: when the epoch has no such position.
        """
        if not 0 <= position < self.samples:
            raise IndexError(f"position {position} of an epoch of {self.samples} samples")
        shards, starts = self._epoch(epoch)
        window = int(np.searchsorted(starts, position, side="right")) - 1
        shards = shards[window * self.window : (window + 1) * self.window]
        offset = position - int(starts[window])
        if self.shuffle:
            offset = int(self._window(epoch, window)[offset])
        ends = np.cumsum(self.counts[shards])
        place = int(np.searchsorted(ends, offset, side="right"))
        return int(shards[place]), offset - int(ends[place] - self.counts[shards[place]])

    def stage(self, epoch: int, position: int) -> tuple[int, int]:
        """The epoch, and which of its windows a position lies in: samples of other shards follow where it changes."""
        return epoch, int(np.searchsorted(self._epoch(epoch)[1], position, side="right"))

    def upcoming(self, epoch: int, position: int) -> Iterator[tuple[int, int, int]]:
        """Shards in the order in which they are first needed from a position on, to the end of the next epoch.

        Yields:
            Epoch and position of the first sample, and the shard. A shard comes once in each epoch.
        """
        for each, first in ((epoch, position), (epoch + 1, 0)):
            shards, starts = self._epoch(each)
            for window in range(int(np.searchsorted(starts, first, side="right")) - 1, len(starts)):
                of, start = shards[window * self.window : (window + 1) * self.window], int(starts[window])
                ends = np.cumsum(self.counts[of])
                # not by self._window, which has the windows that are being read
                offsets = self._permute_window(each, window) if self.shuffle else np.arange(ends[-1])
                skipped = max(first - start, 0)
                places, found = np.unique(np.searchsorted(ends, offsets[skipped:], side="right"), return_index=True)
                for at in np.argsort(found):
                    yield each, start + skipped + int(found[at]), int(of[places[at]])

    def _permute_shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Shards in this epoch's order, and the first position of every window of them."""
        count = len(self.counts)
        shards = permutation(mix(self.seed, epoch), count) if self.shuffle else np.arange(count)
        sizes = np.add.reduceat(self.counts[shards], np.arange(0, count, self.window))
        return shards, np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _permute_window(self, epoch: int, window: int) -> np.ndarray:
        shards, _ = self._epoch(epoch)
        size = int(self.counts[shards[window * self.window : (window + 1) * self.window]].sum())
        return permutation(mix(self.seed, epoch, 1, window), size)

    def __getstate__(self) -> tuple[Any, ...]:  # the caches stay in their process
        return (self.counts, self.seed, self.window, self.shuffle)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        counts, seed, window, shuffle = state
        self.__init__(counts, seed, window=window, shuffle=shuffle)  # type: ignore[misc]
