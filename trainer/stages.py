"""Runs all jobs of an experiment (:mod:`trainer.pipeline`) one after another. Finished jobs are skipped."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.keep import ALL
from shards.log import logger
from trainer.evaluatestage import describe, evaluate
from trainer.experiment import Experiment
from trainer.foreseen import check_pseudo, check_result, check_share, check_teacher, check_training
from trainer.pipeline import EVALUATE, LABEL, TRAIN, jobs, networks, teachers_of
from trainer.pseudolabels.plan import LabelPlan
from trainer.pseudolabels.stage import label
from trainer.recommendation import read_recommendations, reasons
from trainer.runs import artifacts
from trainer.runs.folder import verify
from trainer.runs.result import Result, describe_frames
from trainer.trainstage import train

_FINISHED = " (finished)"


def run(experiment: Experiment) -> Result:
    """Run an experiment and all it depends on; returns the content of its ``result.json``.

    Raises:
        UserError: when a stage raises it, or an experiment is its own teacher.
    """
    check(experiment)
    if affinity := experiment.config.affinity:
        for line in reasons(read_recommendations(affinity)):
            logger.info(f"{affinity}: {line}")
    return _run(experiment)


def check(experiment: Experiment, students: tuple[Path, ...] = ()) -> None:
    """Check an experiment and its teachers, so that errors are raised now rather than during training.

    Args:
        experiment: the experiment.
        students: the folders of the experiments that it is a teacher for.
    """
    if experiment.folder in students:
        raise UserError("is its own teacher", file=experiment.path, key="pseudo", hint="remove the cycle")
    for teacher in teachers_of(experiment):
        check_teacher(experiment, teacher)
    verify(experiment)
    check_pseudo(experiment)
    if experiment.config.pseudo:  # pseudo-labels may be all that it learns from
        experiment.training_frames(pseudo=False)
    else:
        experiment.frames_to_train()
    check_result(experiment)
    if artifacts.read_exported(experiment.checkpoints / "last") is None:
        check_training(experiment)
    for teacher in teachers_of(experiment):
        check(teacher, (*students, experiment.folder))
        LabelPlan(teacher).check_store()
    check_share(experiment)


def _run(experiment: Experiment) -> Result:
    result: Result | None = None
    trained = networks(experiment)
    for job in jobs(experiment):
        for stage in job.stages:
            if stage == LABEL:
                _label(job.experiment, trained)
            else:
                result = _STAGES[stage](job.experiment)
    assert result is not None, "the last stage evaluates"
    return result


def _train(experiment: Experiment) -> None:
    finished = artifacts.read_exported(experiment.checkpoints / "last") is not None
    logger.info(f"train {experiment.config.experiment}: {experiment.folder}{_FINISHED * finished}")
    train(experiment)


def _label(experiment: Experiment, trained: Sequence[Experiment]) -> None:
    plan = LabelPlan(experiment)
    place = (experiment.find_labels() if plan.finished else None) or experiment.labels
    logger.info(f"labels of {experiment.config.experiment}: {place}{_FINISHED * plan.finished}")
    summary = label(experiment, plan)
    for line in describe_kept(summary, [task for task in summary if _all_kept(experiment, task, trained)]):
        logger.info(f"  {line}")


def _evaluate(experiment: Experiment) -> Result:
    result = evaluate(experiment)
    for line in (*describe(result.metrics), *describe_frames(result)):
        logger.info(f"  {line}")
    return result


_STAGES: dict[str, Callable[[Experiment], Result | None]] = {TRAIN: _train, EVALUATE: _evaluate}


def _all_kept(teacher: Experiment, task: str, trained: Sequence[Experiment]) -> bool:
    """Whether all students of a teacher, among the networks that are trained, keep all of its labels of a task."""
    students = [other for other in trained if task in other.teachers and other.teachers[task].folder == teacher.folder]
    return bool(students) and all(student.keep(task).value == ALL for student in students)


def describe_kept(summary: dict[str, Any], all_kept: Collection[str] = ()) -> Iterator[str]:
    """Yield a line for each task with the labels that a labelling pass kept.

    Args:
        summary: by task, what :func:`trainer.pseudolabels.stage.label` returns.
        all_kept: the tasks of which the students learn from every pixel, whatever its confidence.
    """
    for task, entry in summary.items():
        line = f"{task}: {entry['frames']} frames"
        if "kept" in entry:
            line += f", {entry['kept']:.1%} of the pixels above {entry['threshold']} (label.threshold)"
            line += "; the student learns from every pixel (keep: all)" if task in all_kept else ""
        yield line
