"""The same validation frames for several networks: their labels, and the predictions of each network."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.evenly import evenly_spaced
from shards.tasks import Task
from trainer.batch import Collate
from trainer.data import FrameLoader
from trainer.experiment import Experiment
from trainer.kinds import learning
from trainer.optionerrors import name_options
from trainer.runs import checkpoint

Labels = dict[str, np.ndarray]
"""Arrays by task in the forms of :mod:`shards.tasks`, and ``rgb`` ``(H, W, 3)`` uint8."""


class ComparisonFrames:
    """A few validation frames with the inputs of all networks, spread evenly over those that have the labels of all
    their tasks; over the others too where these are fewer.

    Args:
        experiments: of the same data set, each trained.
        count: number of frames, or fewer if there are fewer.

    Raises:
        UserError: when they are evaluated on different splits, or no frame carries all inputs.
    """

    def __init__(self, experiments: Sequence[Experiment], count: int) -> None:
        if count < 1:
            raise UserError(f"{count} frames", key="--frames", hint="give 1 or more")
        first = experiments[0]
        if any(experiment.manifest.sha256 != first.manifest.sha256 for experiment in experiments):
            raise UserError("the experiments belong to different data sets", hint="draw one picture for each")
        splits = {experiment.config.evaluate.split for experiment in experiments}
        if len(splits) > 1:
            hint = f"set evaluate.split={min(splits)} for all"
            raise UserError("the experiments are evaluated on different splits", key="evaluate.split", hint=hint)
        masks = [experiment.evaluation_frames.with_inputs(experiment.config.inputs) for experiment in experiments]
        mask = np.logical_and.reduce(masks)
        if not mask.any():
            hint = "draw the networks with other inputs by themselves"
            raise UserError("no validation frame carries the inputs of all networks", key="inputs", hint=hint)
        self.experiments = experiments
        samples = ShardDataset.of(first.evaluation_frames.restrict(mask))
        visible = [samples.frames.visible[task.name][samples.frames.chosen] for task in self.tasks]
        self.samples = samples.select(_spread(np.logical_and.reduce(visible), count))

    @property
    def tasks(self) -> list[Task]:
        """All tasks that at least one of the networks predicts."""
        return list(dict.fromkeys(task for experiment in self.experiments for task in experiment.tasks))

    def loader(self, experiment: Experiment) -> FrameLoader:
        """Return a loader of these frames with all their labels, preprocessed as an experiment sees them."""
        return FrameLoader(ShardDataset.of(self.samples.frames, size=experiment.size))

    def _load(self, loader: FrameLoader) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        return (loader[index] for index in range(len(self.samples)))

    def truths(self) -> list[tuple[str, Labels]]:
        """Return key, RGB and available labels of each frame, as the first network sees it."""
        loader = self.loader(self.experiments[0])
        return [(key, _arrays(self.tasks, tensors)) for key, tensors in self._load(loader)]

    @name_options()
    @torch.no_grad()
    def predictions(self, experiment: Experiment) -> list[Labels]:
        """Return the predictions of a network for each frame.

        Raises:
            UserError: when it is not trained.
        """
        network, _ = checkpoint.load_exported(experiment.exported, experiment.config.model.name)
        network.eval()
        loader = self.loader(experiment)
        collate = Collate(loader.data.tasks)
        predictions = []
        for sample in self._load(loader):  # one at a time: frames may differ in size
            batch = collate([sample])
            final = network(batch.inputs(experiment.config.inputs, torch.channels_last)).final
            labels = {task.name: learning(task).decide(final[task.name])[0].numpy() for task in experiment.tasks}
            predictions.append(labels)
        return predictions


def _spread(preferred: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of up to ``count`` samples: spread evenly over the preferred ones, bool ``(samples,)``, or all
    of these and some that are spread evenly over the others."""
    chosen: list[int] = []
    for indices in (np.flatnonzero(preferred), np.flatnonzero(~preferred)):
        chosen += indices[evenly_spaced(len(indices), count - len(chosen))].tolist()
    return np.array(chosen)


def limits(task: Task, labels: Sequence[Labels]) -> tuple[float, float] | None:
    """Return the range of the values of a task's labels: one colour map, so that all its pictures can be compared."""
    return task.storage.limits(arrays[task.name] for arrays in labels if task.name in arrays)


def _arrays(tasks: Sequence[Task], tensors: dict[str, torch.Tensor]) -> Labels:
    labels = {task.name: learning(task).array(tensors[task.name]) for task in tasks if task.name in tensors}
    return {"rgb": tensors["rgb"].permute(1, 2, 0).numpy(), **labels}
