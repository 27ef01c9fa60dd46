"""The training loop, from the newest checkpoint to the last step."""

from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from shards.errors import UserError
from shards.stream import Batches
from trainer import checkpoint
from trainer.config import Config
from trainer.data import Batch, training_batches
from trainer.evaluate import check_best, evaluate_network, headline
from trainer.experiment import Experiment
from trainer.frames import Frames
from trainer.losses import Criterion
from trainer.model.network import Predictions, build
from trainer.optim import learning_rate, make_optimizer, set_learning_rate
from trainer.progress import Speed, console, progress
from trainer.records import Records
from trainer.runfolder import claim
from trainer.runtime import StopRequest, accelerator


class Interrupted(Exception):
    """A signal asked the run to stop; its checkpoint is written."""


def train(experiment: Experiment) -> Path:
    """Train an experiment's network, continuing a run that was interrupted, and export its last state.

    Returns:
        The folder of the exported network. A run that has finished returns at once.

    Raises:
        UserError: a bad configuration, bad data, or a loss that is not finite.
        Interrupted: on SIGINT, SIGTERM or SIGUSR1, with a checkpoint written, or the network if it was the last step.
    """
    last = experiment.checkpoints / "last"
    claim(experiment)
    if checkpoint.exported(last):
        return last
    trainer = Trainer(experiment)
    trainer.resume()
    for _ in trainer.iterate():
        pass
    trainer.export("last")
    if trainer.asked_to_stop():
        raise Interrupted(f"{experiment.folder}: finished, and stopped by {trainer.signal} before anything else")
    return last


