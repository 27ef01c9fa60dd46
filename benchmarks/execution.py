"""Where samples are loaded while a network trains: in threads of its process, in threads of another, or in processes.

    python -m benchmarks.execution CONFIG [key=value ...] [--workers N] [--steps N] [--rounds N] [--side N]

The three execution models that SPDL's documentation compares. All load the same batches with the same code; only the
first shares Python's interpreter lock with the training step. The step is one of a network on tensors of SIDE×SIDE, so
small that calling its operators takes the time, not their computation, as on a GPU. Each model in turn and for ROUNDS
rounds: seconds per step of the loader alone, of the steps alone, and of both together, where every step first takes a
batch. The bound of both together is the slower of the two alone. Prints medians and the spread.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import torch
import torch.multiprocessing
from torch.utils.data import DataLoader, Dataset

from shards.stream import Batches
from trainer.batch import Batch
from trainer.experiment import Experiment
from trainer.trainingdata import TrainingData

AHEAD = 4
"""Batches that wait in the queue of another process; the other models' own number is similar."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--workers", type=int, default=1, help="threads or processes that load")
    arguments.add_argument("--steps", type=int, default=40)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--side", type=int, default=32, help="height and width of the tensors of a step")
    options = arguments.parse_intermixed_args()
    torch.set_num_threads(1)
    experiment = Experiment(options.config, [*options.overrides, f"data.num_workers={options.workers}"])
    size = experiment.config.train.global_batch_size
    step = make_step(size, options.side)
    seconds: dict[str, dict[str, list[float]]] = {name: {"alone": [], "beside": [], "waiting": []} for name in MODELS}
    steps_alone = []
    for _ in range(options.rounds):
        steps_alone.append(timed(step, options.steps))
        for name, load in MODELS.items():
            with load(experiment, options.workers) as batches:
                take: Callable[[], Any] = batches.__next__
                take()
                seconds[name]["alone"].append(timed(take, options.steps))
            with load(experiment, options.workers) as batches:
                take = batches.__next__
                take()
                beside, waiting = together(take, step, options.steps)
                seconds[name]["beside"].append(beside)
                seconds[name]["waiting"].append(waiting)
    print(
        f"batches of {size}, {options.workers} workers, {options.rounds} rounds of {options.steps} steps; milliseconds"
    )
    print(f"steps alone: {spread(steps_alone)}\n")
    print("| loading in | loader alone | both | of which waiting for data | of the bound |\n|---|---|---|---|---|")
    for name, values in seconds.items():
        rounds = zip(values["alone"], steps_alone, values["beside"], strict=True)
        share = statistics.median(max(alone, bare) / both for alone, bare, both in rounds)
        cells = (spread(values["alone"]), spread(values["beside"]), spread(values["waiting"]), f"{share:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")


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
def threads(experiment: Experiment, workers: int) -> Iterator[Iterator[Batch]]:
    """Load in threads of this process, as Tutelage does."""
    batches = batches_of(experiment, 0, 10**9)
    try:
        yield batches
    finally:
        batches.close()


@contextmanager
def other_process(experiment: Experiment, workers: int) -> Iterator[Iterator[Batch]]:
    """Load in threads of one other process, which hands batches over in shared memory."""
    context = torch.multiprocessing.get_context("spawn")
    queue = context.Queue(AHEAD)
    process = context.Process(target=_fill, args=(experiment.path, experiment.overrides, queue), daemon=True)
    process.start()
    try:
        yield iter(queue.get, None)
    finally:
        process.kill()
        process.join()


@contextmanager
def processes(experiment: Experiment, workers: int) -> Iterator[Iterator[Batch]]:
    """Load in worker processes of torch's DataLoader, a batch each."""
    with ExitStack() as stack:
        loader = DataLoader(
            _ByNumber(experiment),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=AHEAD,
            multiprocessing_context="spawn",
        )
        batches = iter(loader)
        stack.callback(batches._shutdown_workers)  # type: ignore[attr-defined]
        yield batches


MODELS = {
    "threads of the process": threads,
    "threads of another process": other_process,
    "worker processes": processes,
}


def batches_of(experiment: Experiment, start: int, stop: int) -> Any:
    data = TrainingData.of(experiment.config, experiment.training_frames())
    return data.batches(Batches(experiment.config.train.global_batch_size), start, stop)


def _fill(path: str, overrides: list[str], queue: Any) -> None:
    torch.set_num_threads(1)
    for batch in batches_of(Experiment(path, overrides), 0, 10**9):
        queue.put(batch)


class _ByNumber(Dataset[Batch]):
    """Training batches by their number, each loaded where it is requested."""

    def __init__(self, experiment: Experiment) -> None:
        self.arguments = experiment.path, [*experiment.overrides, "data.num_workers=0"]
        self.data: TrainingData | None = None

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, number: int) -> Batch:
        if self.data is None:  # once in each process
            torch.set_num_threads(1)
            experiment = Experiment(*self.arguments)
            self.data = TrainingData.of(experiment.config, experiment.training_frames())
            self.cut = Batches(experiment.config.train.global_batch_size)
        return next(islice(self.data.batches(self.cut, number, number + 1), 1))


if __name__ == "__main__":
    main()
