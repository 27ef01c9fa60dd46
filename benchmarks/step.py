"""Overhead of the trainer: its loop on streamed data compared with a bare loop on preloaded tensors.

    python -m benchmarks.step CONFIG [key=value ...] [--rounds N] [--block N] [--profile]

Both loops run in one process and in turn, a block of steps each, on networks of the same architecture: the trainer's
with its loader, losses over the global batch, log lines, records and progress; the bare one with only forward, the same
loss, backward and optimizer step on preloaded tensors. Prints the ratio of the median steps, and of the means of the
steps without the slowest tenth (on a shared machine, single steps take several times as long; a log line every 10 steps
is in both). While the bare loop is timed, loader workers continue until their queue is full, so blocks should be longer
than the queue (4 batches per worker).

With ``--profile``: the time of the trainer's step by part and operator instead, and the peak memory of the process.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable

import torch

from benchmarks.stepprofile import report
from shards.stream import Batches
from trainer.data import Batch
from trainer.experiment import Experiment
from trainer.model.network import build
from trainer.optim import make_optimizer
from trainer.trainer import Trainer
from trainer.trainstage import trainer_of


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--block", type=int, default=20, help="steps of each loop in a round")
    arguments.add_argument("--profile", action="store_true", help="show the time of BLOCK steps by part and operator")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = 3 + 2 * options.block if options.profile else (options.rounds + 1) * options.block
        fixed = [f"run.path={folder}", f"train.steps={steps}", f"checkpoint.every={steps + 1}"]
        trainer = trainer_of(Experiment(options.config, [*options.overrides, *fixed]))
        if options.profile:
            print("\n".join([describe(trainer), "", *report(trainer, options.block), "", peak_memory()]))
            return
        bare = BareLoop(trainer)
        trainer_seconds, bare_seconds = compare(trainer, bare, options.rounds, options.block)
    batch = trainer.options.global_batch_size
    print(f"{describe(trainer)}, {len(trainer_seconds)} steps of each")
    for name, seconds in (("trainer", trainer_seconds), ("bare loop", bare_seconds)):
        median = statistics.median(seconds)
        print(f"{name:9} {1000 * median:8.1f} ms a step (median)  {batch / median:7.1f} samples/s")
    ratio, trimmed = (
        statistics.median(trainer_seconds) / statistics.median(bare_seconds),
        trimmed_mean(trainer_seconds) / trimmed_mean(bare_seconds),
    )
    print(f"ratio {ratio:.3f} of the medians, {trimmed:.3f} of the means without the slowest tenth")


def describe(trainer: Trainer) -> str:
    batch = trainer.options.global_batch_size
    return f"{torch.get_num_threads()} threads, {trainer.accelerator.device}, batch {batch}"


def peak_memory() -> str:
    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB on the device at the most"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB at the most"  # from KiB


class BareLoop:
    """Forward, loss, backward and optimizer step on preloaded batches, as in a minimal training loop."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, options = trainer, trainer.options
        assert trainer.architecture is not None  # the experiment's own
        network = build(trainer.architecture)
        self.network = network.to(trainer.accelerator.device, memory_format=trainer.updater.format).train()  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.network, options)
        batches = Batches(options.global_batch_size // options.gradient_accumulation_steps)
        ready = trainer.data.batches(batches, 0, 4)
        self.ready: list[Batch] = [batch.to(trainer.accelerator.device) for batch in ready]
        self.inputs = [batch.inputs(trainer.inputs, trainer.updater.format) for batch in self.ready]
        self.step = 0
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[options.precision]
        self.mixed = torch.autocast(trainer.accelerator.device.type, kind, enabled=options.precision != "fp32")

    def __call__(self) -> None:
        for _ in range(self.trainer.options.gradient_accumulation_steps):
            batch, inputs = self.ready[self.step % 4], self.inputs[self.step % 4]
            with self.mixed:
                predictions = self.network(inputs)
            loss = self.trainer.updater.criterion
            loss(predictions, batch.labels, loss.counts(batch.labels)).backward()
        if self.trainer.options.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.trainer.options.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1


def compare(trainer: Trainer, bare: BareLoop, rounds: int, block: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each step of the trainer and of the bare loop, in turn; the first round is a warm-up."""
    run = trainer.iterate()
    trainer_seconds: list[float] = []
    bare_seconds: list[float] = []
    for number in range(rounds + 1):
        for step, seconds in ((lambda: next(run), trainer_seconds), (bare, bare_seconds)):
            block_seconds = [time_call(step) for _ in range(block)]
            seconds += block_seconds if number else []
    run.close()
    return trainer_seconds, bare_seconds


def time_call(step: Callable[[], object]) -> float:
    """Return the seconds of a call, including its work on the device."""
    start = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def trimmed_mean(seconds: list[float]) -> float:
    """Return the mean without the slowest tenth."""
    return statistics.fmean(sorted(seconds)[: max(len(seconds) * 9 // 10, 1)])


if __name__ == "__main__":
    main()
