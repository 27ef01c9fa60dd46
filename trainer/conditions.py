"""The conditions that a result is measured under, and whether a run's ``result.json`` meets them. Imports no torch."""

from typing import Any

from trainer.experiment import Experiment
from trainer.runs import artifacts
from trainer.runs.result import NAME, Conditions, Result


def existing_result(experiment: Experiment) -> Result | None:
    """Return the content of ``result.json``; None where it is missing, or was measured under other conditions."""
    path, conditions = experiment.folder / NAME, conditions_of(experiment, read_exports(experiment)[1])
    result = Result.read(path) if path.exists() else None
    return result if result and result.asked == conditions else None


def read_exports(experiment: Experiment) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the facts of the last and the best network, None for a missing one, and the hashes of those that exist."""
    exports = {name: artifacts.read_exported(experiment.checkpoints / name) for name in ("last", "best")}
    return exports, {name: facts["sha256"] for name, facts in exports.items() if facts}


def conditions_of(experiment: Experiment, hashes: dict[str, str]) -> Conditions:
    """Return everything that a result follows from."""
    measurement = experiment.measurement
    return Conditions(
        checkpoints=hashes,
        manifest=experiment.manifest.sha256,
        checkpoint=experiment.config.evaluate.checkpoint,
        **experiment.evaluation_facts,
        resolution=measurement.resolution,
        range=measurement.ranges,
        crop=measurement.crop,
    )
