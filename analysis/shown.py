"""The same validation frames for several networks: what stands in them, and what each network says of them."""

from collections.abc import Sequence

import numpy as np
import torch

from shards.errors import UserError
from shards.stream import InOrder
from shards.tasks import Task
from trainer.data import Collate, FrameLoader
from trainer.experiment import Experiment
from trainer.kinds import learning
from trainer.runs import checkpoint

Labels = dict[str, np.ndarray]
"""Arrays by task in the forms of :mod:`shards.tasks`, and ``rgb`` ``(H, W, 3)`` uint8."""


class Shown:
    """Frames spread evenly over those validation frames that carry all networks' inputs.

    Args:
        experiments: of the same data set, each trained.
        count: how many frames; fewer where there are fewer.

    Raises:
        UserError: when they are evaluated on different splits, or no frame carries all inputs.
    """

    def __init__(self, experiments: Sequence[Experiment], count: int) -> None:
        if count < 1:
            raise UserError(f"{count} frames", key="--frames", hint="give 1 or more")
        first = experiments[0]
        if any(each.manifest.sha256 != first.manifest.sha256 for each in experiments):
            raise UserError("the experiments belong to different data sets", hint="draw one picture for each")
        splits = {each.config.evaluate.split for each in experiments}
        if len(splits) > 1:
            hint = f"set evaluate.split={min(splits)} for all"
            raise UserError("the experiments are evaluated on different splits", key="evaluate.split", hint=hint)
        masks = [each.evaluation_frames().with_inputs(each.config.inputs) for each in experiments]
        mask = np.logical_and.reduce(masks)
        if not mask.any():
            hint = "draw the networks with other inputs by themselves"
            raise UserError("no validation frame carries the inputs of all networks", key="inputs", hint=hint)
        self.experiments = experiments
        self.chosen = first.evaluation_frames().by_shard(mask)
        every = InOrder([len(of) for of in self.chosen])
        wanted = np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int)
        self.places = [every[int(place)] for place in wanted]

    @property
    def tasks(self) -> list[Task]:
        """Every task that one of the networks predicts."""
        return list(dict.fromkeys(task for each in self.experiments for task in each.tasks))

    def loader(self, experiment: Experiment) -> FrameLoader:
        """Loads the shown frames, with all their labels, as an experiment sees them."""
        config, frames = experiment.config, experiment.evaluation_frames()
        names = [task.name for task in experiment.manifest.tasks]
        return FrameLoader(frames, self.chosen, config.inputs, names, size=experiment.size)

    def truths(self) -> list[tuple[str, Labels]]:
        """Key, RGB and the labels that there are of each frame, as the first network sees it."""
        loader = self.loader(self.experiments[0])
        return [(key, _arrays(self.tasks, tensors)) for key, tensors in map(loader.load, self.places)]

    @torch.no_grad()
    def predictions(self, experiment: Experiment) -> list[Labels]:
        """What a network says of each frame.

        Raises:
            UserError: when it is not trained.
        """
        network, _ = checkpoint.load_exported(experiment.exported, experiment.config.model.name)
        network.eval()
        loader = self.loader(experiment)
        collate = Collate(loader.tasks)
        found = []
        for place in self.places:  # one at a time: frames may differ in size
            batch = collate([loader.load(place)])
            if isinstance(batch, UserError):
                raise batch
            final = network(batch.inputs(experiment.config.inputs, torch.channels_last)).final
            found.append({task.name: learning(task).decide(final[task.name])[0].numpy() for task in experiment.tasks})
        return found


def limits(task: Task, labels: Sequence[Labels]) -> tuple[float, float] | None:
    """One colour scale for all pictures of a quantity, so that they can be compared: the range of its labels."""
    values = [of[task.name] for of in labels if task.name in of] if task.storage.quantity else []
    measured = [value[value > 0] for value in values if (value > 0).any()]
    return (min(float(v.min()) for v in measured), max(float(v.max()) for v in measured)) if measured else None


def _arrays(tasks: Sequence[Task], tensors: dict[str, torch.Tensor]) -> Labels:
    labels = {task.name: learning(task).array(tensors[task.name]) for task in tasks if task.name in tensors}
    return {"rgb": tensors["rgb"].permute(1, 2, 0).numpy(), **labels}
