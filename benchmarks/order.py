"""Cost of the sample order on data sets of any size, and quality of the shuffling by a window of shards.

    python -m benchmarks.order [--samples N] [--shards N] [--window N]

Cost: time to the first position of a run (from the shards' counts, as a rank has them), to any other position of that
epoch, to a position of any other epoch, and to the next position; each as the minimum and the median of several, since
other jobs on a machine only ever add to a time. Memory is measured in a new process: its peak minus its peak after
``import numpy``.

Shuffling, on a million samples in a thousand shards: the positions of samples that are adjacent in storage, for several
windows and for a window of all shards, which is a permutation of all samples.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from shards.order import Order

BATCH = 64
SIZE, SHARDS = 1_000_000, 1000
"""Samples and shards with which shuffling is measured, at every position of an epoch."""

# VmHWM, because ru_maxrss starts at the size of the parent process
MEMORY = """
import sys
import numpy as np
peak = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
from benchmarks.order import counts_of
from shards.order import Order
imported = peak()
samples, shards, window = map(int, sys.argv[1:])
order = Order(counts_of(samples, shards), 1, window=window)
for epoch in range(4):
    for position in range(0, samples, max(samples // 8, 1)):
        order.locate(epoch, position)
print(imported - before, peak() - imported)
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=10**9)
    arguments.add_argument("--shards", type=int, default=10**6)
    arguments.add_argument(
        "--window", type=int, default=32, help="shards whose samples are mixed (data.shuffle_window)"
    )
    options = arguments.parse_args()
    console = Console(width=120)
    console.print(cost(options.samples, options.shards, options.window))
    console.print(shuffling(sorted({8, 32, 128, options.window})))


def counts_of(samples: int, shards: int) -> np.ndarray:
    """Return the samples of each shard, as even as possible. int64 ``(shards,)``."""
    return np.arange(1, shards + 1) * samples // shards - np.arange(shards) * samples // shards


def cost(samples: int, shards: int, window: int) -> Table:
    """Return a table of time and memory of :class:`Order`."""
    counts = counts_of(samples, shards)
    random = np.random.default_rng(0)
    order = Order(counts, 1, window=window)

    def first() -> None:
        Order(counts, 1, window=window).locate(0, 0)

    def anywhere() -> None:
        order.locate(0, int(random.integers(samples)))

    def other_epoch() -> None:
        order.locate(int(random.integers(1, 2**31)), int(random.integers(samples)))

    def following() -> None:  # a thousand, because a single one is too short to time
        for position in range(start, start + 1000):
            order.locate(0, position % samples)

    table = Table(title=f"{samples:,} samples in {shards:,} shards, windows of {window}")
    for name in ("", "least", "median", "slowest"):
        table.add_column(name, justify="right" if name else "left")
    first_row = time_calls(first, 20)
    order.locate(0, 0)
    rows = [
        ("first position of a run", first_row, 1),
        ("any position of that epoch", time_calls(anywhere, 200), 1),
        ("any position of another epoch", time_calls(other_epoch, 20), 1),
    ]
    start = int(random.integers(samples))
    order.locate(0, start % samples)
    rows.append(("the next position (mean of 1000)", time_calls(following, 50), 1000))
    for name, seconds, calls in rows:
        figures = (min(seconds), statistics.median(seconds), max(seconds))
        table.add_row(name, *(f"{1000 * figure / calls:.4g} ms" for figure in figures))
    command = [sys.executable, "-c", MEMORY, *map(str, (samples, shards, window))]
    imports, used = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    table.add_section()
    table.add_row("memory of the order", f"{used / 1000:.3g} MB", "", "")
    table.add_row("memory of what is imported for it", f"{imports / 1000:.3g} MB", "", "")
    return table


def time_calls(call: Callable[[], None], times: int) -> list[float]:
    """Return the seconds of each call."""
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def shuffling(windows: list[int]) -> Table:
    """Return a table of how much of the storage order remains after shuffling with each window."""
    title = f"shuffling {SIZE:,} samples in {SHARDS:,} shards (travel and spread as shares of the epoch, means)"
    table = Table(title=title)
    columns = ("window", "travel", "a shard's spread", "neighbours that stay", f"shards in {BATCH} samples", "fewest")
    for name in columns:
        table.add_column(name, justify="right")
    for window in [*(size for size in windows if size < SHARDS), SHARDS]:
        shards, numbers = storage_positions(window)
        place = shards * (SIZE // SHARDS) + numbers
        travelled = np.abs(place - np.arange(SIZE)) / SIZE
        stay = int((np.abs(np.diff(place)) == 1).sum())
        batches = np.sort(shards[: SIZE // BATCH * BATCH].reshape(-1, BATCH))
        distinct = 1 + (np.diff(batches) != 0).sum(axis=1)
        by_shard = np.argsort(shards, kind="stable").reshape(SHARDS, -1)  # ascending positions of each shard's samples
        spread = (by_shard[:, -1] - by_shard[:, 0]).mean() / SIZE
        table.add_row(
            str(window) if window < SHARDS else "all: a full permutation",
            f"{travelled.mean():.1%}",
            f"{spread:.1%}",
            str(stay),
            f"{distinct.mean():.1f}",
            str(distinct.min()),
        )
    return table


def storage_positions(window: int) -> tuple[np.ndarray, np.ndarray]:
    """Return shard and number within the shard of every position of an epoch."""
    order = Order(counts_of(SIZE, SHARDS), 1, window=window)
    located = np.array([order.locate(0, position) for position in range(SIZE)])
    return located[:, 0], located[:, 1]


if __name__ == "__main__":
    main()
