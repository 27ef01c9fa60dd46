"""The training loop: from the newest checkpoint to the last step, with all records on the way."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from shards.arguments import check_kind, check_path
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.log import logger
from shards.stream import Batches
from shards.threads import Stopped
from trainer.agreement import check_ranks
from trainer.batch import Batch
from trainer.checkpointing import Checkpointer
from trainer.components import check_training, inputs_of
from trainer.losses import MultiTaskLoss
from trainer.model.checked import check_tasks
from trainer.model.network import architecture_of
from trainer.model.size import describe_size
from trainer.optim import check_options, learning_rate
from trainer.progress import progress
from trainer.runs import artifacts, checkpoint, settings
from trainer.runs.records import Records
from trainer.runs.running import RunHold, hold_run
from trainer.runs.start import store_normalisation
from trainer.runs.status import Interrupted
from trainer.runtime import broadcast, check_accelerator, make_accelerator
from trainer.sections import Checkpoint, Train
from trainer.steplog import StepLog
from trainer.stopping import StopRequest
from trainer.trainingdata import TrainingData
from trainer.updater import Updater
from trainer.validation import Validation, validate
from trainer.weighting import LossWeighting

_FRAME = (480, 640)
"""Frame size for which a network's cost is reported where frames differ in size."""


class Trainer:
    """Trains a network, and records its training.

    A run that is started again continues from its newest complete checkpoint, bit for bit, with any number of ranks; a
    finished run is not trained again. Then ``out`` contains ``checkpoints/last``, the network that
    :class:`trainer.predictor.Predictor` loads, ``metrics.jsonl``, TensorBoard events and ``status.json``. The same
    program runs under ``accelerate launch``, with the engine that it is launched with.

    Args:
        model: the network; its forward is described at :func:`trainer.model.create.create_model`.
        loss: the loss of the predicted tasks.
        data: the training data.
        out: folder of the run.
        val: data that is evaluated after every epoch, and whose best network is kept in ``checkpoints/best``, by the
            first metric of the first task that the data show; or a :class:`Validation` with other settings.
        seed: seed of order, augmentation and dropout; a :class:`TrainingData` may have its own of the first two.
        inputs: names of the network's inputs; by default those of its ``architecture``.
        train: options of optimisation.
        checkpoint: when checkpoints are written, and how many are kept.
        norm: how batch norm is trained, see ``model.norm`` of :class:`trainer.sections.Model`.
        name: name in progress lines; by default that of ``out``.
        accelerator: accelerate's view of this rank; None creates one for this launch.
        weighting: weighting of the losses, for as many tasks; it becomes part of the model.
        optimizer: Adam or AdamW of the model's parameters, in one group; by default that of the options. Its learning
            rate is where the schedule starts, unless the options give another than the default.
        options: single fields of :class:`trainer.sections.Train`, such as ``global_batch_size``, ``steps``, ``epochs``,
            ``lr``, ``precision``, ``ema``.

    Attributes:
        step: number of finished optimizer steps.
        steps: number of steps of the whole run.
        asked: whether any rank has been asked to stop; agreed by all ranks in each step.
        due: whether the first rank's clock requests a checkpoint.

    Raises:
        UserError: for an unknown option, data of other tasks, or a batch size that the ranks cannot share.
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
        accelerator: Accelerator | None = None,
        weighting: LossWeighting | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        **options: Any,
    ) -> None:
        check_path("out", out)
        check_kind("data", data, ShardDataset, TrainingData)
        check_kind("val", val, ShardDataset, Validation, NoneType)
        check_training(
            model,
            loss,
            optimizer=optimizer,
            weighting=weighting,
            accelerator=accelerator,
            train=train,
            checkpoint=checkpoint,
            norm=norm,
            seed=seed,
        )
        self.out, self.seed, self.name = Path(out), seed, name or Path(out).name
        self.architecture = architecture_of(model)
        self.inputs = inputs_of(self.architecture, inputs)
        self.tasks = [task.name for task in loss.tasks]
        self.options = settings.with_options(train or Train(), options)
        if optimizer is not None:
            check_options(optimizer, self.options, options)
            if "lr" not in options and self.options.lr == Train.lr:
                self.options = settings.with_options(self.options, {"lr": float(optimizer.param_groups[0]["lr"])})
        share = self.options.pseudo_share
        if isinstance(data, ShardDataset):
            data = TrainingData(data, self.inputs, self.tasks, seed=seed, pseudo_share=share)
        elif share not in (None, data.pseudo_share):
            hint = f"give it to the data: TrainingData(..., pseudo_share={share})"
            raise UserError(f"is {share}, where the data have {data.pseudo_share}", key="pseudo_share", hint=hint)
        if set(self.inputs) != set(data.inputs):
            message = f"are for inputs {', '.join(data.inputs)}, where the network takes {', '.join(self.inputs)}"
            raise UserError(message, key="data", hint=f"give TrainingData(..., inputs={self.inputs})")
        data = data.seeded(seed)
        check_tasks(loss.tasks, data.tasks, data.frames.manifest.path)
        if weighting is not None:
            model.weighting = weighting
        self.data = data
        if accelerator is not None:
            check_accelerator(accelerator, self.options.precision)
        self.accelerator = accelerator or make_accelerator(self.options.precision, self.options.timeout)
        self.main = self.accelerator.is_main_process
        self.batches = Batches(
            self.options.global_batch_size,
            self.options.gradient_accumulation_steps,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        self.steps_per_epoch = max(data.samples // self.options.global_batch_size, 1)
        self.steps = self.options.steps or self.options.epochs * self.steps_per_epoch
        self.updater = Updater(
            model,
            loss,
            self.inputs,
            data.tasks,
            self.accelerator,
            self.options,
            seed=seed,
            norm=norm,
            steps_per_epoch=self.steps_per_epoch,
            optimizer=optimizer,
            frame=data.frame,
        )
        self.validation = Validation.on(val, self) if isinstance(val, ShardDataset) else val
        self.checkpointer = Checkpointer(
            self.out,
            self.updater,
            self.accelerator,
            checkpoint or Checkpoint(),
            architecture=self.architecture,
            data=data,
            validation_facts=self.validation.facts if self.validation else None,
        )
        self.step = 0
        self.request = StopRequest()
        self.asked = self.due = False

    def fit(self) -> Path:
        """Train to the last step, from the newest checkpoint if there is one, and export the network. The model then
        has the exported weights.

        Returns:
            The folder of the exported network, ``out/checkpoints/last``.

        Raises:
            UserError: for bad data, a folder that belongs to another run or is in use by another process, or a loss
                that stays infinite.
            Interrupted: on SIGINT, SIGTERM or SIGUSR1, with a checkpoint written.
            LostRank: when another rank has ended.
        """
        last = self.checkpointer.folder / "last"
        with hold_run(self.out, self.accelerator) as hold:
            settings.claim(self)
            if not broadcast(self.accelerator, artifacts.read_exported(last)):
                self.run(hold)
                if self.updater.average:
                    self.updater.average.copy_to_network()
            else:
                self.updater.load_weights(checkpoint.exported_weights(last))
        return last

    def run(self, hold: RunHold) -> None:
        """Do the remaining steps in a folder that this launch holds, and export the network as ``checkpoints/last``."""
        self.request, self.checkpointer.lease = hold
        try:
            self.step = self.checkpointer.resume()
            if self.main and not self.step and self.architecture:
                store_normalisation(self.out, self.architecture)
                size = describe_size(self.architecture, self.data.frame or _FRAME)
                logger.info(f"{self.name}: {size or 'its size is not known'}")
            for _ in self.iterate():
                pass
            self.checkpointer.export("last", self.step)
        except Stopped:
            event = f"stopped by {self.request.name} while it waited for validation data after step {self.step}"
            raise Interrupted(f"{self.out}: {event}; start the same command again to continue") from None
        finally:
            self.checkpointer.writer.close()
        if self.request.on_any_rank(self.accelerator):
            raise Interrupted(f"{self.out}: finished, and stopped by {self.request.name} before anything else")

    def whole(self) -> nn.Module:
        """Return the network with whole weights, which an engine may shard; to be called by all ranks."""
        return self.updater.engine.replica()

    def iterate(self) -> Generator[int]:
        """Do the remaining steps, and yield the number of each when it is finished, logged and saved."""
        options = self.options
        pin = self.accelerator.device.type == "cuda"
        batches = self.data.batches(self.batches, self.step, self.steps, pin=pin)
        if self.accelerator.num_processes == 1 and self.request.signal:
            raise Interrupted(f"{self.out}: stopped before its first step by {self.request.name}")
        records = Records(self.out, self.step, options.trace, self.checkpointer.check_lease) if self.main else None
        log, first = StepLog(self, records), True
        self.updater.train_mode()
        try:
            with progress(self.name, self.steps, done=self.step, show=self.main) as report:
                while self.step < self.steps:
                    with log.speed.waiting(), self.waiting(records):
                        micro = [next(batches) for _ in range(options.gradient_accumulation_steps)]
                    completed = self.optimise(micro)
                    if first:
                        check_ranks(self.updater.engine, self.updater.statistics, self.accelerator)
                        first = False
                    figures = log.step(micro, completed)
                    self.after_step(records)
                    report(1, figures)
                    yield self.step
                    if self.step < self.steps and self.stopping():
                        self.save(records)
                        self.accelerator.wait_for_everyone()  # the launcher ends all ranks soon after the first
                        event = f"{self.out}: stopped at step {self.step} by {self.request.name}"
                        raise Interrupted(f"{event}; start the same command again to continue")
        finally:
            batches.close()
            if records:
                records.close()

    @contextmanager
    def waiting(self, records: Records | None) -> Iterator[None]:
        """Context of a wait for data that a stop may end: with a checkpoint, unless other ranks may be within a step.

        Raises:
            Interrupted: when a stop was requested and no data arrived.
        """
        try:
            yield
        except Stopped:
            can_save = self.step > 0 and self.accelerator.num_processes == 1
            if can_save:
                self.save(records)
            event = f"{self.out}: stopped at step {self.step} by {self.request.name} while it waited for data"
            origin = "" if can_save or not self.step else ", from the newest checkpoint"
            raise Interrupted(f"{event}; start the same command again to continue{origin}") from None

    def optimise(self, micro: list[Batch]) -> bool:
        """Do one optimizer step on this rank's micro-batches of a global batch; returns False if it was skipped."""
        rate = learning_rate(self.step, self.steps, self.options)
        flags = [self.request.signal is not None, self.main and self.checkpointer.overdue]
        completed, (self.asked, self.due) = self.updater.step(self.step, micro, rate, flags)
        self.step += 1
        return completed

    def stopping(self) -> bool:
        """Whether all ranks stop after this step."""
        return self.request.signal is not None if self.accelerator.num_processes == 1 else self.asked

    def after_step(self, records: Records | None) -> None:
        """Evaluate and save a checkpoint at the configured intervals."""
        every = self.validation.every * self.steps_per_epoch if self.validation else 0
        if self.validation and every and (self.step % every == 0 or self.step == self.steps):
            validate(self, self.validation, records)
        due = self.step % self.checkpointer.every == 0 if self.checkpointer.every else self.due
        if due and self.step < self.steps and not self.updater.skipped:  # weights before a skipped step may be bad
            self.checkpointer.save(self.step, records)

    def save(self, records: Records | None) -> None:
        """Write a checkpoint, and wait until it is complete."""
        self.checkpointer.save(self.step, records)
        self.checkpointer.writer.wait()
