"""A picture of predictions: RGB, truth, and each network's output side by side, for a few frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.shown import ComparisonFrames, limits
from shards.picture import save, sheet
from trainer.experiment import Experiment


def panel(experiments: Sequence[Experiment], path: str | Path, frames: int = 4) -> None:
    """Draw validation frames with every experiment's predictions.

    Args:
        experiments: of the same data set, each trained.
        path: of the PNG.
        frames: number of frames, chosen by :class:`analysis.shown.ComparisonFrames`.

    Raises:
        UserError: when they belong to different data sets, or one is not trained.
    """
    comparison = ComparisonFrames(experiments, frames)
    truths = [truth for _, truth in comparison.truths()]
    predictions = [comparison.predictions(experiment) for experiment in experiments]
    ranges = {task.name: limits(task, truths) for task in comparison.tasks}
    rows = []
    captions = ["rgb"]
    for task in comparison.tasks:
        captions.append(f"{task.name}: truth")
        captions += [f"{experiment.config.experiment}" for experiment in experiments if task in experiment.tasks]
    for row, truth in enumerate(truths):
        pictures: list[np.ndarray | None] = [truth["rgb"]]
        for task in comparison.tasks:
            label = truth.get(task.name)
            pictures.append(None if label is None else task.storage.colourise(label, ranges[task.name]))
            for experiment, prediction in zip(experiments, predictions, strict=True):
                if task in experiment.tasks:
                    pictures.append(task.storage.colourise(prediction[row][task.name], ranges[task.name]))
        rows.append(pictures)
    save(sheet(rows, captions), path)
