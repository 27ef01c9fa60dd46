"""The training loop: from the newest checkpoint to the last step, and what is written down on the way."""

import time
from collections.abc import Generator
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from shards.atomic import sweep
from shards.errors import UserError
from shards.stream import Batches
from trainer.adjustment import logit_offsets
from trainer.config import Config
from trainer.configvalues import parse_every, parse_size
from trainer.data import Batch, training_batches
from trainer.evaluate import evaluate_network, headline
from trainer.experiment import Experiment
from trainer.frames import Frames
from trainer.learner import Learner
from trainer.measurement import DEFAULT, Measurement
from trainer.optim import learning_rate
from trainer.overlap import Background
from trainer.progress import Speed, progress, say
from trainer.runs import checkpoint
from trainer.runs.lease import Lease
from trainer.runs.records import Records
from trainer.runs.status import Interrupted
from trainer.runtime import StopRequest, accelerator, broadcast, queued


class Trainer:
    """A training run: its steps, and what it writes down of them.

    Attributes:
        step: optimizer steps that are finished.
        steps: of the whole run.
        samples: that an epoch chooses from.
        asked: whether any rank has been asked to stop, as all of them know it after a step.
        due: whether the first rank's clock asks for a checkpoint.
    """

    def __init__(
        self,
        experiment: Experiment,
        process: Accelerator | None = None,
        lease: Lease | None = None,
        request: StopRequest | None = None,
    ) -> None:
        self.experiment, self.config, self.lease = experiment, experiment.config, lease
        config: Config = self.config
        self.process = process or accelerator(config.train.precision, config.train.timeout)
        self.main = self.process.is_main_process
        frames, trained_on = experiment.frames_to_train()
        self.frames: Frames = frames
        self.batches = Batches(
            config.train.global_batch_size,
            config.train.gradient_accumulation_steps,
            self.process.process_index,
            self.process.num_processes,
        )
        self.samples = int(trained_on.sum())
        self.steps_per_epoch = max(self.samples // config.train.global_batch_size, 1)
        self.steps = config.train.steps or config.train.epochs * self.steps_per_epoch
        offsets = logit_offsets(frames, experiment.tasks, config.loss.logit_adjustment)
        self.learner = Learner(experiment, self.process, self.steps_per_epoch, offsets)
        self.step = 0
        self.best: float | None = None
        self.request = request or StopRequest()
        self.asked = self.due = False
        self.every, self.seconds = parse_every(config.checkpoint.every)
        self.saved, self.saved_step = time.monotonic(), -1
        self.writer = Background(limit=1)

    def resume(self) -> None:
        """Continue where the newest whole checkpoint stands, if there is one."""
        folder = self.experiment.checkpoints
        if self.main:
            sweep(folder)
        path = broadcast(self.process, checkpoint.newest(folder) if self.main else None)
        if path is None:
            return
        state = checkpoint.read(path, self.learner.shapes)
        self.learner.load(state)
        self.step = state.step
        best = state.best
        if best and DEFAULT.to_json() | best == {"value": best["value"], **self.best_of()}:
            self.best = best["value"]
        if self.main:
            say(f"continuing {self.experiment.folder} at step {self.step}")

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width that the network sees in training; where frames have sizes of their own, 480x640."""
        return parse_size(self.config.data.crop, "data.crop") or self.experiment.size or (480, 640)

    def iterate(self) -> Generator[int]:
        """Do the steps that are left, and give each one's number when it is finished, logged and saved."""
        config = self.config.train
        batches = training_batches(
            self.config,
            self.frames,
            self.learner.criterion,
            self.batches,
            self.step,
            self.steps,
            pin=self.process.device.type == "cuda",
        )
        if self.process.num_processes == 1 and self.request.signal:
            raise Interrupted(f"{self.experiment.folder}: stopped before its first step by {self.signal}")
        records = Records(self.experiment.folder, self.step, config.trace, self.check_lease) if self.main else None
        self.learner.train_mode()
        speed, first = Speed(), True
        try:
            with progress(self.config.experiment, self.steps, done=self.step, show=self.main) as report:
                while self.step < self.steps:
                    with speed.waiting():
                        micro = [next(batches) for _ in range(config.gradient_accumulation_steps)]
                    done = self.optimise(micro)
                    if first:
                        self.learner.check_ranks()
                        first = False
                    speed.samples += config.global_batch_size
                    if config.trace:
                        self.trace(micro, records)
                    if not done:
                        self.skip(micro, records)
                    figures = ""
                    if self.step % config.log_every == 0 or self.step == self.steps:
                        entry = self.figures() | {"speed": speed.read()}
                        figures = _line(entry)
                        if records:
                            records.step(self.step, entry)
                    self.after_step(records)
                    report(1, figures)
                    yield self.step
                    if self.step < self.steps and self.stopping():
                        self.save(records)
                        self.writer.wait()
                        self.process.wait_for_everyone()  # the launcher ends all ranks soon after the first
                        where = f"{self.experiment.folder}: stopped at step {self.step} by {self.signal}"
                        raise Interrupted(f"{where}; start the same command again to continue")
        finally:
            batches.close()
            if records:
                records.close()

    def optimise(self, micro: list[Batch]) -> bool:
        """One optimizer step on this rank's micro-batches of a global batch; False if it was skipped."""
        due = self.seconds is not None and self.main and time.monotonic() - self.saved > self.seconds
        counts = torch.stack([batch.counts for batch in micro]).sum(0)
        denominators = self.process.reduce(queued(counts, self.process.device), "sum")
        rate = learning_rate(self.step, self.steps, self.config.train)
        flags = [self.request.signal is not None, due]
        done, (self.asked, self.due) = self.learner.step(self.step, micro, denominators, rate, flags)
        self.step += 1
        return done

    def skip(self, micro: list[Batch], records: Records | None) -> None:
        """Record a step that was skipped, and end the run if it was one too many.

        Raises:
            UserError: the same on all ranks.
        """
        keys = self.keys(micro)
        if records:
            records.step(self.step, {"skipped": {"keys": keys}})
            say(f"{self.experiment.folder}: step {self.step}: loss or gradient not finite; skipped")
        if self.learner.lost:
            raise UserError(
                f"the loss of {self.learner.skipped} steps in a row is not finite",
                file=self.experiment.folder,
                key=f"step {self.step}",
                hint=checkpoint.DIVERGED,
            )

    def stopping(self) -> bool:
        """Whether all ranks stop after this step."""
        return self.request.signal is not None if self.process.num_processes == 1 else self.asked

    @property
    def signal(self) -> str:
        """What asked for a stop, in words."""
        return self.request.signal.name if self.request.signal else "a signal to another rank"

    def asked_to_stop(self) -> bool:
        """Whether any rank has been asked to stop; to be called by all of them."""
        asked = torch.tensor([self.request.signal is not None], dtype=torch.int64, device=self.process.device)
        return bool(self.process.reduce(asked, "sum"))

    def keys(self, micro: list[Batch]) -> list[str]:
        """The keys of the global batch in position order: by micro-batch, then by rank."""
        parts_of_ranks = gather_object([[batch.keys for batch in micro]])
        return [key for parts in zip(*parts_of_ranks, strict=True) for part in parts for key in part]

    def trace(self, micro: list[Batch], records: Records | None) -> None:
        keys = self.keys(micro)
        if records:
            records.keys(self.step, (self.step - 1) // self.steps_per_epoch, keys)

    def figures(self) -> dict[str, Any]:
        """The figures of the steps since the last log line."""
        loss = self.learner.mean_loss()
        names = [task.name for task in self.experiment.tasks]
        return {
            "epoch": self.step / self.steps_per_epoch,
            "lr": learning_rate(self.step - 1, self.steps, self.config.train),
            **({"loss": {"total": sum(loss), **dict(zip(names, loss, strict=True))}} if loss else {}),
        }

    def after_step(self, records: Records | None) -> None:
        """Evaluate and save where the configuration asks for it."""
        every = self.config.evaluate.every * self.steps_per_epoch
        if every and (self.step % every == 0 or self.step == self.steps):
            self.evaluate(records)
        due = self.step % self.every == 0 if self.every else self.due
        if due and self.step < self.steps and not self.learner.skipped:  # what led there may be no good
            self.save(records)

    def evaluate(self, records: Records | None) -> None:
        """Validation figures, and the best checkpoint if this is it."""
        with self.learner.to_be_used():
            metrics = evaluate_network(self.experiment, self.learner.engine.replica(), self.process, show=False)
        self.learner.train_mode()
        value, better = headline(metrics, self.config.evaluate.best, self.best)
        if records:
            records.step(self.step, {self.config.evaluate.split: metrics})
        if better:
            self.best = value
            self.export("best", value=value, **self.best_of())

    def best_of(self) -> dict[str, Any]:
        """What the best checkpoint is best in: only values of the same can be compared."""
        measured = self.experiment.measured_on | Measurement.of(self.experiment).to_json()
        return {"metric": self.config.evaluate.best, **measured}

    def save(self, records: Records | None) -> None:
        """Write a checkpoint while training goes on, or wait for the one that is being written."""
        if self.step == self.saved_step:
            return
        state = self.learner.state(self.step)
        self.saved, self.saved_step = time.monotonic(), self.step
        if state:
            if self.best is not None:
                state.best = {"value": self.best, **self.best_of()}
            if records:
                records.sync()  # what lies before a checkpoint is never written again
            keep, folder = self.config.checkpoint.keep, self.experiment.checkpoints
            self.writer.submit(partial(checkpoint.save, folder, state, keep, self.check_lease))

    def check_lease(self) -> None:
        if self.lease:
            self.lease.check()

    def export(self, name: str, **facts: object) -> None:
        with self.learner.to_be_used():
            weights = self.learner.engine.weights()
        if self.main:
            path = self.experiment.checkpoints / name
            weights = {key: tensor for key, tensor in weights.items() if not key.startswith("weighting.")}
            facts |= {"size": self.experiment.size}
            checkpoint.export(path, weights, self.learner.architecture, self.step, self.check_lease, **facts)
        self.process.wait_for_everyone()


def _line(entry: dict) -> str:
    """A log entry for the progress line."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in entry.get("loss", {}).items() if name != "total")
    speed = entry["speed"]
    return (
        f"{losses} · {speed['samples_per_second']:.1f} samples/s · {speed['waiting_for_data']:.0%} waiting for data · "
        f"{speed['memory_megabytes'] / 1000:.1f} GB"
    )
