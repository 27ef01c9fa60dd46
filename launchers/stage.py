"""The stages of an experiment: whether one is finished, what would keep it from that, how far it has come."""

from dataclasses import dataclass

from shards.errors import UserError
from shards.manifest import NAME
from shards.store import place
from trainer.evaluate import evaluated
from trainer.experiment import Experiment
from trainer.foreseen import check_training
from trainer.pipeline import EVALUATE, LABEL, TRAIN, Job, jobs
from trainer.pseudolabels.labelling import labelled
from trainer.runs import checkpoint, status

_NOT_BEGUN = "not begun"


@dataclass(frozen=True)
class Stage:
    """What the commands ``train``, ``label`` and ``evaluate`` do for an experiment."""

    name: str
    experiment: Experiment

    def finished(self) -> bool:
        """Whether what it makes is there, whatever became of the processes that made it."""
        if self.name == LABEL:
            return labelled(self.experiment)
        if self.name == EVALUATE:
            return evaluated(self.experiment) is not None
        return checkpoint.exported(self.experiment.checkpoints / "last") is not None

    def progress(self) -> int:
        """A number that grows from one start to the next if they are of any use: steps or shards that are done."""
        if self.name == LABEL:
            return len(list(self.experiment.labels.glob("[!.]*.tar")))
        newest = checkpoint.newest(self.experiment.checkpoints)
        return int(newest.name.rpartition("-")[2]) if newest and self.name == TRAIN else 0

    def check(self) -> None:
        """Find now what would make it fail however often it is started.

        Raises:
            UserError: bad configuration or data, or a stage that must come first.
        """
        if self.name == TRAIN:
            check_training(self.experiment)
            return
        chosen = self.experiment.config.evaluate.checkpoint
        if checkpoint.exported(self.experiment.checkpoints / chosen) is None:
            hint = f"train it first (`tutelage train {self.experiment.spelling}`)"
            raise UserError(f"there is no {chosen} checkpoint", file=self.experiment.checkpoints, hint=hint)

    def state(self) -> tuple[str, str]:
        """What :mod:`trainer.runs.status` would call it, or "not begun"; and why."""
        if self.finished():
            return status.FINISHED, "-"
        said = status.read(self.experiment.folder)
        if not said or said.stage != self.name or said.state == status.FINISHED:
            return _NOT_BEGUN, "-"
        return said.state, said.why or f"on {said.host}" + (f", job {said.job}" if said.job else "")


def standing(experiment: Experiment) -> list[tuple[Job, str, str]]:
    """Every job that an experiment takes, its state, and why it is in it."""
    prepared = (place(experiment.config.data.path) / NAME).exists()
    found = []
    for job in jobs(experiment):
        if not job.stages:
            state, why = (status.FINISHED if prepared else _NOT_BEGUN), experiment.config.data.name
        else:
            states = [Stage(name, job.experiment) for name in job.stages]
            state, why = _state(states) if prepared else (_NOT_BEGUN, "-")
        found.append((job, state, why))
    return found


def _state(stages: list[Stage]) -> tuple[str, str]:
    states = [stage.state() for stage in stages]
    return next((each for each in states if each[0] != status.FINISHED), states[-1])
