"""The graph of an experiment's jobs: whose labels it learns from, and which job waits for which.

    prepare ─┬─> teacher ──> label ─┐
             └──────────────────────┴─> student ──> evaluate

It is defined only here: :mod:`trainer.stages` runs the jobs one after another, a grid lists their networks,
``tutelage status`` shows them, and ``slurm/`` submits them. A teacher may have teachers of its own. ``affinity.json``
is not a job of the graph, since a configuration with ``pseudo: auto`` cannot be read before the file exists.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # job scripts need only STAGES, and so no torch
    from trainer.experiment import Experiment

TRAIN, LABEL, EVALUATE = "train", "label", "evaluate"
STAGES = {
    "prepare": (),
    "teacher": (TRAIN, EVALUATE),
    "label": (LABEL,),
    "student": (TRAIN,),
    "evaluate": (EVALUATE,),
}
"""The commands that each job runs for its experiment; a job's name is also that of a script in ``slurm/``. Data sets
are prepared by a different command for each source."""


@dataclass(frozen=True)
class Job:
    """A unit of work for one experiment.

    Args:
        name: a key of :data:`STAGES`.
        experiment: the experiment that the job belongs to.
        after: numbers of the jobs that must finish first.
    """

    name: str
    experiment: "Experiment"
    after: tuple[int, ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        return STAGES[self.name]


def jobs(experiment: "Experiment") -> list[Job]:
    """Return every job of an experiment and its teachers, in an order in which they can run.

    Experiments that teach each other in a circle do not wait for each other here; :func:`trainer.stages.check` refuses
    them.
    """
    result = [Job("prepare", experiment)]
    labels: dict[Path, int | None] = {}

    def add(name: str, owner: "Experiment", *after: int) -> int:
        result.append(Job(name, owner, after))
        return len(result) - 1

    def add_teachers(student: "Experiment") -> list[int]:
        teachers = teachers_of(student)
        for teacher in teachers:
            if teacher.folder not in labels:
                labels[teacher.folder] = None  # no job yet, which remains so in a circle
                labels[teacher.folder] = add("label", teacher, add("teacher", teacher, 0, *add_teachers(teacher)))
        return [number for teacher in teachers if (number := labels[teacher.folder]) is not None]

    add("evaluate", experiment, add("student", experiment, 0, *add_teachers(experiment)))
    return result


def teachers_of(experiment: "Experiment") -> list["Experiment"]:
    """Return the experiment's teachers, each once."""
    return list({teacher.folder: teacher for teacher in experiment.teachers.values()}.values())


def networks(experiment: "Experiment") -> list["Experiment"]:
    """Return all experiments that are trained for this one: teachers before their students, the experiment last."""
    return [job.experiment for job in jobs(experiment) if TRAIN in job.stages]
