"""What is recorded of the steps of a run: losses and speed at intervals, the keys of batches, and skipped steps."""

from typing import TYPE_CHECKING, Any

from shards.errors import UserError
from shards.log import logger
from trainer.batch import Batch
from trainer.optim import learning_rate
from trainer.progress import Speed, figures_line
from trainer.runs import checkpoint
from trainer.runs.records import Records
from trainer.runtime import gather_keys

if TYPE_CHECKING:
    from trainer.trainer import Trainer


class StepLog:
    """Records the steps of a trainer. All ranks call it, and the first one writes.

    Args:
        trainer: the trainer.
        records: the records of its run; None on other ranks.

    Attributes:
        speed: measures the time between log lines.
    """

    def __init__(self, trainer: "Trainer", records: Records | None) -> None:
        self.trainer, self.records, self.speed = trainer, records, Speed()

    def step(self, micro: list[Batch], completed: bool) -> str:
        """Record the step that was just done.

        Args:
            micro: this rank's micro-batches.
            completed: False for a step that was skipped.

        Returns:
            The figures for the progress line; empty between log lines.

        Raises:
            UserError: when too many steps were skipped in a row; the same on all ranks.
        """
        trainer, options = self.trainer, self.trainer.options
        self.speed.samples += options.global_batch_size
        if options.trace:
            keys = gather_keys([batch.keys for batch in micro])
            if self.records:
                self.records.write_keys(trainer.step, (trainer.step - 1) // trainer.steps_per_epoch, keys)
        if not completed:
            self._skip(micro)
        if trainer.step % options.log_every and trainer.step != trainer.steps:
            return ""
        entry = self._figures() | {"speed": self.speed.read()}
        if self.records:
            self.records.write_metrics(trainer.step, entry)
        return figures_line(entry)

    def _skip(self, micro: list[Batch]) -> None:
        """Record a skipped step, and end the run if too many were skipped in a row."""
        trainer = self.trainer
        keys = gather_keys([batch.keys for batch in micro])
        if self.records:
            self.records.write_metrics(trainer.step, {"skipped": {"keys": keys}})
            logger.warning(f"{trainer.out}: step {trainer.step}: loss or gradient not finite; skipped")
        if trainer.updater.diverged:
            raise UserError(
                f"the loss or a gradient of {trainer.updater.skipped} steps in a row is not finite",
                file=trainer.out,
                key=f"step {trainer.step}",
                hint=checkpoint.DIVERGED,
            )

    def _figures(self) -> dict[str, Any]:
        """Return the figures of the steps since the last log line."""
        trainer = self.trainer
        losses = trainer.updater.mean_loss() or []
        return {
            "epoch": trainer.step / trainer.steps_per_epoch,
            "lr": learning_rate(trainer.step - 1, trainer.steps, trainer.options),
            **{
                name: {"total": sum(loss), **dict(zip(trainer.tasks, loss, strict=True))}
                for name, loss in zip(("loss", "weighed"), losses, strict=False)
            },
        }
