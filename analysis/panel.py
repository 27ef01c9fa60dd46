"""A picture of what networks predict: RGB, truth, and each network's output side by side, for a few frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.shown import Shown, limits
from shards.picture import save, sheet
from trainer.experiment import Experiment


def panel(experiments: Sequence[Experiment], path: str | Path, frames: int = 4) -> None:
    """Draw validation frames with every experiment's predictions.

    Args:
        experiments: of the same data set, each trained.
        path: of the PNG.
        frames: spread evenly over the validation frames.

    Raises:
        UserError: when they belong to different data sets, or one is not trained.
    """
    shown = Shown(experiments, frames)
    truths = [truth for _, truth in shown.truths()]
    columns = [shown.predictions(each) for each in experiments]
    ranges = {task.name: limits(task, truths) for task in shown.tasks}
    rows = []
    captions = ["rgb"]
    for task in shown.tasks:
        captions.append(f"{task.name}: truth")
        captions += [f"{each.config.experiment}" for each in experiments if task in each.tasks]
    for row, truth in enumerate(truths):
        pictures: list[np.ndarray | None] = [truth["rgb"]]
        for task in shown.tasks:
            label = truth.get(task.name)
            pictures.append(None if label is None else task.storage.colourise(label, ranges[task.name]))
            for each, predicted in zip(experiments, columns, strict=True):
                if task in each.tasks:
                    pictures.append(task.storage.colourise(predicted[row][task.name], ranges[task.name]))
        rows.append(pictures)
    save(sheet(rows, captions), path)
