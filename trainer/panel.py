"""A picture of what networks predict: RGB, truth, and each network's output side by side, for a few frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from shards.errors import UserError
from shards.order import Order
from shards.picture import colourise, save, sheet
from shards.stream import Position
from shards.tasks import Task
from trainer import checkpoint
from trainer.configfile import parse_size
from trainer.data import Collate, FrameLoader
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
    if frames < 1:
        raise UserError(f"{frames} frames", key="--frames", cure="give 1 or more")
    first = experiments[0]
    if any(each.manifest.sha256 != first.manifest.sha256 for each in experiments):
        raise UserError("the experiments belong to different data sets", cure="draw one picture for each")
    tasks = list(dict.fromkeys(task for each in experiments for task in each.tasks))
    shown = _Shown(experiments, frames)
    truths = _truth(first, tasks, shown)
    columns = [_predict(each, shown) for each in experiments]
    limits = {task.name: _limits(task, truths) for task in tasks}
    rows = []
    captions = ["rgb"]
    for task in tasks:
        captions.append(f"{task.name}: truth")
        captions += [f"{each.config.experiment}" for each in experiments if task in each.tasks]
    for row, truth in enumerate(truths):
        pictures: list[np.ndarray | None] = [truth["rgb"]]
        for task in tasks:
            label = truth.get(task.name)
            pictures.append(None if label is None else colourise(task, label, limits[task.name]))
            for each, predicted in zip(experiments, columns, strict=True):
                if task in each.tasks:
                    pictures.append(colourise(task, predicted[row][task.name], limits[task.name]))
        rows.append(pictures)
    save(sheet(rows, captions), path)


class _Shown:
    """The same validation frames for every network: spread evenly over those that carry all networks' inputs."""

    def __init__(self, experiments: Sequence[Experiment], count: int) -> None:
        splits = {each.config.evaluate.split for each in experiments}
        if len(splits) > 1:
            cure = f"set evaluate.split={min(splits)} for all"
            raise UserError("the experiments are evaluated on different splits", key="evaluate.split", cure=cure)
        masks = [each.evaluation_frames().with_inputs(each.config.inputs) for each in experiments]
        mask = np.logical_and.reduce(masks)
        if not mask.any():
            cure = "draw the networks with other inputs by themselves"
            raise UserError("no validation frame carries the inputs of all networks", key="inputs", cure=cure)
        self.chosen = experiments[0].evaluation_frames().by_shard(mask)
        order = Order([len(of) for of in self.chosen], 0, shuffle=False)
        wanted = np.linspace(0, order.samples - 1, min(count, order.samples)).round().astype(int)
        self.places = [Position(0, int(place), *order.locate(0, int(place))) for place in wanted]

    def loader(self, experiment: Experiment) -> FrameLoader:
        """Loads the shown frames, with all their labels, as an experiment sees them."""
        config, frames = experiment.config, experiment.evaluation_frames()
        names = [task.name for task in experiment.manifest.tasks]
        size = parse_size(config.data.size, "data.size")
        return FrameLoader(frames, self.chosen, config.inputs, names, size=size)


def _truth(experiment: Experiment, tasks: Sequence[Task], shown: _Shown) -> list[dict[str, np.ndarray]]:
    loader = shown.loader(experiment)
    truths = []
    for place in shown.places:
        _, tensors = loader.load(place)
        truth = {"rgb": tensors["rgb"].permute(1, 2, 0).numpy()}
        for task in tasks:
            if task.name in tensors:
                truth[task.name] = _picture_array(task, tensors[task.name])
        truths.append(truth)
    return truths


@torch.no_grad()
def _predict(experiment: Experiment, shown: _Shown) -> list[dict[str, np.ndarray]]:
    network, _ = checkpoint.load_exported(experiment.checkpoints / experiment.config.evaluate.checkpoint)
    network.eval()
    loader = shown.loader(experiment)
    collate = Collate(loader.tasks, lambda labels: torch.zeros(0))
    predictions = []
    for place in shown.places:  # one at a time: frames may differ in size
        batch = collate([loader.load(place)])
        if isinstance(batch, UserError):
            raise batch
        final = network(batch.inputs(experiment.config.inputs, torch.channels_last)).final
        predictions.append({task.name: _decided(task, final[task.name][0]) for task in experiment.tasks})
    return predictions


def _decided(task: Task, output: torch.Tensor) -> np.ndarray:
    if task.kind == "classes":
        return output.argmax(0).to(torch.uint8).numpy()
    if task.kind == "unit_vector":
        output = torch.nn.functional.normalize(output, dim=0)
    return _picture_array(task, output)


def _picture_array(task: Task, tensor: torch.Tensor) -> np.ndarray:
    """A label tensor in the form of :mod:`shards.tasks`."""
    if task.kind == "metric":
        return tensor[0].clamp(min=0).numpy()
    return tensor.permute(1, 2, 0).numpy() if task.kind == "unit_vector" else tensor.numpy()


def _limits(task: Task, truths: Sequence[dict[str, np.ndarray]]) -> tuple[float, float] | None:
    """One colour scale for all pictures of a metric task, so that they can be compared."""
    values = [truth[task.name] for truth in truths if task.name in truth]
    measured = [value[value > 0] for value in values] if task.kind == "metric" else []
    measured = [value for value in measured if value.size]
    return (min(float(v.min()) for v in measured), max(float(v.max()) for v in measured)) if measured else None
