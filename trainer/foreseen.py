"""Checks before anything is computed of all that would make a stage fail, so that foreseeable errors come early."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np

from shards.errors import UserError
from shards.keep import ALL
from shards.log import logger
from shards.read import check_files
from shards.stream import Batches
from trainer.conditions import measurement_of
from trainer.experiment import TRAIN, Experiment
from trainer.metrics import Metrics
from trainer.model import packages
from trainer.model.meta import on_meta
from trainer.model.network import build
from trainer.optionerrors import name_options
from trainer.parsing import parse_size
from trainer.ranks import ranks
from trainer.runs import artifacts
from trainer.runs.start import continued, match_start_normalisation
from trainer.runtime import check_precision
from trainer.trainingdata import frames_of_share
from trainer.validation import not_measured, scalars
from trainer.weighting import weighting_of

_REACH = "a student's file does not reach its teacher: set it in a file that both inherit, or on the command line"
_built: set[str] = set()


@name_options()
def check_training(experiment: Experiment) -> None:
    """Make sure that an experiment can be trained, as far as its files show.

    Raises:
        UserError: for an ``evaluate.best`` that is not measured, data or weight files that are missing or truncated, a
            batch size that the frames or ranks do not allow, or a network that cannot be built.
    """
    config = experiment.config
    check_precision(config.train.precision)
    Batches(config.train.global_batch_size, config.train.gradient_accumulation_steps, 0, ranks())
    check_best(experiment)
    if config.val is not None:
        _ = experiment.evaluation_frames  # raises where there are fewer frames
    _check_frames(experiment)
    _check_files(experiment)
    starts = continued(experiment.folder, experiment.architecture) is None
    weights = config.model.pretrained
    if starts and isinstance(weights, str) and weights != packages.PACKAGE and not Path(weights).is_file():
        raise UserError("does not exist", file=weights, key="model.pretrained", hint="correct the path")
    weighting_of(config.loss.weighting, len(experiment.tasks))
    if starts and config.model.start is not None:
        match_start_normalisation(experiment.architecture, config.model.start)
    _check_network(experiment)


def check_teacher(experiment: Experiment, teacher: Experiment) -> None:
    """Check that a teacher labels its student's data, and note where it knows more labels of them: what a student's
    file sets does not reach its teacher.

    Raises:
        UserError: naming the teacher's file, for other data.
    """
    theirs, own = teacher.config, experiment.config
    if theirs.data.path != own.data.path and not _same_data(experiment, teacher):
        message = f"is {theirs.data.path}, where its student {experiment.spelling} has {own.data.path}"
        raise UserError(message, file=teacher.path, key="data.path", hint=_REACH)
    notes = []
    for task in own.pseudo:
        shown, hidden = theirs.labels.get(task), own.labels.get(task)
        more = hidden is not None and (shown is None or shown > hidden)
        if more and experiment.teachers[task].folder == teacher.folder:
            number = "all" if shown is None else shown
            notes.append(f"learns from {number} labels of {task}, its student from {hidden}")
    notes += [
        f"has {key} {value}, its student {other}, so that they know the labels of other frames"
        for key, value, other in (
            ("seed", theirs.seed, own.seed),
            ("assignment", theirs.assignment, own.assignment),
        )
        if value != other
    ]
    for text in notes:
        logger.warning(f"note: {teacher.spelling} {text}; {_REACH}")


def _same_data(experiment: Experiment, teacher: Experiment) -> bool:
    try:
        return teacher.manifest.sha256 == experiment.manifest.sha256
    except UserError:
        return False


def check_best(experiment: Experiment) -> None:
    """Make sure that ``evaluate.best``, if it is used, is a metric of one of the tasks whose label some frame shows,
    and that ``evaluate.range`` names scalar tasks.

    Raises:
        UserError: when either is not so.
    """
    measurement_of(experiment)
    best = experiment.config.evaluate.best
    if not experiment.config.evaluate.every:
        return
    metrics = list(scalars(Metrics(experiment.tasks).compute()))
    if best not in metrics:
        error = not_measured(best, metrics)
        raise UserError(error.what, file=experiment.path, key="evaluate.best", hint=error.hint)
    frames = experiment.evaluation_frames
    mask = check_evaluation(experiment)
    labelled_tasks = [task.name for task in experiment.tasks if (frames.visible[task.name] & mask).any()]
    if (task := best.partition(".")[0]) not in labelled_tasks:
        message = f"{best!r} is not measured: no frame of {experiment.config.evaluate.split} shows {task}"
        choices = ", ".join(name for name in metrics if name.partition(".")[0] in labelled_tasks)
        hint = f"use one of {choices}" if choices else "set evaluate.every=0"
        raise UserError(message, file=experiment.path, key="evaluate.best", hint=hint)


def check_evaluation(experiment: Experiment) -> np.ndarray:
    """Return the mask of frames on which an experiment's network is measured, bool ``(count,)``.

    Raises:
        UserError: when there are none.
    """
    frames = experiment.evaluation_frames
    mask = frames.with_inputs(experiment.config.inputs)
    if not mask.any():
        inputs = " and ".join(experiment.config.inputs)
        message = f"no frame to evaluate on: none of {experiment.config.evaluate.split} carries {inputs}"
        hint = f"give frames that carry the inputs ({experiment.manifest.path})"
        raise UserError(message, file=experiment.path, key="inputs", hint=hint)
    return mask


def check_result(experiment: Experiment) -> None:
    """Make sure that there will be a network to evaluate, or to label with.

    Raises:
        UserError: when ``evaluate.checkpoint`` names one that training does not keep.
    """
    check_evaluation(experiment)
    options = experiment.config.evaluate
    best = experiment.checkpoints / "best"
    if options.checkpoint == "best" and not options.every and not artifacts.read_exported(best):
        hint = "set evaluate.every, such as 1, or evaluate.checkpoint=last"
        raise UserError("no best checkpoint is kept", file=experiment.path, key="evaluate.checkpoint", hint=hint)


def check_pseudo(experiment: Experiment) -> None:
    """Make sure that the teachers' labels will provide what is configured.

    Raises:
        UserError: for soft labels of a task that is not of classes, or of a teacher that stores none; a confidence
            that labels will not have; an adjustment for soft labels where none are learnt; or an input whose holes
            pseudo-labels would fill.
    """
    targets = {entry.target for entry in experiment.config.pseudo.values()}
    if experiment.config.loss.soft_adjustment and targets == {"hard"}:  # no targets: the baseline of a student
        hint = "set pseudo.TASK.target=soft, or loss.soft_adjustment=0"
        raise UserError("no task has soft labels", file=experiment.path, key="loss.soft_adjustment", hint=hint)
    for name, teacher in experiment.teachers.items():
        entry, key = experiment.config.pseudo[name], f"pseudo.{name}"
        kind, label = experiment.manifest.task(name).storage, teacher.config.label
        if entry.holes and name in experiment.config.inputs:
            message, hint = "is an input, and pseudo-labels fill its holes", f"set {key}.holes=false"
            raise UserError(f"{name} {message}", file=experiment.path, key=f"{key}.holes", hint=hint)
        if entry.target == "soft" and not (kind.distribution and label.soft):
            reason = "the teacher stores none" if kind.distribution else f"{name} is not of kind classes"
            hint = "set label.soft to 1 or more" if kind.distribution else f"set {key}.target=hard"
            raise UserError(f"no soft labels: {reason}", file=experiment.path, key=f"{key}.target", hint=hint)
        strength, teacher_strength = experiment.config.loss.logit_adjustment, teacher.config.loss.logit_adjustment
        if entry.target == "soft" and strength != teacher_strength:
            message = f"{strength:g}, and {teacher_strength:g} in {teacher.path}, whose distributions it learns"
            hint = "write the same in both files, or in one that both inherit"
            raise UserError(message, file=experiment.path, key="loss.logit_adjustment", hint=hint)
        keep = experiment.keep(name)
        if keep.needs_confidence and not kind.confident and not label.flip:
            filtered = keep.threshold is not None or keep.quantile is not None
            option, neutral = ("keep", ALL) if filtered else ("weight", "none")
            hint = f"set {key}.{option}={neutral}, or label.flip=true for the teacher"
            raise UserError(f"{name} has no confidence", file=experiment.path, key=f"{key}.{option}", hint=hint)


def check_share(experiment: Experiment) -> None:
    """Make sure that batches can have their share of pseudo-labels, once the teachers have labelled what they can.

    Raises:
        UserError: for a share that no batch can have, or when all frames have pseudo-labels, or none.
    """
    config = experiment.config
    if config.train.pseudo_share is None or not experiment.teachers:
        return
    frames = experiment.training_frames(pseudo=False)
    for task, teacher in experiment.teachers.items():
        _, labelled = teacher.frames_to_label()
        frames.pseudo[task] = labelled & frames.chosen & ~frames.visible[task]
    mask = frames.to_train(config.inputs, config.tasks)
    pseudo = int((frames.labelled_by_a_teacher & mask).sum())
    try:
        frames_of_share(config.train.pseudo_share, config.train.global_batch_size, int(mask.sum()) - pseudo, pseudo)
    except UserError as error:
        raise UserError(error.what, file=experiment.path, key="train.pseudo_share", hint=error.hint) from error


def _check_frames(experiment: Experiment) -> None:
    """Make sure that the frames suffice for a global batch, and are no smaller than the crop."""
    config, size = experiment.config, experiment.size
    crop = parse_size(config.data.crop, "data.crop")
    if crop and size and (crop[0] > size[0] or crop[1] > size[1]):
        message = f"{crop[0]}x{crop[1]} is larger than the frames' {size[0]}x{size[1]}"
        raise UserError(message, file=experiment.path, key="data.crop", hint="crop no more than a frame has")
    if all(teacher.find_labels() is not None for teacher in experiment.teachers.values()):
        frames, mask = experiment.frames_to_train()
    else:  # as many as there can be, if the teachers label all that they can
        frames = experiment.training_frames(pseudo=False)
        mask = frames.with_inputs(config.inputs)
    for task in experiment.tasks:
        if task.name not in config.pseudo and not (frames.visible[task.name] & mask).any():
            message = f"no training frame shows {task.name}, so it would be learnt from nothing"
            hint = f"take it out of tasks, give pseudo.{task.name}, or prepare frames with its labels"
            raise UserError(message, file=experiment.path, key="tasks", hint=hint)
    if mask.sum() < config.train.global_batch_size:
        message = f"{config.train.global_batch_size} samples per step, but an epoch has only {mask.sum()}"
        hint = "make it smaller, or give more labelled frames"
        raise UserError(message, file=experiment.path, key="train.global_batch_size", hint=hint)


def _check_files(experiment: Experiment) -> None:
    splits = [TRAIN] + ["val"] * (experiment.config.evaluate.every > 0 and experiment.config.evaluate.split == "val")
    for manifest in experiment.data().values():
        for split in splits:
            check_files(manifest, split)


def _check_network(experiment: Experiment) -> None:
    architecture = experiment.architecture
    if (description := str(architecture.to_json())) not in _built:
        # a user's own code may compute with the values of tensors, which meta does not have
        with nullcontext() if ":" in architecture.name else on_meta():
            build(architecture)
        _built.add(description)
