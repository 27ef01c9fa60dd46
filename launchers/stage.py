"""The stages of an experiment: whether they are finished, what would make them fail, and their progress."""

from dataclasses import dataclass

from shards.errors import UserError
from shards.manifest import NAME
from shards.store import place
from trainer.conditions import existing_result
from trainer.experiment import Experiment
from trainer.pipeline import EVALUATE, LABEL, TRAIN, Job, jobs
from trainer.pseudolabels.plan import is_labelled
from trainer.runs import artifacts, status
from trainer.runs.folder import other_data, other_settings
from trainer.runs.result import NAME as RESULT

_DONE = {TRAIN: "trained", LABEL: "labelled", EVALUATE: "evaluated"}


@dataclass(frozen=True)
class Stage:
    """One stage of an experiment: the work of the command ``train``, ``label`` or ``evaluate``."""

    name: str
    experiment: Experiment

    def finished(self) -> bool:
        """Whether its output is complete, however its processes ended."""
        if self.name == LABEL:
            return is_labelled(self.experiment)
        if self.name == EVALUATE:
            return existing_result(self.experiment) is not None
        return artifacts.read_exported(self.experiment.checkpoints / "last") is not None

    def exists(self) -> bool:
        """Whether there is output, of whatever data."""
        run = self.experiment
        output = {TRAIN: run.checkpoints / "last", LABEL: run.labels / NAME, EVALUATE: run.folder / RESULT}
        return output[self.name].exists()

    def progress(self) -> int:
        """Return the number of finished steps or shards, which grows with every start that makes progress."""
        if self.name == LABEL:
            return len(list(self.experiment.labels.glob("[!.]*.tar")))
        newest = artifacts.newest(self.experiment.checkpoints)
        return int(newest.name.rpartition("-")[2]) if newest and self.name == TRAIN else 0

    def check(self) -> None:
        """Raise the errors that would make it fail at every start.

        Raises:
            UserError: bad configuration or data, or a stage that must come first.
        """
        if self.name == TRAIN:
            from trainer.foreseen import check_training  # which imports torch

            check_training(self.experiment)
            return
        chosen = self.experiment.config.evaluate.checkpoint
        if artifacts.read_exported(self.experiment.checkpoints / chosen) is None:
            hint = f"train it first (`tutelage train {self.experiment.spelling}`)"
            raise UserError(f"there is no {chosen} checkpoint", file=self.experiment.checkpoints, hint=hint)

    def state(self, prepared: bool = True) -> tuple[str, str]:
        """Return the state, in the words of :mod:`trainer.runs.status`, and its reason.

        Args:
            prepared: whether the data set exists. Without it, output counts as complete if it is there.
        """
        if self.finished() if prepared else self.exists():
            return status.FINISHED, "-"
        last_status = status.current(self.experiment.folder)
        if not last_status or last_status.stage != self.name or last_status.state == status.FINISHED:
            return status.PENDING, "-"
        job = f", job {last_status.job}" if last_status.job else ""
        return last_status.state, last_status.why or f"on {last_status.host}{job}"


def job_states(experiment: Experiment) -> list[tuple[Job, str, str]]:
    """Return every job of an experiment, its state, and the reason for that state."""
    is_prepared = (place(experiment.config.data.path) / NAME).exists()
    states_of_jobs = []
    for job in jobs(experiment):
        if not job.stages:
            state, reason = (status.FINISHED if is_prepared else status.PENDING), experiment.config.data.name
        elif difference := other_settings(job.experiment):
            state, reason = status.OTHER, difference
        elif difference := other_data(job.experiment):
            state, reason = status.OTHER_DATA, difference
        else:
            state, reason = _state_of(job, is_prepared)
        states_of_jobs.append((job, state, reason))
    return states_of_jobs


def _state_of(job: Job, is_prepared: bool) -> tuple[str, str]:
    """Return the state of the first of a job's stages that is not finished, and its reason."""
    finished: list[str] = []
    for name in job.stages:
        state, reason = Stage(name, job.experiment).state(is_prepared)
        if state == status.PENDING and finished:
            reason = f"{_DONE[finished[-1]]}, not {_DONE[name]}"
        if state != status.FINISHED:
            break
        finished.append(name)
    return state, reason
