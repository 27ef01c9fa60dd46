"""Where samples are loaded while a network trains: in threads of its process, in threads of another, or in processes.

    python -m benchmarks.execution CONFIG [key=value ...] [--steps N] [--rounds N] [--side N]

The three execution models that SPDL's documentation compares, with ``data.num_workers`` threads or processes. All load
the same batches with the same code; only the first shares Python's interpreter lock with the training step. The step
trains a small network on tensors of SIDE×SIDE, so that calling operators takes a larger part of the time, which needs
the lock, than it does for frames. Where operators are only launched, as on a GPU, that part is larger still.

For ROUNDS rounds, each model in turn and beginning with another: seconds per step of the loader alone, of the steps
alone, and of both together, where every step first takes a batch and reads its pixels. The bound of both is the slower
of the two alone, which needs a processor for the step and one for each thread or process that loads: with fewer, all
models fall short of it. Before the clock starts, twice as many batches are taken as may wait anywhere. Prints medians
and the spread.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.multiprocessing
from torch.utils.data import DataLoader, Dataset

from shards.stream import Batches, OrderedSource
from trainer.batch import Batch, Collate
from trainer.data import FrameLoader
from trainer.experiment import Experiment
from trainer.trainingdata import TrainingData

AHEAD = 4
"""Batches that wait in the queue of another process, and per worker process."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--steps", type=int, default=60)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--side", type=int, default=32, help="height and width of the tensors of a step")
    options = arguments.parse_intermixed_args()
    torch.set_num_threads(1)
    experiment = Experiment(options.config, options.overrides)
    size, workers = experiment.config.train.global_batch_size, experiment.config.data.num_workers
    step = make_step(size, options.side)
    measured: dict[str, dict[str, list[float]]] = {name: {"alone": [], "both": [], "waiting": []} for name in MODELS}
    alone = []
    for number in range(options.rounds):
        alone.append(timed(step, options.steps))
        names = [*MODELS]
        for name in names[number % len(names) :] + names[: number % len(names)]:
            with MODELS[name](experiment) as batches:
                take = partial(_read, batches)
                for _ in range(2 * AHEAD * (workers + 1)):
                    take()
                measured[name]["alone"].append(timed(take, options.steps))
                for _ in range(2 * AHEAD * (workers + 1)):
                    take()
                both, waiting = together(take, step, options.steps)
                measured[name]["both"].append(both)
                measured[name]["waiting"].append(waiting)
    rounds = f"{options.rounds} rounds of {options.steps} steps"
    print(f"batches of {size}, {workers} workers, {os.cpu_count()} processors, {rounds}; milliseconds per step")
    print(f"steps alone: {spread(alone)}\n")
    print("| loading in | loader alone | both | of which waiting for data | bound / both |\n|---|---|---|---|---|")
    for name, values in measured.items():
        times = zip(values["alone"], alone, values["both"], strict=True)
        share = statistics.median(max(loader, bare) / both for loader, bare, both in times)
        cells = (spread(values["alone"]), spread(values["both"]), spread(values["waiting"]), f"{share:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


def _read(batches: Iterator[Batch]) -> None:
    """Take a batch and read its pixels, as a step would."""
    next(batches).rgb.float().mean()


def spread(seconds: list[float]) -> str:
    low, middle, high = (1000 * value for value in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


def make_step(size: int, side: int) -> Callable[[], None]:
    """Return a training step of a small network."""
    from timm import create_model

    network = create_model("tf_efficientnet_lite0", num_classes=40).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    inputs, targets = torch.rand(size, 3, side, side), torch.arange(size) % 40

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


def timed(call: Callable[[], Any], count: int) -> float:
    """Return the seconds of a call, as a mean."""
    start = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start) / count


def together(take: Callable[[], Any], step: Callable[[], None], count: int) -> tuple[float, float]:
    """Return the seconds of a batch and a step, and of waiting for the batch, as means."""
    waited, start = 0.0, time.perf_counter()
    for _ in range(count):
        before = time.perf_counter()
        take()
        waited += time.perf_counter() - before
        step()
    return (time.perf_counter() - start) / count, waited / count


@contextmanager
def threads(experiment: Experiment) -> Iterator[Iterator[Batch]]:
    """Load in threads of this process, as Tutelage does."""
    batches = _stream(experiment)
    try:
        yield batches
    finally:
        batches.close()


@contextmanager
def other_process(experiment: Experiment) -> Iterator[Iterator[Batch]]:
    """Load in threads of one other process, which hands batches over in shared memory."""
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue(AHEAD)
    process = context.Process(target=_fill, args=(experiment.path, experiment.overrides, queue), daemon=True)
    process.start()

    def batches() -> Iterator[Batch]:
        while not isinstance(item := queue.get(), Exception):
            yield item
        raise item

    try:
        yield batches()
    finally:
        process.kill()
        process.join()


@contextmanager
def processes(experiment: Experiment) -> Iterator[Iterator[Batch]]:
    """Load in worker processes of torch's DataLoader, a batch each."""
    loader = DataLoader(
        _ByNumber(experiment),
        batch_size=None,
        num_workers=experiment.config.data.num_workers,
        prefetch_factor=AHEAD,
        multiprocessing_context="spawn",
    )
    batches = iter(loader)
    try:
        yield batches
    finally:
        with suppress(RuntimeError):  # a worker that is interrupted while it loads may abort
            batches._shutdown_workers()  # type: ignore[attr-defined]


MODELS: dict[str, Callable[[Experiment], Any]] = {
    "threads of the process": threads,
    "threads of another process": other_process,
    "worker processes": processes,
}


def _data(experiment: Experiment) -> tuple[TrainingData, Batches]:
    data = TrainingData.of(experiment.config, experiment.training_frames())
    return data, Batches(experiment.config.train.global_batch_size)


def _stream(experiment: Experiment) -> Any:
    data, cut = _data(experiment)
    return data.batches(cut, 0, 10**9)


def _fill(path: str, overrides: list[str], queue: Any) -> None:
    torch.set_num_threads(1)
    try:
        for batch in _stream(Experiment(path, overrides)):
            queue.put(batch)
    except Exception as error:
        queue.put(error)


class _ByNumber(Dataset[Batch]):
    """Training batches by their number, each loaded where it is requested."""

    def __init__(self, experiment: Experiment) -> None:
        self.arguments = experiment.path, experiment.overrides
        self.load: FrameLoader | None = None

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, number: int) -> Batch:
        if self.load is None:  # once in each process
            torch.set_num_threads(1)
            data, self.cut = _data(Experiment(*self.arguments))
            self.order, indices = data.order(self.cut.global_batch_size)
            self.load = FrameLoader(data.dataset, indices=indices, augment=data.augmentation(), seed=data.seed)
            self.collate = Collate(data.tasks, data.frames.file_of, data.frames.planes)
        places = OrderedSource(self.order, self.cut, number, number + 1)()
        return self.collate([self.load(place) for place in islice(places, self.cut.micro)])


if __name__ == "__main__":
    main()
