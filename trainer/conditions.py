"""The conditions that a result is measured under, and whether a run's ``result.json`` meets them. Imports no torch."""

from typing import Any

from shards.errors import UserError
from trainer.experiment import Experiment
from trainer.measurement import Measurement
from trainer.runs import artifacts
from trainer.runs.result import NAME, Conditions, Result


def existing_result(experiment: Experiment) -> Result | None:
    """Return the content of ``result.json``; None where it is missing, or was measured under other conditions."""
    path, conditions = experiment.folder / NAME, conditions_of(experiment, read_exports(experiment)[1])
    result = Result.read(path) if path.exists() else None
    return result if result and result.asked == conditions else None


def read_exports(experiment: Experiment) -> tuple[dict[str, Any], dict[str, str]]:
    """Return ``model.json`` of the last and the best network, None if missing, and the sha256 of those that exist."""
    exports = {name: artifacts.read_exported(experiment.checkpoints / name) for name in ("last", "best")}
    return exports, {name: facts["sha256"] for name, facts in exports.items() if facts}


def conditions_of(experiment: Experiment, hashes: dict[str, str]) -> Conditions:
    """Return everything that a result follows from."""
    measurement = measurement_of(experiment)
    return Conditions(
        checkpoints=hashes,
        manifest=experiment.manifest.sha256,
        checkpoint=experiment.config.evaluate.checkpoint,
        **evaluation_facts(experiment),
        resolution=measurement.resolution,
        range=measurement.ranges,
        crop=measurement.crop,
    )


def measurement_of(experiment: Experiment) -> Measurement:
    """Return how predictions are compared with labels, with the ranges of the predicted tasks.

    Raises:
        UserError: for a range of a task that the data set lacks, or that is not scalar.
    """
    options = experiment.config.evaluate
    for name in options.range:
        if problem := experiment.manifest.task(name).storage.range_problem():
            raise UserError(problem, file=experiment.path, key=f"evaluate.range.{name}", hint="leave it out")
    ranges = {name: (least, most) for name, (least, most) in options.range.items() if name in experiment.config.tasks}
    return Measurement(options.resolution, ranges, options.crop)


def evaluation_facts(experiment: Experiment) -> dict[str, Any]:
    """Return which frames :meth:`trainer.experiment.Experiment.evaluation_frames` are, as results and checkpoints
    record it: metrics on other frames are not comparable. ``val_seed`` is left out where no frames are drawn, or each
    run's own seed draws them, as in all runs from before that option."""
    config = experiment.config
    seeded = config.evaluate.split == "val" and config.val is not None and config.val_seed is not None
    facts = {"split": config.evaluate.split, "val": config.val}
    return facts | {"val_seed": config.val_seed} if seeded else facts
