"""Creates a network in one call, without a configuration."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.tasks import Task, check_are_tasks, check_is_list
from trainer.model.architecture import RGB, Architecture
from trainer.model.network import Network, build


def create_model(
    name: str = "mtinet",
    *,
    backbone: str = "hrnet_w18_small_v2",
    inputs: Sequence[str] = (RGB,),
    tasks: Sequence[Task],
    input_tasks: Sequence[Task] = (),
    statistics: Mapping[str, tuple[float, float]] | None = None,
    pretrained: bool | str | Path = False,
    **options: Any,
) -> Network:
    """Create a network for the tasks of a data set, on a timm backbone.

    Its forward takes a mapping of inputs, ``rgb`` float ``(B, 3, H, W)`` in 0..1 and label tensors as a loader gives
    them, of any size, and returns ``final``, by task ``(B, task.channels, H, W)``, and in training ``initial``, the
    predictions for deep supervision. Random weights come from torch's global generator.

    Args:
        name: ``mtinet``, after Vandenhende et al., "MTI-Net" (ECCV 2020); ``fpn``, a light decoder after Lin et al.
            (CVPR 2017) and Kirillov et al. (CVPR 2019); ``dpt``, after Ranftl et al., "Vision Transformers for Dense
            Prediction" (ICCV 2021); or a custom class as ``my.module:Name``.
        backbone: the name of a timm model with features at strides 4, 8, 16 and 32; for ``dpt`` of a vision
            transformer, such as ``vit_small_patch14_dinov2``.
        inputs: ``rgb``, and names of tasks whose labels are inputs, each with its own backbone, or with ``dpt`` its own
            patch embedding.
        tasks: the tasks to predict: :attr:`shards.dataset.ShardDataset.tasks`.
        input_tasks: the tasks among the inputs that are not predicted.
        statistics: mean and standard deviation of quantities (:attr:`shards.dataset.ShardDataset.statistics`), which
            normalise inputs and initialise predictions.
        pretrained: True for timm's weights from the hub, ``"package"`` for those of an installed package, or a file.
        options: other fields of :class:`trainer.model.architecture.Architecture`, such as ``decoder="heads"``.

    Raises:
        UserError: for an unknown name, values that contradict each other, or weights that cannot be loaded.
    """
    tasks, input_tasks = check_are_tasks(tasks), check_are_tasks(input_tasks)
    check_is_list("inputs", inputs)
    names = {field.name for field in fields(Architecture)}
    for option in options.keys() - names:
        near = difflib.get_close_matches(option, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(sorted(names))}"
        raise UserError("is not an option of networks", key=option, hint=hint)
    by_name = {task.name: task for task in (*tasks, *input_tasks)}
    labels = tuple(by_name[name] for name in inputs if name in by_name)
    architecture = Architecture(
        backbone, tuple(inputs), tuple(tasks), labels, statistics=dict(statistics or {}), name=name, **options
    )
    return build(architecture, pretrained)
