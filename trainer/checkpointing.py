"""The files that a run keeps of its network: checkpoints to continue from, and exported networks."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from shards.atomic import sweep
from shards.log import logger
from trainer.measurement import DEFAULT
from trainer.model.architecture import Architecture
from trainer.overlap import Background
from trainer.parsing import parse_every
from trainer.runs import artifacts, checkpoint
from trainer.runs.lease import Lease
from trainer.runs.records import Records
from trainer.runtime import broadcast
from trainer.sections import Checkpoint
from trainer.trainingdata import TrainingData
from trainer.updater import Updater
from trainer.weighting import without_weighting


class Checkpointer:
    """Writes checkpoints while training goes on, reads the newest one, and exports networks.

    Args:
        out: the run's folder.
        updater: of the network; checkpoints hold its state.
        accelerator: this rank among the others.
        options: when checkpoints are written, and how many are kept.
        architecture: of the network, stored with exported networks; None for a network that has none.
        data: the training data; the size of its frames is stored with exported networks.
        validation_facts: how validation measures, as JSON values; None without validation.

    Attributes:
        best: the best validation figure so far, among those measured in this way.
        every: steps between checkpoints; None where the clock decides.
        lease: on the run's folder; no file gets its final name without it.
    """

    def __init__(
        self,
        out: Path,
        updater: Updater,
        accelerator: Accelerator,
        options: Checkpoint,
        *,
        architecture: Architecture | None,
        data: TrainingData,
        validation_facts: Mapping[str, Any] | None,
    ) -> None:
        self.out, self.updater, self.accelerator, self.keep = out, updater, accelerator, options.keep
        self.architecture, self.data, self.validation_facts = architecture, data, validation_facts
        self.every, self.seconds = parse_every(options.every)
        self.best: float | None = None
        self.lease: Lease | None = None
        self.saved_at, self.saved_step = time.monotonic(), -1
        self.writer = Background(limit=1)

    @property
    def folder(self) -> Path:
        return self.out / "checkpoints"

    @property
    def overdue(self) -> bool:
        """Whether a checkpoint is due by this rank's clock."""
        return self.seconds is not None and time.monotonic() - self.saved_at > self.seconds

    def resume(self) -> int:
        """Load the newest whole checkpoint, if there is one.

        Returns:
            The number of its finished steps, 0 without a checkpoint.
        """
        main = self.accelerator.is_main_process
        if main:
            sweep(self.folder)
        path = broadcast(self.accelerator, artifacts.newest(self.folder) if main else None)
        if path is None:
            return 0
        state = checkpoint.read(path, self.updater.shapes)
        self.updater.load(state)
        best, facts = state.best, self.validation_facts
        if best and facts is not None and DEFAULT.to_json() | best == {"value": best["value"], **facts}:
            self.best = best["value"]
        if main:
            logger.info(f"continuing {self.out} at step {state.step}")
        return state.step

    def save(self, step: int, records: Records | None) -> None:
        """Write a checkpoint in the background, after waiting for one that is still being written; to be called by all
        ranks.

        Args:
            records: of the run, on the first rank; synced first, since what precedes a checkpoint is not rewritten.
        """
        if step == self.saved_step:
            return
        state = self.updater.state(step)
        self.saved_at, self.saved_step = time.monotonic(), step
        if state:
            if self.best is not None and self.validation_facts is not None:
                state.best = {"value": self.best, **self.validation_facts}
            if records:
                records.sync()
            self.writer.submit(partial(checkpoint.save, self.folder, state, self.keep, self.check_lease))

    def export(self, name: str, step: int, **facts: object) -> None:
        """Export the network, with its averaged weights if any, as ``checkpoints/NAME``; to be called by all ranks."""
        with self.updater.averaged_weights():
            weights = self.updater.engine.weights()
        if self.accelerator.is_main_process:
            weights = without_weighting(weights)
            facts |= {"size": self.data.whole_frame}
            checkpoint.export(self.folder / name, weights, self.architecture, step, self.check_lease, **facts)
        self.accelerator.wait_for_everyone()

    def check_lease(self) -> None:
        """Make sure that this process still holds the folder.

        Raises:
            LeaseLost: when another process does.
        """
        if self.lease:
            self.lease.check()
