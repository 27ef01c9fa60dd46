"""A picture of predictions: RGB, truth, and each network's output side by side, for a few frames."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.shown import ComparisonFrames, limits
from shards.picture import Colours, save, sheet
from trainer.experiment import Experiment


def panel(experiments: Sequence[Experiment], path: str | Path, frames: int = 4) -> None:
    """Draw validation frames with every experiment's predictions, and the meaning of the colours.

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
    captions = ["rgb"]
    columns: list[list[np.ndarray | None]] = [[truth["rgb"] for truth in truths]]
    keys: list[Colours] = [[]]
    for task in comparison.tasks:
        named = [(f"{task.name}: truth", [truth.get(task.name) for truth in truths])]
        named += [
            (experiment.config.experiment, [labels[task.name] for labels in network_predictions])
            for experiment, network_predictions in zip(experiments, predictions, strict=True)
            if task in experiment.tasks
        ]
        scale = limits(task, truths)
        captions += [caption for caption, _ in named]
        columns += [
            [None if label is None else task.storage.colourise(label, scale) for label in labels] for _, labels in named
        ]
        key = task.storage.key([label for _, labels in named for label in labels if label is not None], scale)
        height = max(2, math.ceil(len(key) / len(named)))
        keys += [key[column * height : (column + 1) * height] for column in range(len(named))]
    save(sheet(list(zip(*columns, strict=True)), captions, keys=keys), path)
