"""MTI-Net over several modalities: from inputs to the predictions of all tasks.

::

    inputs ── encoders ── backbones ── fusion ─┬─ stride 32: initial ──── distillation ─┐
    (by name)          (one a modality, (FFM)  │                │ propagation           │
                        four scales)           ├─ stride 16: initial ──── distillation ─┤
                                               │                │ propagation           ├─ heads ── final
                                               ├─ stride  8: initial ──── distillation ─┤  (one a task)
                                               │                │ propagation           │
                                               └─ stride  4: initial ──── distillation ─┘

After Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning" (ECCV 2020); several
modalities as in Erkent, "Multi-Task Learning for Robot Perception with Imbalanced Data". A network of one task
has nothing to interact with: its head reads the fused backbone features.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from trainer.model.architecture import RGB, Architecture
from trainer.model.backbone import STRIDES, create
from trainer.model.blocks import upsample
from trainer.model.distillation import MultiModalDistillation
from trainer.model.fusion import fuse
from trainer.model.heads import AggregationHead
from trainer.model.initial import InitialPrediction
from trainer.model.modality import RGBEncoder, label_encoder
from trainer.model.pretrained import load_pretrained
from trainer.model.propagation import FeaturePropagation

__all__ = ["Architecture", "Network", "Predictions", "build"]

SCALES = tuple(f"stride{stride}" for stride in STRIDES)
TaskTensors = dict[str, torch.Tensor]


class Predictions(NamedTuple):
    """What a network says of every pixel, as logits, values in the unit, or vectors of any length.

    Attributes:
        final: by task, ``(B, task.channels, H, W)`` at the inputs' size.
        initial: the same from each scale, finest first, for deep supervision; empty outside training and for
            a single task.
    """

    final: TaskTensors
    initial: list[TaskTensors]


class Network(nn.Module):
    """The network that an :class:`Architecture` describes, randomly initialised."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        labels, branches = architecture.labels, architecture.branches
        tasks = {task.name: task.channels for task in architecture.tasks}

        validity = architecture.fusion != "early"
        self.encoders = nn.ModuleDict(
            {
                name: RGBEncoder()
                if name == RGB
                else label_encoder(labels[name], architecture.statistics.get(name), validity)
                for name in architecture.inputs
            }
        )
        self.backbones = nn.ModuleDict(
            {
                branch: create(architecture.backbone, sum(self.encoders[name].channels for name in names))
                for branch, names in branches.items()
            }
        )
        widths = next(iter(self.backbones.values())).feature_info.channels()

        self.initial, self.propagation, self.distillation = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        if len(tasks) > 1:
            coarser = [*widths[1:], 0]
            for scale, width, received in zip(SCALES, widths, coarser, strict=True):
                self.initial[scale] = nn.ModuleDict(
                    {
                        task: InitialPrediction(width + received, width, channels)
                        for task, channels in tasks.items()
                    }
                )
                self.distillation[scale] = MultiModalDistillation(list(tasks), width)
                if scale != SCALES[0]:  # nothing is finer than the finest
                    self.propagation[scale] = FeaturePropagation(list(tasks), width)
        self.heads = nn.ModuleDict(
            {task: AggregationHead(widths, channels) for task, channels in tasks.items()}
        )

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        """Predict all tasks.

        Args:
            inputs: by modality, a batch in the form that :mod:`trainer.model.modality` lists, of any size;
                further entries are ignored.
        """
        height, width = inputs[self.architecture.inputs[0]].shape[-2:]
        pyramid = self.features(inputs)
        initial: list[TaskTensors] = []
        if self.initial:
            task_pyramids, initial = self.interact(pyramid)
        else:
            task_pyramids = {task: pyramid for task in self.heads}
        final = {task: head(task_pyramids[task]) for task, head in self.heads.items()}

        full = [side * STRIDES[0] for side in pyramid[0].shape[-2:]]

        def at_full_size(predictions: TaskTensors) -> TaskTensors:
            return {task: upsample(x, full)[..., :height, :width] for task, x in predictions.items()}

        return Predictions(at_full_size(final), [at_full_size(predictions) for predictions in initial])
