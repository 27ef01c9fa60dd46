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

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from trainer.model.architecture import Architecture
from trainer.model.base import Predictions, TaskTensors, to_full_size
from trainer.model.blocks import BasicBlock, SqueezeExcitation, upsample
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


class InitialPrediction(nn.Module):
    """The initial prediction of one task at one scale: MTI-Net, section 3.2.

    Two residual blocks, whose features all later modules refine, and a 1×1 convolution that predicts from them. The
    prediction serves deep supervision only, through which the features become those *of the task*. So it is only
    computed in training.

    Args:
        inputs: channels of the backbone's scale, plus those of the task's feature from the coarser scale.
        channels: the scale's width C.
        outputs: the task's channels.
    """

    def __init__(self, inputs: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(BasicBlock(inputs, channels), BasicBlock(channels, channels))
        self.predict = nn.Conv2d(channels, outputs, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the task's features and the prediction from them, for ``(B, inputs, h, w)``.

        Returns:
            The features ``(B, channels, h, w)``, and in training the prediction ``(B, outputs, h, w)``.
        """
        features = self.blocks(x)
        return features, self.predict(features) if self.training else None


class FeaturePropagation(nn.Module):
    """The feature propagation module (FPM), from one scale to the next finer one: MTI-Net, section 3.3.

    From the concatenated features of all N tasks an attention mask is computed for each task, a softmax over the tasks.
    Each task's feature times its mask, concatenated and reduced from N·C channels to C, is the shared feature, which
    each task's squeeze-and-excitation weighs and adds to that task's feature::

        M = softmax over tasks of attention([F_1 ... F_N])
        S = shared([M_1 ⊙ F_1 ... M_N ⊙ F_N])
        F'_k = F_k + SE_k(S)

    With a single task there is no attention.

    Args:
        tasks: the tasks' names, in the order in which their features are concatenated.
        channels: the scale's width C.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        joined = len(tasks) * channels
        squeezed = max(1, joined // 4)
        self.attention = (
            nn.Sequential(BasicBlock(joined, squeezed), BasicBlock(squeezed, squeezed), nn.Conv2d(squeezed, joined, 1))
            if len(tasks) > 1
            else None
        )
        self.shared = BasicBlock(joined, channels)
        self.excitation = nn.ModuleDict({task: SqueezeExcitation(channels) for task in tasks})

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Task features ``(B, C, h, w)`` of one scale to those that the next finer scale receives, same shape."""
        joined = torch.cat([features[task] for task in self.excitation], 1)
        if self.attention is not None:
            # A task's channels are contiguous in the features as in the logits.
            masks = torch.cat(attend(self.attention(joined), len(self.excitation)), 1)
            joined = masks.to(joined.dtype) * joined  # autocast's softmax gives float32
        shared = self.shared(joined)
        return {task: features[task] + excite(shared) for task, excite in self.excitation.items()}


def attend(logits: torch.Tensor, tasks: int) -> tuple[torch.Tensor, ...]:
    """Return the attention masks of all tasks, which sum to one over the tasks at every channel and pixel.

    Args:
        logits: ``(B, tasks·C, h, w)``, a task's channels contiguous.
        tasks: the number of tasks.

    Returns:
        One mask ``(B, C, h, w)`` for each task.
    """
    channels_last = logits.permute(0, 2, 3, 1)  # the memory layout, so that the softmax copies nothing
    masks = channels_last.unflatten(-1, (tasks, -1)).softmax(-2)
    return tuple(mask.permute(0, 3, 1, 2) for mask in masks.unbind(-2))


class MultiModalDistillation(nn.Module):
    """Multi-modal distillation (MMDM), spatial attention between the tasks of one scale: MTI-Net, eq. 1, after PAD-Net
    (CVPR 2018).

    ``F°_k = F_k + Σ_{l≠k} σ(W_kl F_l) ⊙ (W'_kl F_l)``, with 3×3 convolutions W and W'. All convolutions
    that read one source's features are computed as one.

    Args:
        tasks: the tasks' names.
        channels: the scale's width C.
    """

    def __init__(self, tasks: Sequence[str], channels: int) -> None:
        super().__init__()
        outputs = 2 * channels * (len(tasks) - 1)
        self.messages = nn.ModuleDict()
        if outputs:  # a single task has no other to read from
            for task in tasks:
                self.messages[task] = nn.Conv2d(channels, outputs, 3, padding=1, bias=False)

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Task features ``(B, C, h, w)`` of one scale to distilled ones, same shape."""
        distilled = dict(features)
        for source, convolution in self.messages.items():
            receivers = [task for task in self.messages if task != source]
            messages = convolution(features[source]).chunk(len(receivers), 1)
            for receiver, message in zip(receivers, messages, strict=True):
                gate, value = message.chunk(2, 1)
                distilled[receiver] = torch.addcmul(distilled[receiver], torch.sigmoid(gate), value)
        return distilled


class AggregationHead(nn.Module):
    """Feature aggregation (FA), and one task's prediction from all scales: MTI-Net, section 3.4.

    The scales are upsampled to the finest and joined; a 1×1 convolution with batch normalisation and ReLU
    mixes them, another one predicts. A single-task network has this head over the backbone's scales.

    Args:
        widths: the scales' channels.
        outputs: the task's channels.
    """

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        joined = sum(widths)
        self.mix = nn.Conv2d(joined, joined, 1, bias=False)
        self.bn = nn.BatchNorm2d(joined)
        self.predict = nn.Conv2d(joined, outputs, 1)

    def forward(self, pyramid: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features ``(B, C_s, h_s, w_s)``, finest first, to ``(B, outputs, h_0, w_0)``."""
        finest, *coarser = pyramid
        joined = torch.cat([finest, *(upsample(features, finest.shape[-2:]) for features in coarser)], 1)
        return self.predict(F.relu(self.bn(self.mix(joined)), inplace=True))