class Trainer:
    """The state of a training run and its steps.

    Attributes:
        step: optimizer steps that are finished.
        steps: of the whole run.
        samples: that an epoch chooses from.
        loss: of each task, ``(T,)``, summed over the steps since the last log line (this rank's share).
        logged: step of the last log line.
        asked: how often ranks saw that one of them was asked to stop, the same number on all of them.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.config = experiment, experiment.config
        config: Config = self.config
        check_best(experiment)
        self.accelerator: Accelerator = accelerator(config.train.precision)
        self.main = self.accelerator.is_main_process
        self.frames: Frames = experiment.training_frames()
        self.criterion = Criterion(experiment.tasks, config.loss.weights, config.loss.normalise)  # type: ignore[arg-type]
        self.batches = Batches(
            config.train.global_batch,
            config.train.accumulation,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        self.samples = int(self.frames.to_train(config.inputs, config.tasks).sum())
        self.steps_per_epoch = max(self.samples // config.train.global_batch, 1)
        self.steps = config.train.steps or config.train.epochs * self.steps_per_epoch
        self.format = torch.channels_last if config.train.channels_last else torch.contiguous_format

        torch.manual_seed(config.seed)
        network = build(experiment.architecture, config.model.pretrained)
        self.plain = network.to(self.accelerator.device, memory_format=self.format)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.plain, config.train)
        compiled = torch.compile(self.plain) if config.train.compile else self.plain
        self.network, self.stepper = self.accelerator.prepare(compiled, self.optimizer)
        self.step = 0
        self.loss = torch.zeros(len(experiment.tasks), device=self.accelerator.device)
        self.logged = 0
        self.best: float | None = None
        self.request = StopRequest()
        self.asked = torch.zeros((), dtype=torch.int64, device=self.accelerator.device)

    def resume(self) -> None:
        """Continue where the newest whole checkpoint stands, if there is one."""
        path = checkpoint.newest(self.experiment.checkpoints)
        if path is None:
            return
        resumed = checkpoint.resume(path, self.plain, self.optimizer, self.accelerator.scaler)
        self.step, self.logged = resumed.step, resumed.logged
        if self.main:  # it holds the sum over ranks
            self.loss = resumed.loss.to(self.loss.device)
        best = checkpoint.exported(self.experiment.checkpoints / "best")
        if best and best == best | self.best_of():
            self.best = best["value"]
        if self.main:
            console.print(f"continuing {self.experiment.folder} at step {self.step}", highlight=False, soft_wrap=True)

    def iterate(self) -> Generator[int]:
        """Do the steps that are left, and give each one's number when it is finished, logged and saved."""
        config = self.config.train
        batches = training_batches(
            self.config,
            self.frames,
            self.criterion,
            self.batches,
            self.step,
            self.steps,
            pin=self.accelerator.device.type == "cuda",
        )
        records = Records(self.experiment.folder, self.step, config.trace) if self.main else None
        title = self.config.experiment
        self.network.train()
        speed = Speed()
        try:
            with self.request, progress(title, self.steps, done=self.step, show=self.main) as report:
                while self.step < self.steps:
                    with speed.waiting():
                        micro = [next(batches) for _ in range(config.accumulation)]
                    self.optimise(micro)
                    speed.samples += config.global_batch
                    if config.trace:
                        self.trace(micro, records)
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
                        self.save()
                        where = f"{self.experiment.folder}: stopped at step {self.step} by {self.signal}"
                        raise Interrupted(f"{where}; start the same command again to continue")
        finally:
            batches.close()
            if records:
                records.close()

    def optimise(self, micro: list[Batch]) -> None:
        """One optimizer step on this rank's micro-batches of a global batch."""
        set_learning_rate(self.optimizer, learning_rate(self.step, self.steps, self.config.train))
        counts = torch.stack([batch.counts for batch in micro]).sum(0)
        asked = counts.new_tensor([self.request.signal is not None])  # with them, so that all ranks stop together
        totals = self.accelerator.reduce(torch.cat([counts, asked]).to(self.accelerator.device), "sum")
        denominators = totals[:-1]
        self.asked = self.asked + totals[-1]
        for number, batch in enumerate(micro):
            batch = batch.to(self.accelerator.device)
            last = number == len(micro) - 1
            with self.accelerator.no_sync(self.network) if not last else nullcontext():
                predictions = self.predict(batch)
                terms = self.criterion.terms(predictions, batch.labels, denominators)
                # DDP averages over ranks what is a sum here
                self.accelerator.backward(terms.sum() * self.accelerator.num_processes)
            self.loss += terms.detach()
        if self.config.train.clip is not None:
            self.accelerator.clip_grad_norm_(self.plain.parameters(), self.config.train.clip)
        self.stepper.step()
        self.stepper.zero_grad()
        self.step += 1

    def stopping(self) -> bool:
        """Whether all ranks stop after this step. Several ranks on GPUs look only where a log line has waited for the
        device anyway: to wait for it in every step would leave it idle."""
        if self.accelerator.num_processes == 1:
            return self.request.signal is not None
        looks = self.accelerator.device.type == "cpu" or self.step % self.config.train.log_every == 0
        return looks and bool(self.asked)

    def predict(self, batch: Batch) -> Predictions:
        """The network's output for a micro-batch.

        Raises:
            UserError: when a feature map has a single value, which batch norm cannot normalise.
        """
        try:
            return self.network(batch.inputs(self.config.inputs, self.format))
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            what = f"{len(batch.keys)} frame of {batch.rgb.shape[2]}x{batch.rgb.shape[3]} is too little for batch norm"
            cure = "give each micro-batch 2 frames or more, or make data.crop (data.size) larger"
            raise UserError(what, key="train.global_batch", cure=cure) from error

    @property
    def signal(self) -> str:
        """What asked for a stop, in words."""
        return self.request.signal.name if self.request.signal else "a signal to another rank"

    def asked_to_stop(self) -> bool:
        """Whether any rank has been asked to stop; to be called by all of them."""
        asked = torch.tensor([self.request.signal is not None], dtype=torch.int64, device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum"))

    def trace(self, micro: list[Batch], records: Records | None) -> None:
        """Record the keys of the global batch in position order: by micro-batch, then by rank."""
        parts_of_ranks = gather_object([[batch.keys for batch in micro]])
        keys = [key for parts in zip(*parts_of_ranks, strict=True) for part in parts for key in part]
        if records:
            records.keys(self.step, (self.step - 1) // self.steps_per_epoch, keys)

    def figures(self) -> dict[str, Any]:
        """The figures of the steps since the last log line."""
        loss = (self.total_loss() / (self.step - self.logged)).tolist()
        self.loss.zero_()
        self.logged = self.step
        names = [task.name for task in self.experiment.tasks]
        return {
            "epoch": self.step / self.steps_per_epoch,
            "lr": learning_rate(self.step - 1, self.steps, self.config.train),
            "loss": {"total": sum(loss), **dict(zip(names, loss, strict=True))},
        }

    def total_loss(self) -> torch.Tensor:
        """The losses since the last log line over all ranks, ``(T,)``.

        Raises:
            UserError: when one is not finite.
        """
        loss = self.accelerator.reduce(self.loss, "sum")
        if not loss.isfinite().all():
            raise UserError(
                f"the loss is {loss.tolist()}",
                file=self.experiment.folder,
                key=f"step {self.step}",
                cure="start another run (run.root) with a lower train.lr, with train.clip, or in train.precision=fp32",
            )
        return loss

    def after_step(self, records: Records | None) -> None:
        """Evaluate and save where the configuration asks for it."""
        every = self.config.evaluate.every * self.steps_per_epoch
        if every and (self.step % every == 0 or self.step == self.steps):
            self.evaluate(records)
        if self.step % self.config.checkpoint.every == 0 and self.step < self.steps:
            self.save()

    def evaluate(self, records: Records | None) -> None:
        """Validation figures, and the best checkpoint if this is it."""
        metrics = evaluate_network(self.experiment, self.plain, self.accelerator, show=False)
        self.network.train()
        value, better = headline(metrics, self.config.evaluate.best, self.best)
        if records:
            records.step(self.step, {self.config.evaluate.split: metrics})
        if better:
            self.best = value
            self.export("best", value=value, **self.best_of())

    def best_of(self) -> dict[str, Any]:
        """What the best checkpoint is best in: only values of the same can be compared."""
        config = self.config
        return {"metric": config.evaluate.best, "split": config.evaluate.split, "val": config.val}

    def save(self) -> None:
        loss = self.total_loss()  # a run never continues from weights that are lost
        if self.main:
            scaler = self.accelerator.scaler
            keep = self.config.checkpoint.keep
            folder = self.experiment.checkpoints
            checkpoint.save(folder, self.step, self.plain, self.optimizer, scaler, loss, self.logged, keep)
        self.accelerator.wait_for_everyone()

    def export(self, name: str, **facts: object) -> None:
        if self.main:
            path = self.experiment.checkpoints / name
            checkpoint.export(path, self.plain, self.experiment.architecture, self.step, **facts)
        self.accelerator.wait_for_everyone()


def _line(entry: dict) -> str:
    """A log entry for the progress line."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in entry["loss"].items() if name != "total")
    speed = entry["speed"]
    return (
        f"{losses} · {speed['samples_per_second']:.1f} samples/s · {speed['waiting_for_data']:.0%} waiting for data · "
        f"{speed['memory_megabytes'] / 1000:.1f} GB"
    )
