"""The network ``mtinet``: from inputs to the predictions of all tasks.

::

    inputs ── encoders ── backbones ── fusion ─┬─ stride 32: initial ──── distillation ─┐
    (by name)          (per modality,   (FFM)  │                │ propagation           │
                        four scales)      and  ├─ stride 16: initial ──── distillation ─┤
                                    projection │                │ propagation           ├─ heads ── final
                                   to widths   ├─ stride  8: initial ──── distillation ─┤  (one per task)
                                               │                │ propagation           │
                                               └─ stride  4: initial ──── distillation ─┘

After Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning" (ECCV 2020); several
modalities as in Erkent, "Multi-Task Learning for Robot Perception with Imbalanced Data". With the decoder ``heads``
the heads read the fused features themselves, as the single-task and multi-task baselines of that literature do. Either
decoder serves one task and several.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from trainer.model.architecture import Architecture
from trainer.model.base import Predictions, TaskTensors, to_full_size
from trainer.model.blocks import upsample
from trainer.model.distillation import MultiModalDistillation
from trainer.model.heads import AggregationHead
from trainer.model.initial import InitialPrediction
from trainer.model.propagation import FeaturePropagation
from trainer.model.pyramid import SCALES, PyramidNetwork


class MTINet(PyramidNetwork):
    """Backbones, the decoder ``mti`` or ``heads``, and a head for each task."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        tasks = {task.name: task.channels for task in architecture.tasks}
        channels = list(architecture.widths or self.widths)
        self.projection = nn.ModuleDict()
        for scale, width, projected in zip(SCALES, self.widths, channels, strict=True):
            if width != projected:  # no bias: a convolution and batch norm follow
                self.projection[scale] = nn.Conv2d(width, projected, 1, bias=False)

        self.initial, self.propagation, self.distillation = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        if architecture.decoder == "mti":
            for scale, width, received in zip(SCALES, channels, [*channels[1:], 0], strict=True):
                self.initial[scale] = nn.ModuleDict(
                    {name: InitialPrediction(width + received, width, outputs) for name, outputs in tasks.items()}
                )
                self.distillation[scale] = MultiModalDistillation(list(tasks), width)
                if scale != SCALES[0]:  # nothing is finer than the finest
                    self.propagation[scale] = FeaturePropagation(list(tasks), width)
        self.heads = nn.ModuleDict({name: AggregationHead(channels, outputs) for name, outputs in tasks.items()})

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        size = self.size(inputs)
        pyramid = self.extract(inputs)
        initial: list[TaskTensors] = []
        if self.initial:
            refined, initial = self.interact(pyramid)
        else:
            refined = [dict.fromkeys(self.heads, features) for features in pyramid]
        final = {task: head([features[task] for features in refined]) for task, head in self.heads.items()}
        return self.predictions({task: to_full_size(x, size) for task, x in final.items()}, initial)

    def last_layers(self, task: str) -> Iterable[nn.Module]:
        return [part[task].predict for part in (self.heads, *self.initial.values())]  # type: ignore[index]

    def extract(self, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """Return the fused features ``(B, C, h, w)`` of the four scales, finest first, at the decoder's widths."""
        return [
            self.projection[scale](features) if scale in self.projection else features
            for scale, features in zip(SCALES, self.features(inputs), strict=True)
        ]

    def interact(self, pyramid: list[torch.Tensor]) -> tuple[list[TaskTensors], list[TaskTensors]]:
        """Turn the four scales' features into each task's features, refined by coarser scales and the other tasks.

        Returns:
            Task features ``(B, C, h, w)`` of the four scales, and in training the initial predictions
            ``(B, task.channels, h, w)`` from them; both finest first.
        """
        refined: list[TaskTensors] = []
        initial: list[TaskTensors] = []
        received: TaskTensors = {}
        for scale, shared in zip(reversed(SCALES), reversed(pyramid), strict=True):
            features: TaskTensors = {}
            predictions: TaskTensors = {}
            for task, module in self.initial[scale].named_children():
                x = torch.cat([shared, upsample(received[task], shared.shape[-2:])], 1) if received else shared
                features[task], predictions[task] = module(x)
            if self.training:
                initial.append(predictions)
            if scale in self.propagation:
                received = self.propagation[scale](features)
            refined.append(self.distillation[scale](features))
        return refined[::-1], initial[::-1]
