"""The training loop: from the newest checkpoint to the last step, and what is written down on the way."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.stream import Batches
from shards.threads import Stopped
from trainer.agreement import check_ranks
from trainer.batch import Batch
from trainer.checkpointing import Checkpointer
from trainer.components import check_components
from trainer.config import Checkpoint, Train
from trainer.losses import MultiTaskLoss
from trainer.model.checked import check_tasks
from trainer.model.network import described
from trainer.model.size import size_of
from trainer.optim import learning_rate
from trainer.progress import Speed, figures_line, progress, say
from trainer.runs import checkpoint, settings
from trainer.runs.records import Records
from trainer.runs.running import Held, running
from trainer.runs.status import Interrupted
from trainer.runtime import StopRequest, accelerator, broadcast, keys_of_all
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
        self.checkpointer = Checkpointer(
            self.out,
            self.updater,
            self.process,
            checkpoint or Checkpoint(),
            architecture=self.architecture,
            data=data,
            measured=self.validation.facts if self.validation else None,
        )
        self.step = 0
        self.request = StopRequest()
        self.asked = self.due = False

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
        last = self.checkpointer.folder / "last"
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
        self.request, self.checkpointer.lease = held
        try:
            self.step = self.checkpointer.resume()
            if self.main and not self.step and self.architecture:
                say(f"{self.name}: {size_of(self.architecture, self.data.frame or _FRAME)}")
            for _ in self.iterate():
                pass
            self.checkpointer.export("last", self.step)
        except Stopped:
            where = f"{self.out}: stopped by {self.signal} while it waited for validation data after step {self.step}"
            raise Interrupted(f"{where}; start the same command again to continue") from None
        finally:
            self.checkpointer.writer.close()
        if self.asked_to_stop():
            raise Interrupted(f"{self.out}: finished, and stopped by {self.signal} before anything else")

    def whole(self) -> nn.Module:
        """The network with whole weights, which an engine may hold in parts; to be called by all ranks."""
        return self.updater.engine.replica()

    def iterate(self) -> Generator[int]:
        """Do the steps that are left, and give each one's number when it is finished, logged and saved."""
        options = self.options
        pin = self.process.device.type == "cuda"
        batches = self.data.batches(self.batches, self.step, self.steps, pin=pin)
        if self.process.num_processes == 1 and self.request.signal:
            raise Interrupted(f"{self.out}: stopped before its first step by {self.signal}")
        records = Records(self.out, self.step, options.trace, self.checkpointer.check_lease) if self.main else None
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
                        figures = figures_line(entry)
                        if records:
                            records.step(self.step, entry)
                    self.after_step(records)
                    report(1, figures)
                    yield self.step
                    if self.step < self.steps and self.stopping():
                        self.save(records)
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
            where = f"{self.out}: stopped at step {self.step} by {self.signal} while it waited for data"
            newest = "" if kept or not self.step else ", from the newest checkpoint"
            raise Interrupted(f"{where}; start the same command again to continue{newest}") from None

    def optimise(self, micro: list[Batch]) -> bool:
        """One optimizer step on this rank's micro-batches of a global batch; False if it was skipped."""
        rate = learning_rate(self.step, self.steps, self.options)
        flags = [self.request.signal is not None, self.main and self.checkpointer.overdue]
        done, (self.asked, self.due) = self.updater.step(self.step, micro, rate, flags)
        self.step += 1
        return done

    def skip(self, micro: list[Batch], records: Records | None) -> None:
        """Record a step that was skipped, and end the run if it was one too many.

        Raises:
            UserError: the same on all ranks.
        """
        keys = keys_of_all([batch.keys for batch in micro])
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
        return self.request.signal is not None if self.process.num_processes == 1 else self.asked

    @property
    def signal(self) -> str:
        """What asked for a stop, in words."""
        return self.request.signal.name if self.request.signal else "a signal to another rank"

    def asked_to_stop(self) -> bool:
        """Whether any rank has been asked to stop; to be called by all of them."""
        asked = torch.tensor([self.request.signal is not None], dtype=torch.int64, device=self.process.device)
        return bool(self.process.reduce(asked, "sum"))

    def trace(self, micro: list[Batch], records: Records | None) -> None:
        keys = keys_of_all([batch.keys for batch in micro])
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
        due = self.step % self.checkpointer.every == 0 if self.checkpointer.every else self.due
        if due and self.step < self.steps and not self.updater.skipped:  # what led there may be no good
            self.checkpointer.save(self.step, records)

    def save(self, records: Records | None) -> None:
        """Write a checkpoint, and wait until it is there."""
        self.checkpointer.save(self.step, records)
        self.checkpointer.writer.wait()

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
            value, better = headline(metrics, validation.best, self.checkpointer.best)
        except UserError:  # of another evaluate.best the run can go on from here
            self.save(records)
            raise
        if better:
            self.checkpointer.best = value
            self.checkpointer.export("best", self.step, value=value, **validation.facts)
