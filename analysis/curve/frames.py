"""Checks, before anything is trained, that a data set has the frames that a label curve needs."""

from collections.abc import Iterable

from shards.errors import UserError
from trainer.experiment import Experiment


def check_largest(student: Experiment, task: str) -> None:
    """Make sure that enough frames carry the label of ``task`` for the student's budget.

    Raises:
        UserError: when they do not.
    """
    try:
        student.training_frames(pseudo=False)
    except UserError as error:
        if error.key != f"labels.{task}":
            raise
        raise UserError(error.what, file=error.file, key="--labels", hint="leave larger numbers out") from error


def check_smallest(networks: Iterable[Experiment]) -> None:
    """Make sure that each network has the frames of one global batch, if its teachers label all that they can.

    Raises:
        UserError: when one has fewer.
    """
    for network in networks:
        config, frames = network.config, network.training_frames(pseudo=False)
        batch = config.train.global_batch_size
        mask = frames.with_inputs(config.inputs) if network.teachers else frames.to_train(config.inputs, config.tasks)
        if mask.sum() < batch:
            message = f"{config.experiment} has {mask.sum()} frames to train on, fewer than a batch of {batch}"
            hint = "leave smaller numbers out, or make train.global_batch_size smaller"
            raise UserError(message, file=network.manifest.path, key="--labels", hint=hint)


def check_measured(student: Experiment, task: str) -> None:
    """Make sure that ``task`` can be measured.

    Raises:
        UserError: when no frame on which the student is measured shows it.
    """
    frames = student.evaluation_frames
    if not (frames.visible[task] & frames.with_inputs(student.config.inputs)).any():
        message = f"no frame of {student.config.evaluate.split} shows {task}, so it cannot be measured"
        raise UserError(message, file=student.manifest.path, key=task, hint="prepare such frames with its labels")
