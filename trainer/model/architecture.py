"""The description of a network as plain values: with its weights, enough to build it again."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from shards.errors import UserError
from shards.tasks import Task
from trainer.definition import HRNET_W18_WIDTHS, MTINET, VERSION, check_version, find_unsupported_option

Fusion = Literal["add", "early"]
Decoder = Literal["mti", "heads"]
RGB = "rgb"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""For RGB in [0, 1]: most published weights were trained with these, and networks from scratch use them."""


@dataclass(frozen=True)
class Architecture:
    """The description of a network, stored as JSON in checkpoint folders.

    Args:
        backbone: the timm model, one for each modality; ``dpt`` has one for all.
        inputs: the modalities, ``rgb`` or names of ``input_tasks``.
        tasks: the predicted tasks.
        input_tasks: the tasks whose labels are inputs; they need not be predicted.
        fusion: ``add`` gives every modality a backbone and adds their features at each scale;
            ``early`` gives all modalities' channels to one backbone. ``dpt`` adds tokens, with ``add``.
        statistics: mean and standard deviation, in the task's unit, by the name of each ``scalar`` input; of a
            predicted ``scalar`` task, the mean is the initial prediction.
        decoder: for ``mtinet`` only. ``mti`` is MTI-Net's: initial predictions, feature propagation and distillation at
            every scale, then a head for each task. ``heads`` has the heads alone, on the backbone's features.
        widths: for ``mtinet`` only: channels of the decoder's four scales, finest first. Backbone features of another
            width are projected by a 1×1 convolution. None keeps the backbone's widths.
        rgb_mean: the mean of each channel that is subtracted from RGB in [0, 1]: that of the weights which the network
            started from (:func:`trainer.model.pretrained.match_normalisation`), or ImageNet's.
        rgb_std: the standard deviation by which RGB is then divided, likewise.
        name: the network's name, ``mtinet``, ``fpn``, ``dpt`` or ``my.module:Name`` (:mod:`trainer.model.network`).

    Raises:
        UserError: the values contradict each other.
    """

    backbone: str
    inputs: tuple[str, ...]
    tasks: tuple[Task, ...]
    input_tasks: tuple[Task, ...] = ()
    fusion: Fusion = "add"
    statistics: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    decoder: Decoder = "mti"
    widths: tuple[int, ...] | None = HRNET_W18_WIDTHS
    rgb_mean: tuple[float, ...] = IMAGENET_MEAN
    rgb_std: tuple[float, ...] = IMAGENET_STD
    name: str = MTINET

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        labels = self.labels
        for key, values in (("inputs", list(self.inputs)), ("tasks", names)):
            repeated = [value for value, count in Counter(values).items() if count > 1]
            if not values or repeated:
                raise UserError(f"names {repeated[0]} twice" if repeated else "is empty", key=key)
        from torch import nn  # only here, so that commands about finished runs need not import torch

        for name in {*self.inputs, *names}:
            if hasattr(nn.ModuleDict(), name):
                raise UserError(f"{name!r} cannot name a part of a network", key=name, hint="rename the task")
        for name in self.inputs:
            if name != RGB and name not in labels:
                choices = ", ".join([RGB, *labels])
                raise UserError(f"{name!r} is none of {choices}", key="inputs", hint="describe it in input_tasks")
            if name in labels and (reason := labels[name].storage.input_problem(self.statistics.get(name))):
                raise UserError(f"{reason} of {name}", key="statistics", hint="measure mean and std")
        if self.fusion not in get_args(Fusion):
            raise UserError(f"{self.fusion!r} is none of {', '.join(get_args(Fusion))}", key="fusion")
        if self.decoder not in get_args(Decoder):
            raise UserError(f"{self.decoder!r} is none of {', '.join(get_args(Decoder))}", key="decoder")
        if self.widths is not None and not (len(self.widths) == 4 and min(self.widths) > 0):
            raise UserError(f"{list(self.widths)} is not four widths", key="widths", hint="give [18, 36, 72, 144]")
        for key, triple in (("rgb_mean", self.rgb_mean), ("rgb_std", self.rgb_std)):
            if len(triple) != 3 or (key == "rgb_std" and min(triple) <= 0):
                raise UserError(f"{list(triple)} is not a {key[4:]} of RGB", key=key, hint="give three numbers")
        if problem := find_unsupported_option(self.name, vars(self)):
            raise UserError(problem[1], key=problem[0], hint="leave it out")

    @property
    def labels(self) -> dict[str, Task]:
        """The tasks whose labels can be inputs, by name."""
        return {task.name: task for task in self.input_tasks}

    @property
    def branches(self) -> dict[str, tuple[str, ...]]:
        """The names of the backbones, each with the modalities whose channels it reads, according to the fusion."""
        if self.fusion == "early":
            return {"_".join(self.inputs): self.inputs}
        return {name: (name,) for name in self.inputs}

    def to_json(self) -> dict[str, Any]:
        """Return JSON values, from which :meth:`from_json` makes an equal description."""
        return {
            "name": self.name,
            "backbone": self.backbone,
            "inputs": list(self.inputs),
            "tasks": [{"name": task.name, **task.to_json()} for task in self.tasks],
            "input_tasks": [{"name": task.name, **task.to_json()} for task in self.input_tasks],
            "fusion": self.fusion,
            "statistics": {name: list(values) for name, values in self.statistics.items()},
            "decoder": self.decoder,
            "widths": self.widths and list(self.widths),
            "version": VERSION,
            "rgb_mean": list(self.rgb_mean),
            "rgb_std": list(self.rgb_std),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any], file: Path | None = None) -> "Architecture":
        """Return the description that :meth:`to_json` stored. The default ``rgb_mean`` and ``rgb_std`` are ImageNet's,
        and the default name is ``mtinet``.

        Args:
            entry: the JSON values.
            file: the file that they are from, for errors.

        Raises:
            UserError: a value is missing or contradicts another, or the network is of another version.
        """
        check_version(entry.get("version", 1), file, "version")
        try:
            return cls(
                backbone=entry["backbone"],
                inputs=tuple(entry["inputs"]),
                tasks=tuple(Task.from_json(task["name"], task) for task in entry["tasks"]),
                input_tasks=tuple(Task.from_json(task["name"], task) for task in entry["input_tasks"]),
                fusion=entry["fusion"],
                statistics={name: (float(mean), float(std)) for name, (mean, std) in entry["statistics"].items()},
                decoder=entry["decoder"],
                widths=entry["widths"] and tuple(entry["widths"]),
                rgb_mean=tuple(entry.get("rgb_mean", IMAGENET_MEAN)),
                rgb_std=tuple(entry.get("rgb_std", IMAGENET_STD)),
                name=entry.get("name", MTINET),
            )
        except KeyError as error:
            message = "is missing from the description of a network"
            raise UserError(message, file=file, key=str(error.args[0])) from error
