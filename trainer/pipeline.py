"""What an experiment takes, as a graph: whose labels it learns from, and which work waits for which.

    prepare ─┬─> teacher ──> label ─┐
             └──────────────────────┴─> student ──> evaluate

The one place that knows it: :mod:`trainer.stages` does the jobs one after another, a grid lists their networks,
``tutelage status`` shows them, and ``slurm/`` submits them. A teacher may have teachers of its own. ``affinity.json``
is no job of the graph, since a configuration with ``pseudo: auto`` cannot be read before it is there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a job script asks for its stages alone, which takes no torch
    from trainer.experiment import Experiment

TRAIN, LABEL, EVALUATE = "train", "label", "evaluate"
STAGES = {
    "prepare": (),
    "teacher": (TRAIN, EVALUATE),
    "label": (LABEL,),
    "student": (TRAIN,),
    "evaluate": (EVALUATE,),
}
"""By job, which is also the name of a script of ``slurm/``, the commands that it runs for its experiment. The data set
is made by another command for each source."""


@dataclass(frozen=True)
class Job:
    """What is done for one experiment at one go.

    Args:
        name: of :data:`STAGES`.
        experiment: whose job it is.
        after: the numbers of the jobs that must have finished before.
    """

    name: str
    experiment: "Experiment"
    after: tuple[int, ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        return STAGES[self.name]


def jobs(experiment: "Experiment") -> list[Job]:
    """Every job that an experiment takes, its teachers' too, in an order in which they can be done.

    Where experiments teach each other in a circle, they do not wait for each other here; :func:`trainer.stages.check`
    refuses them.
    """
    found = [Job("prepare", experiment)]
    labels: dict[Path, int | None] = {}

    def add(name: str, of: "Experiment", *after: int) -> int:
        found.append(Job(name, of, after))
        return len(found) - 1

    def add_teachers(of: "Experiment") -> list[int]:
        teachers = teachers_of(of)
        for teacher in teachers:
            if teacher.folder not in labels:
                labels[teacher.folder] = None  # not yet, which stays so in a circle
                labels[teacher.folder] = add("label", teacher, add("teacher", teacher, 0, *add_teachers(teacher)))
        return [number for teacher in teachers if (number := labels[teacher.folder]) is not None]

    add("evaluate", experiment, add("student", experiment, 0, *add_teachers(experiment)))
    return found


def teachers_of(experiment: "Experiment") -> list["Experiment"]:
    """The experiment's teachers, each once."""
    return list({teacher.folder: teacher for teacher in experiment.teachers.values()}.values())


def networks(experiment: "Experiment") -> list["Experiment"]:
    """Everything that is trained for an experiment: teachers before those that they teach, itself last."""
    return [job.experiment for job in jobs(experiment) if TRAIN in job.stages]
