"""The order of samples: a pure function of (seed, epoch), in memory and time that do not grow with the samples.

Shards are permuted and taken in windows of ``window`` shards, and the samples of a window are permuted. A position is
located without visiting those before it, so a run resumes at any step at once. Permutations sort 64-bit hashes that
are computed here and not by a library, so the order does not change with versions of NumPy.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from shards.errors import UserError

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def mix(*values: int) -> int:
    """Return a 64-bit hash of integers: SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014), chained."""
    state = 0
    for value in values:
        state = (state + _GOLDEN + (value & _MASK)) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def mix_range(seed: int, count: int) -> np.ndarray:
    """Return ``count`` independent 64-bit hashes of one seed, ``mix`` of a counter, as uint64 ``(count,)``."""
    with np.errstate(over="ignore"):
        state = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(_GOLDEN)) + np.uint64(seed & _MASK)
        state = (state ^ state >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ state >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return state ^ state >> np.uint64(31)


def permutation(seed: int, count: int) -> np.ndarray:
    """Return the permutation of ``range(count)`` that a seed determines, int64 ``(count,)``."""
    return np.argsort(mix_range(seed, count), kind="stable")


class Order:
    """The mapping from the positions of an epoch to samples.

    Args:
        counts: number of samples of each shard, in the order of the shards (0 is allowed).
        seed: the run's seed.
        window: number of shards whose samples are mixed. Larger windows shuffle better and keep more files open.
        shuffle: False leaves the samples in stored order.

    Raises:
        UserError: when the window is smaller than 1.
    """

    def __init__(
        self, counts: Sequence[int] | np.ndarray, seed: int, *, window: int = 32, shuffle: bool = True
    ) -> None:
        if window < 1:
            raise UserError(f"{window} shards", key="shuffle_window", hint="give 1 or more")
        self.counts = np.asarray(counts, dtype=np.int64)
        self.seed, self.window, self.shuffle = seed, window, shuffle
        self.samples = int(self.counts.sum())
        self._epoch = lru_cache(maxsize=2)(self._permute_shards)
        self._window = lru_cache(maxsize=2)(self._permute_window)

    def locate(self, epoch: int, position: int) -> tuple[int, int]:
        """Return the sample at a position of an epoch, as (shard, number within the shard).

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
        """Return the epoch and the window of a position; the needed shards change where this value does."""
        return epoch, int(np.searchsorted(self._epoch(epoch)[1], position, side="right"))

    def upcoming(self, epoch: int, position: int) -> Iterator[tuple[int, int, int]]:
        """Iterate over shards in the order of their first use, from a position to the end of the next epoch.

        Yields:
            Epoch and position of the shard's first sample, and the shard. A shard occurs once per epoch.
        """
        for current, first in ((epoch, position), (epoch + 1, 0)):
            shards, starts = self._epoch(current)
            for window in range(int(np.searchsorted(starts, first, side="right")) - 1, len(starts)):
                members, start = shards[window * self.window : (window + 1) * self.window], int(starts[window])
                ends = np.cumsum(self.counts[members])
                # not self._window: its cache is for the windows that are being read
                offsets = self._permute_window(current, window) if self.shuffle else np.arange(ends[-1])
                skipped = max(first - start, 0)
                places, uses = np.unique(np.searchsorted(ends, offsets[skipped:], side="right"), return_index=True)
                for index in np.argsort(uses):
                    yield current, start + skipped + int(uses[index]), int(members[places[index]])

    def _permute_shards(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the shards in the order of an epoch, and the first position of every window."""
        count = len(self.counts)
        shards = permutation(mix(self.seed, epoch), count) if self.shuffle else np.arange(count)
        sizes = np.add.reduceat(self.counts[shards], np.arange(0, count, self.window))
        return shards, np.concatenate([[0], np.cumsum(sizes)[:-1]])

    def _permute_window(self, epoch: int, window: int) -> np.ndarray:
        shards, _ = self._epoch(epoch)
        size = int(self.counts[shards[window * self.window : (window + 1) * self.window]].sum())
        return permutation(mix(self.seed, epoch, 1, window), size)

    def __getstate__(self) -> tuple[Any, ...]:  # caches are not pickled
        return (self.counts, self.seed, self.window, self.shuffle)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        counts, seed, window, shuffle = state
        self.__init__(counts, seed, window=window, shuffle=shuffle)  # type: ignore[misc]
