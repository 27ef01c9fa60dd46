"""The network: from inputs to the predictions of all tasks.

::

    inputs ── encoders ── backbones ── fusion ─┬─ stride 32: initial ──── distillation ─┐
    (by name)          (one a modality, (FFM)  │                │ propagation           │
                        four scales)      and  ├─ stride 16: initial ──── distillation ─┤
                                    projection │                │ propagation           ├─ heads ── final
                                   to widths   ├─ stride  8: initial ──── distillation ─┤  (one a task)
                                               │                │ propagation           │
                                               └─ stride  4: initial ──── distillation ─┘

After Vandenhende et al., "MTI-Net: Multi-Scale Task Interaction Networks for Multi-Task Learning" (ECCV 2020); several
modalities as in Erkent, "Multi-Task Learning for Robot Perception with Imbalanced Data". With the decoder ``heads``
the heads read the fused features themselves, as the single-task and multi-task baselines of that literature do. Either
decoder serves one task and several.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from trainer.kinds import learning
from trainer.model.architecture import Architecture
from trainer.model.backbone import STRIDES, create, widths
from trainer.model.blocks import upsample
from trainer.model.distillation import MultiModalDistillation
from trainer.model.fusion import fuse
from trainer.model.heads import AggregationHead
from trainer.model.initial import InitialPrediction
from trainer.model.modality import encoder
from trainer.model.pretrained import load_pretrained, normalised, pretrained_branches
from trainer.model.propagation import FeaturePropagation

__all__ = ["Architecture", "Network", "Predictions", "build"]

SCALES = tuple(f"stride{stride}" for stride in STRIDES)
TaskTensors = dict[str, torch.Tensor]


class Predictions(NamedTuple):
    """What a network says of every pixel, as logits, values in the unit, or vectors of any length.

    Attributes:
        final: by task, ``(B, task.channels, H, W)`` at the inputs' size.
        initial: the initial predictions for deep supervision, ``(B, task.channels, h, w)`` from each scale, finest
            first, at the scale's own size; empty outside training and with the decoder ``heads``.
        weighting: in training, what the weights of the losses follow from (:mod:`trainer.weighting`), if anything.
    """

    final: TaskTensors
    initial: list[TaskTensors]
    weighting: torch.Tensor | None = None

    def at_full_size(self, scale: int) -> TaskTensors:
        """The initial predictions of one scale, counted from the finest, as ``final`` has them:
        ``(B, task.channels, H, W)``."""
        return {task: to_full_size(x, self.final[task].shape[-2:]) for task, x in self.initial[scale].items()}


class Network(nn.Module):
    """The network that an :class:`Architecture` describes, randomly initialised."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        tasks = {task.name: task.channels for task in architecture.tasks}
        self.weighting: nn.Module | None = None

        encoders = {name: encoder(name, architecture) for name in architecture.inputs}
        self.encoders = nn.ModuleDict(encoders)
        backbones = {
            branch: create(architecture.backbone, sum(encoders[name].channels for name in names))
            for branch, names in architecture.branches.items()
        }
        self.backbones = nn.ModuleDict(backbones)
        channels = widths(next(iter(backbones.values())))

        self.projection = nn.ModuleDict()
        for scale, width, projected in zip(SCALES, channels, architecture.widths or channels, strict=True):
            if width != projected:  # no bias: every reader begins with a convolution and batch norm
                self.projection[scale] = nn.Conv2d(width, projected, 1, bias=False)
        channels = list(architecture.widths or channels)

        self.initial, self.propagation, self.distillation = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        if architecture.decoder == "mti":
            for scale, width, received in zip(SCALES, channels, [*channels[1:], 0], strict=True):
                self.initial[scale] = nn.ModuleDict(
                    {name: InitialPrediction(width + received, width, outputs) for name, outputs in tasks.items()}
                )
                self.distillation[scale] = MultiModalDistillation(list(tasks), width)
                if scale != SCALES[0]:  # nothing is finer than the finest
                    self.propagation[scale] = FeaturePropagation(list(tasks), width, architecture.version)
        self.heads = nn.ModuleDict({name: AggregationHead(channels, outputs) for name, outputs in tasks.items()})

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        """Predict all tasks.

        Args:
            inputs: by modality, a batch in the form that :mod:`trainer.model.modality` lists, of any size;
                further entries are ignored.
        """
        height, width = inputs[self.architecture.inputs[0]].shape[-2:]
        pyramid = self.extract(inputs)
        initial: list[TaskTensors] = []
        if self.initial:
            refined, initial = self.interact(pyramid)
        else:
            refined = [dict.fromkeys(self.heads, features) for features in pyramid]
        final = {task: head([features[task] for features in refined]) for task, head in self.heads.items()}

        weighting = self.weighting() if self.training and self.weighting is not None else None
        final = {task: to_full_size(x, (height, width)) for task, x in final.items()}
        return Predictions(final, initial, weighting)

    def extract(self, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        """The fused features ``(B, C, h, w)`` of the four scales, finest first, at the decoder's widths."""
        pyramids = []
        for branch, names in self.architecture.branches.items():
            channels = torch.cat([self.encoders[name](inputs[name]) for name in names], 1)
            # Convolutions hand this layout on, whatever that of their weights (which FSDP wants contiguous).
            channels = channels.contiguous(memory_format=torch.channels_last)
            pyramids.append(self.backbones[branch](channels))
        fused = fuse(pyramids)
        return [
            self.projection[scale](features) if scale in self.projection else features
            for scale, features in zip(SCALES, fused, strict=True)
        ]

    def interact(self, pyramid: list[torch.Tensor]) -> tuple[list[TaskTensors], list[TaskTensors]]:
        """From the four scales' features to every task's own, refined by the coarser scales and the other tasks.

        Returns:
            Task features ``(B, C, h, w)`` of the four scales, and in training the initial predictions
            made from them ``(B, task.channels, h, w)``; both finest first.
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


def to_full_size(x: torch.Tensor, size: tuple[int, int] | torch.Size) -> torch.Tensor:
    """A scale's predictions ``(B, C, h, w)`` as ``(B, C, *size)``.

    An encoder pads inputs to a multiple of the coarsest stride, so that every scale covers the same padded frame;
    the predictions are upsampled to it and cropped.
    """
    padded = tuple(side + -side % STRIDES[-1] for side in size)
    return upsample(x, padded)[..., : size[0], : size[1]]  # type: ignore[arg-type]


def build(
    architecture: Architecture, pretrained: bool | str | Path = False, pretrained_inputs: Sequence[str] | None = None
) -> Network:
    """A network, its backbones from scratch or from given weights, all the rest from scratch.

    Random values come from torch's global generator. Predictions of a quantity start at its mean, where the
    architecture's statistics know it.

    Args:
        architecture: what to build.
        pretrained: see :func:`trainer.model.pretrained.load_pretrained`. The network's own architecture is then the
            given one with RGB normalised as those weights want it.
        pretrained_inputs: the inputs whose backbones start from them; None for all.
    """
    architecture = normalised(architecture, pretrained, pretrained_inputs)
    network = Network(architecture)
    started = [network.backbones[branch] for branch in pretrained_branches(architecture, pretrained_inputs)]
    load_pretrained(started, architecture.backbone, pretrained)
    for task in architecture.tasks:
        start = learning(task).start(architecture.statistics)
        if start is not None:
            for name in ("heads", *(f"initial.{scale}" for scale in network.initial)):
                bias = network.get_parameter(f"{name}.{task.name}.predict.bias")
                nn.init.constant_(bias, start)
    return network
