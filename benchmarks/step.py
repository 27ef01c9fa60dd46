"""What the trainer adds to a step: its loop on streamed data against a bare loop on ready tensors.

    python -m benchmarks.step CONFIG [key=value ...] [--rounds N] [--block N]

Both loops run in one process and in turn, a block of steps each, on networks of the same architecture: the trainer's
with its loader, losses over the global batch, log lines, records and progress; the bare one with nothing but forward,
the same loss, backward and optimizer step on tensors that lie ready. Prints the ratio of the medians. Loader workers
run on while the bare loop is timed until their queue is full, so blocks should be much longer than the queue (4
batches a worker).
"""

import argparse
import statistics
import tempfile
import time

import torch

from shards.stream import Batches
from trainer.data import Batch, training_batches
from trainer.experiment import Experiment
from trainer.model.network import build
from trainer.optim import make_optimizer
from trainer.train import Trainer


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--block", type=int, default=20, help="steps of each loop in a round")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = (options.rounds + 1) * options.block
        fixed = [f"run.path={folder}", f"train.steps={steps}", f"checkpoint.every={steps + 1}"]
        trainer = Trainer(Experiment(options.config, [*options.overrides, *fixed]))
        bare = BareLoop(trainer)
        ratios, times = compare(trainer, bare, options.rounds, options.block)
    own, other = (statistics.median(of) for of in times)
    batch = trainer.config.train.global_batch
    print(f"{torch.get_num_threads()} threads, {trainer.accelerator.device}, batch {batch}, {options.rounds} rounds")
    print(f"trainer   {1000 * own:8.1f} ms a step  {batch / own:7.1f} samples/s")
    print(f"bare loop {1000 * other:8.1f} ms a step  {batch / other:7.1f} samples/s")
    rounds = " ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"ratio of medians {own / other:.3f} (by round: {rounds})")


class BareLoop:
    """Forward, loss, backward and optimizer step on batches that lie ready, as a reader would write it first."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, config = trainer, trainer.config
        network = build(trainer.experiment.architecture)
        self.network = network.to(trainer.accelerator.device, memory_format=trainer.format).train()  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.network, config.train)
        batches = Batches(config.train.global_batch // config.train.accumulation)
        ready = training_batches(config, trainer.frames, trainer.criterion, batches, 0, 4)
        self.ready: list[Batch] = [batch.to(trainer.accelerator.device) for batch in ready]
        self.inputs = [batch.inputs(config.inputs, trainer.format) for batch in self.ready]
        self.step = 0

    def __call__(self) -> None:
        for _ in range(self.trainer.config.train.accumulation):
            batch, inputs = self.ready[self.step % 4], self.inputs[self.step % 4]
            with self.trainer.accelerator.autocast():
                predictions = self.network(inputs)
            self.trainer.criterion(predictions, batch.labels, batch.counts).backward()
        if self.trainer.config.train.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.trainer.config.train.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1


def compare(
    trainer: Trainer, bare: BareLoop, rounds: int, block: int
) -> tuple[list[float], tuple[list[float], list[float]]]:
    """Time both loops in turn; the first round warms up.

    Returns:
        Each round's ratio, and seconds a step of the trainer and of the bare loop, by round.
    """
    run = trainer.iterate()
    own: list[float] = []
    other: list[float] = []
    for number in range(rounds + 1):
        seconds = [timed(lambda: next(run), block), timed(bare, block)]
        if number:
            own.append(seconds[0])
            other.append(seconds[1])
    run.close()
    return [a / b for a, b in zip(own, other, strict=True)], (own, other)


def timed(step, count: int) -> float:
    """Seconds of one of ``count`` calls."""
    began = time.perf_counter()
    for _ in range(count):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


if __name__ == "__main__":
    main()
