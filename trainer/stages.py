"""Everything an experiment needs, in order: teacher, labels, student, evaluation. What is finished is skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.errors import UserError
from trainer.evaluate import describe, evaluate
from trainer.experiment import Experiment
from trainer.foreseen import check_result, check_training
from trainer.progress import say
from trainer.pseudolabels.labelling import label
from trainer.recommendation import reasons, recommended
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.trainstage import train


def run(experiment: Experiment) -> dict[str, Any]:
    """Run an experiment and whatever it depends on; returns the row of its ``result.json``.

    Raises:
        UserError: whatever a stage raises, or when an experiment teaches itself.
    """
    check(experiment)
    if relation := experiment.config.relation:
        for line in reasons(recommended(relation)):
            say(f"{relation}: {line}")
    return _run(experiment)


def check(experiment: Experiment, students: tuple[Path, ...] = ()) -> None:
    """Raise now what would else be found when the teachers, or a whole grid, are trained.

    Args:
        students: the folders of those that it is a teacher for.
    """
    if experiment.folder in students:
        raise UserError("is its own teacher", file=experiment.path, key="pseudo", hint="break the circle")
    claim(experiment)
    experiment.check_pseudo()
    if experiment.config.pseudo:  # which may be all that it learns from
        experiment.training_frames(pseudo=False)
    else:
        experiment.frames_to_train()
    check_result(experiment)
    if checkpoint.exported(experiment.checkpoints / "last") is None:
        check_training(experiment)
    for teacher in dependencies(experiment):
        check(teacher, (*students, experiment.folder))
        teacher.frames_to_label()


def _run(experiment: Experiment) -> dict[str, Any]:
    for each in dependencies(experiment):
        _run(each)
        say(f"labels of {each.config.experiment}: {each.labels}")
        for line in describe_kept(label(each)):
            say(f"  {line}")
    say(f"train {experiment.config.experiment}: {experiment.folder}")
    train(experiment)
    result = evaluate(experiment)
    for line in describe(result["metrics"]):
        say(f"  {line}")
    return result


def dependencies(experiment: Experiment) -> list[Experiment]:
    """The experiment's teachers, each once."""
    return list({teacher.folder: teacher for teacher in experiment.teachers().values()}.values())


def describe_kept(kept: dict[str, Any]) -> Iterator[str]:
    """Lines that say what a labelling pass kept."""
    for task, entry in kept.items():
        line = f"{task}: {entry['frames']} frames"
        if "kept" in entry:
            line += f", {entry['kept']:.1%} of the pixels above {entry['threshold']}"
        yield line
