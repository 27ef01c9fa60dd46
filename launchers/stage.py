"""The stages of an experiment: whether one is finished, what would keep it from that, how far it has come."""

from dataclasses import dataclass
from pathlib import Path

from shards.errors import UserError
from shards.manifest import NAME
from trainer.evaluate import evaluated
from trainer.experiment import Experiment
from trainer.foreseen import check_training
from trainer.pseudolabels.labelling import labelled
from trainer.runs import checkpoint, status


@dataclass(frozen=True)
class Stage:
    """What the commands ``train``, ``label`` and ``evaluate`` do for an experiment."""

    name: str
    experiment: Experiment

    def finished(self) -> bool:
        """Whether what it makes is there, whatever became of the processes that made it."""
        if self.name == "label":
            return labelled(self.experiment)
        if self.name == "evaluate":
            return evaluated(self.experiment) is not None
        return checkpoint.exported(self.experiment.checkpoints / "last") is not None

    def progress(self) -> int:
        """A number that grows from one start to the next if they are of any use: steps or shards that are done."""
        if self.name == "label":
            return len(list(self.experiment.labels.glob("[!.]*.tar")))
        newest = checkpoint.newest(self.experiment.checkpoints)
        return int(newest.name.rpartition("-")[2]) if newest and self.name == "train" else 0

    def check(self) -> None:
        """Find now what would make it fail however often it is started.

        Raises:
            UserError: bad configuration or data, or a stage that must come first.
        """
        if self.name == "train":
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
        if said.get("stage") != self.name or said["state"] == status.FINISHED:
            return "not begun", "-"
        return said["state"], said["why"] or f"on {said['host']}" + (f", job {said['job']}" if said["job"] else "")


@dataclass(frozen=True)
class Job:
    """What a script of ``slurm/`` does for one experiment, and where that stands.

    Args:
        after: the numbers of the jobs that must have finished before.
        why: about the state.
    """

    script: str
    experiment: Experiment
    after: list[int]
    state: str
    why: str


def jobs(experiment: Experiment) -> list[Job]:
    """Every job that an experiment takes, its teachers' too, in an order in which they can be done."""
    found: list[Job] = []
    prepared = (Path(experiment.config.data.path) / NAME).exists()

    def add(script: str, of: Experiment, after: list[int], *stages: str) -> int:
        state, why = _state([Stage(name, of) for name in stages]) if prepared else ("not begun", "-")
        found.append(Job(script, of, after, state, why))
        return len(found) - 1

    state, why = ("finished" if prepared else "not begun"), experiment.config.data.name
    found.append(Job("prepare", experiment, [], state, why))
    labels: dict[Path, int] = {}

    def add_teachers(of: Experiment) -> list[int]:
        teachers = list(of.teachers().values())
        for teacher in teachers:
            if teacher.folder not in labels:
                labels[teacher.folder] = -1  # of a circle, which its jobs will refuse
                trained = add("teacher", teacher, [0, *add_teachers(teacher)], "train", "evaluate")
                labels[teacher.folder] = add("label", teacher, [trained], "label")
        return [labels[teacher.folder] for teacher in teachers if labels[teacher.folder] > 0]

    trained = add("student", experiment, [0, *add_teachers(experiment)], "train")
    add("evaluate", experiment, [trained], "evaluate")
    return found


def _state(stages: list[Stage]) -> tuple[str, str]:
    states = [stage.state() for stage in stages]
    return next((each for each in states if each[0] != status.FINISHED), states[-1])
