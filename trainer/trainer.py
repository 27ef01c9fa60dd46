"""The training loop: from the newest checkpoint to the last step, and what is written down on the way."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from shards.atomic import sweep
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.stream import Batches
from shards.threads import Stopped
from trainer.agreement import check_ranks
from trainer.batch import Batch
from trainer.components import check_components
from trainer.config import Checkpoint, Train
from trainer.losses import MultiTaskLoss
from trainer.measurement import DEFAULT
from trainer.model.checked import check_tasks
from trainer.model.network import described
from trainer.model.size import size_of
from trainer.optim import learning_rate
from trainer.overlap import Background
from trainer.parsing import parse_every
from trainer.progress import Speed, progress, say
from trainer.runs import checkpoint, settings
from trainer.runs.records import Records
from trainer.runs.running import Held, running
from trainer.runs.status import Interrupted
from trainer.runtime import StopRequest, accelerator, broadcast
from trainer.trainingdata import TrainingData
from trainer.updater import Updater
from trainer.validation import Validation, headline
from trainer.weighting import LossWeighting

_FRAME = (480, 640)
"""What a network's cost is told for where frames have sizes of their own."""


class Trainer:
    """Trains a network: its steps, and what it writes down of them.

    A run that is started again continues where its newest whole checkpoint stands, bit for bit, whatever the number of
    ranks; one that is finished is not trained again. In ``out`` are then ``checkpoints/last``, the network that
    :class:`trainer.predictor.Predictor` loads, ``metrics.jsonl``, TensorBoard events and ``status.json``. The same
    program runs under ``accelerate launch``, with the engine that it is launched with.

    Args:
        model: forward as :func:`trainer.model.create.create_model` describes it.
        loss: of the tasks that it predicts.
        data: what it learns from.
        out: folder of the run.
        val: measured after every epoch, whose best network is kept in ``checkpoints/best``; or a
            :class:`Validation` of another kind.
        seed: what order, augmentation and dropout follow from.
        inputs: names of what the network sees; by default what its ``architecture`` says.
        train: options of optimisation.
        checkpoint: when checkpoints are written, and how many are kept.
        norm: how batch norm is trained, see ``model.norm`` of :class:`trainer.config.Model`.
        name: in progress lines; by default that of ``out``.
        process: this rank among the others; None makes one for this launch.
        weighting: of the losses, a :class:`trainer.weighting.LossWeighting` for as many tasks; the model has it then.
        options: single fields of :class:`trainer.config.Train`, such as ``global_batch_size``, ``steps``, ``epochs``,
            ``lr``, ``precision``, ``ema``.

    Attributes:
        step: optimizer steps that are finished.
        steps: of the whole run.
        asked: whether any rank has been asked to stop, as all of them know it after a step.
        due: whether the first rank's clock asks for a checkpoint.

    Raises:
        UserError: for an option that there is not, data of other tasks, or a batch that the ranks cannot share.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: MultiTaskLoss,
        data: TrainingData | ShardDataset,
        *,
        out: str | Path,
        val: "ShardDataset | Validation | None" = None,
        seed: int = 0,
        inputs: Sequence[str] | None = None,
        train: Train | None = None,
        checkpoint: Checkpoint | None = None,
        norm: str = "batch",
        name: str | None = None,
        process: Accelerator | None = None,
        weighting: LossWeighting | None = None,
        **options: Any,
    ) -> None:
        self.out, self.seed, self.name = Path(out), seed, name or Path(out).name
        self.options = settings.with_options(train or Train(), options)
        self.architecture = described(model)
        if inputs is None and self.architecture is None:
            raise UserError("does not say what it sees", key="model", hint='give the names: inputs=["rgb"]')
        self.inputs = list(self.architecture.inputs if inputs is None and self.architecture else inputs or ())
        self.tasks = [task.name for task in loss.tasks]
        if isinstance(data, ShardDataset):
            data = TrainingData(data, self.inputs, self.tasks, seed=seed)
        check_components(data, val, weighting)
        check_tasks(loss.tasks, data.tasks, data.frames.manifest.path)
        if weighting is not None:
            model.weighting = weighting
        self.data = data
        self.process = process or accelerator(self.options.precision, self.options.timeout)
        self.main = self.process.is_main_process
        self.batches = Batches(
            self.options.global_batch_size,
            self.options.gradient_accumulation_steps,
            self.process.process_index,
            self.process.num_processes,
        )
        self.steps_per_epoch = max(data.samples // self.options.global_batch_size, 1)
        self.steps = self.options.steps or self.options.epochs * self.steps_per_epoch
        self.updater = Updater(
            model,
            loss,
            self.inputs,
            data.tasks,
            self.process,
            self.options,
            seed=seed,
            norm=norm,
            steps_per_epoch=self.steps_per_epoch,
        )
        self.validation = Validation.on(val, self) if isinstance(val, ShardDataset) else val
        self.saving = checkpoint or Checkpoint()
        self.every, self.seconds = parse_every(self.saving.every)
        self.step = 0
        self.best: float | None = None
        self.held = Held(StopRequest(), None)
        self.asked = self.due = False
        self.saved, self.saved_step = time.monotonic(), -1
        self.writer = Background(limit=1)

    def fit(self) -> Path:
        """Train to the last step, from the newest checkpoint if there is one, and export the network, whose weights
        the model then holds.

        Returns:
            The folder of the exported network, ``out/checkpoints/last``.

        Raises:
            UserError: for bad data, a folder of another run or that another process holds, or a loss that stays
                infinite.
            Interrupted: on SIGINT, SIGTERM or SIGUSR1, with a checkpoint written.
            LostRank: when another rank has ended.
        """
        last = self.checkpoints / "last"
        with running(self.out, self.process) as held:
            settings.claim(self)
            if not broadcast(self.process, checkpoint.exported(last)):
                self.run(held)
                if self.updater.average:
                    self.updater.average.settle()
            else:
                self.updater.load_weights(checkpoint.exported_weights(last))
        return last

    def run(self, held: Held) -> None:
        """Train what is left, in a folder that is held, and export the network as ``checkpoints/last``."""
        self.held = held
        try:
            self.resume()
            if self.main and not self.step and self.architecture:
                say(f"{self.name}: {size_of(self.architecture, self.data.frame or _FRAME)}")
            for _ in self.iterate():
                pass
            self.export("last")
        except Stopped:
            where = f"{self.out}: stopped by {self.signal} while it waited for validation data after step {self.step}"
            raise Interrupted(f"{where}; start the same command again to continue") from None
        finally:
            self.writer.close()
        if self.asked_to_stop():
            raise Interrupted(f"{self.out}: finished, and stopped by {self.signal} before anything else")

    def whole(self) -> nn.Module:
        """The network with whole weights, which an engine may hold in parts; to be called by all ranks."""
        return self.updater.engine.replica()

    @property
    def checkpoints(self) -> Path:
        return self.out / "checkpoints"

    def resume(self) -> None:
        """Continue where the newest whole checkpoint stands, if there is one."""
        if self.main:
            sweep(self.checkpoints)
        path = broadcast(self.process, checkpoint.newest(self.checkpoints) if self.main else None)
        if path is None:
            return
        state = checkpoint.read(path, self.updater.shapes)
        self.updater.load(state)
        self.step = state.step
        best = state.best
        if best and self.validation and DEFAULT.to_json() | best == {"value": best["value"], **self.validation.facts}:
            self.best = best["value"]
        if self.main:
            say(f"continuing {self.out} at step {self.step}")

    def iterate(self) -> Generator[int]:
        """Do the steps that are left, and give each one's number when it is finished, logged and saved."""
        options = self.options
        pin = self.process.device.type == "cuda"
        batches = self.data.batches(self.batches, self.step, self.steps, pin=pin)
        if self.process.num_processes == 1 and self.held.request.signal:
            raise Interrupted(f"{self.out}: stopped before its first step by {self.signal}")
        records = Records(self.out, self.step, options.trace, self.check_lease) if self.main else None
        self.updater.train_mode()
        speed, first = Speed(), True
        try:
            with progress(self.name, self.steps, done=self.step, show=self.main) as report:
                while self.step < self.steps:
                    with speed.waiting(), self.waiting(records):
                        micro = [next(batches) for _ in range(options.gradient_accumulation_steps)]
                    done = self.optimise(micro)
                    if first:
                        check_ranks(self.updater.engine, self.updater.statistics, self.process)
                        first = False
                    speed.samples += options.global_batch_size
                    if options.trace:
                        self.trace(micro, records)
                    if not done:
                        self.skip(micro, records)
                    figures = ""
                    if self.step % options.log_every == 0 or self.step == self.steps:
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
                        where = f"{self.out}: stopped at step {self.step} by {self.signal}"
                        raise Interrupted(f"{where}; start the same command again to continue")
        finally:
            batches.close()
            if records:
                records.close()

    @contextmanager
    def waiting(self, records: Records | None) -> Iterator[None]:
        """Ends a wait for data that was asked to stop: with a checkpoint, for which the ranks must not be in a step.

        Raises:
            Interrupted: when a stop was asked for and no data came.
        """
        try:
            yield
        except Stopped:
            kept = self.step > 0 and self.process.num_processes == 1
            if kept:
                self.save(records)
                self.writer.wait()
            where = f"{self.out}: stopped at step {self.step} by {self.signal} while it waited for data"
            newest = "" if kept or not self.step else ", from the newest checkpoint"
            raise Interrupted(f"{where}; start the same command again to continue{newest}") from None

    def optimise(self, micro: list[Batch]) -> bool:
        """One optimizer step on this rank's micro-batches of a global batch; False if it was skipped."""
        due = self.seconds is not None and self.main and time.monotonic() - self.saved > self.seconds
        rate = learning_rate(self.step, self.steps, self.options)
        flags = [self.held.request.signal is not None, due]
        done, (self.asked, self.due) = self.updater.step(self.step, micro, rate, flags)
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
            say(f"{self.out}: step {self.step}: loss or gradient not finite; skipped")
        if self.updater.lost:
            raise UserError(
                f"the loss of {self.updater.skipped} steps in a row is not finite",
                file=self.out,
                key=f"step {self.step}",
                hint=checkpoint.DIVERGED,
            )

    def stopping(self) -> bool:
        """Whether all ranks stop after this step."""
        return self.held.request.signal is not None if self.process.num_processes == 1 else self.asked

    @property
    def signal(self) -> str:
        """What asked for a stop, in words."""
        return self.held.request.signal.name if self.held.request.signal else "a signal to another rank"

    def asked_to_stop(self) -> bool:
        """Whether any rank has been asked to stop; to be called by all of them."""
        asked = torch.tensor([self.held.request.signal is not None], dtype=torch.int64, device=self.process.device)
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
        losses = self.updater.mean_loss() or []
        return {
            "epoch": self.step / self.steps_per_epoch,
            "lr": learning_rate(self.step - 1, self.steps, self.options),
            **{
                name: {"total": sum(loss), **dict(zip(self.tasks, loss, strict=True))}
                for name, loss in zip(("loss", "weighed"), losses, strict=False)
            },
        }

    def after_step(self, records: Records | None) -> None:
        """Evaluate and save where the configuration asks for it."""
        every = self.validation.every * self.steps_per_epoch if self.validation else 0
        if every and (self.step % every == 0 or self.step == self.steps):
            self.evaluate(records)
        due = self.step % self.every == 0 if self.every else self.due
        if due and self.step < self.steps and not self.updater.skipped:  # what led there may be no good
            self.save(records)

    def evaluate(self, records: Records | None) -> None:
        """Validation figures, and the best checkpoint if this is it."""
        validation = self.validation
        assert validation
        with self.updater.to_be_used():
            metrics = validation.measure(self.whole())
        self.updater.train_mode()
        if records:
            records.step(self.step, {validation.split: metrics})
        try:
            value, better = headline(metrics, validation.best, self.best)
        except UserError:  # of another evaluate.best the run can go on from here
            self.save(records)
            self.writer.wait()
            raise
        if better:
            self.best = value
            self.export("best", value=value, **validation.facts)

    def save(self, records: Records | None) -> None:
        """Write a checkpoint while training goes on, or wait for the one that is being written."""
        if self.step == self.saved_step:
            return
        state = self.updater.state(self.step)
        self.saved, self.saved_step = time.monotonic(), self.step
        if state:
            if self.best is not None and self.validation:
                state.best = {"value": self.best, **self.validation.facts}
            if records:
                records.sync()  # what lies before a checkpoint is never written again
            keep, folder = self.saving.keep, self.checkpoints
            self.writer.submit(partial(checkpoint.save, folder, state, keep, self.check_lease))

    def check_lease(self) -> None:
        if self.held.lease:
            self.held.lease.check()

    def export(self, name: str, **facts: object) -> None:
        with self.updater.to_be_used():
            weights = self.updater.engine.weights()
        if self.main:
            weights = {key: tensor for key, tensor in weights.items() if not key.startswith("weighting.")}
            facts |= {"size": self.data.whole_frame}
            path = self.checkpoints / name
            checkpoint.export(path, weights, self.architecture, self.step, self.check_lease, **facts)
        self.process.wait_for_everyone()


def _line(entry: dict) -> str:
    """A log entry for the progress line."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in entry.get("loss", {}).items() if name != "total")
    speed = entry["speed"]
    return (
        f"{losses} · {speed['samples_per_second']:.1f} samples/s · {speed['waiting_for_data']:.0%} waiting for data · "
        f"{speed['memory_megabytes'] / 1000:.1f} GB"
    )
