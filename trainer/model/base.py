"""The base class of networks: a module that predicts all tasks from a mapping of inputs.

A custom network is a class derived from :class:`Network`, or from :class:`trainer.model.pyramid.PyramidNetwork` if it
reads backbones' features at four scales; a configuration names it as ``model.name: my.module:Name``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from trainer.definition import STRIDES
from trainer.kinds import learning
from trainer.model.architecture import RGB, Architecture
from trainer.model.blocks import upsample
from trainer.model.encoders import Encoder, RGBEncoder

TaskTensors = dict[str, torch.Tensor]


class Predictions(NamedTuple):
    """A network's predictions at every pixel, as logits, values in the unit, or vectors of any length.

    Attributes:
        final: by task, ``(B, task.channels, H, W)`` at the inputs' size.
        initial: the initial predictions for deep supervision, ``(B, task.channels, h, w)`` from each scale, finest
            first, at the scale's own size; empty outside training and for networks without any.
        weighting: in training, the values from which a weighting of losses computes its weights
            (:mod:`trainer.weighting`), if there is one.
    """

    final: TaskTensors
    initial: list[TaskTensors]
    weighting: torch.Tensor | None = None

    def at_full_size(self, scale: int, values: Mapping[str, torch.Tensor] | None = None) -> TaskTensors:
        """Return the initial predictions of one scale, counted from the finest, or ``values`` in their place, at the
        size of ``final``: ``(B, task.channels, H, W)``."""
        values = self.initial[scale] if values is None else values
        return {task: to_full_size(x, self.final[task].shape[-2:]) for task, x in values.items()}


class Network(nn.Module, ABC):
    """A network that an :class:`~trainer.model.architecture.Architecture` describes, randomly initialised.

    The same description must always give a network with the same names and shapes of parameters: checkpoints and
    exported networks consist of the description and the weights. Every parameter must contribute to a prediction in
    training, or engines of several ranks refuse it. Random values come from torch's global generator.

    Args:
        architecture: the description: the names of the inputs, the tasks with their ``channels``, and the options
            of ``model`` in a configuration, which a custom network is free to interpret.

    Attributes:
        architecture: the description.
        encoders: by input, from a loader's tensors to ``(B, channels, H', W')`` (:mod:`trainer.model.encoders`).
        backbones: by the names of :meth:`branches`, the modules that may start from pretrained weights and count as the
            backbone where sizes are reported. May stay empty; then ``model.pretrained`` is refused.
        weighting: the weighting of losses (:mod:`trainer.weighting`), set after the network is built, if at all.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.weighting: nn.Module | None = None
        self.encoders = nn.ModuleDict({name: encoder(name, architecture) for name in architecture.inputs})
        self.backbones = nn.ModuleDict()

    @classmethod
    def branches(cls, architecture: Architecture) -> Mapping[str, tuple[str, ...]]:
        """Return the names of the backbones that a description gives a network of this class, each with its inputs."""
        return architecture.branches

    @abstractmethod
    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        """Predict all tasks.

        Args:
            inputs: by modality, a batch as its :func:`encoder` takes it, of any size, ``rgb`` as ``(B, 3, H, W)`` in
                0..1; further entries are ignored.

        Returns:
            The result of :meth:`predictions` for the tasks' outputs at the size of the inputs.
        """

    def last_layers(self, task: str) -> Iterable[nn.Module]:
        """Return the layers with a ``bias`` that give a task's predictions. The biases of a quantity start at its mean
        over the training split; if there are none, predictions start as the layers were initialised."""
        return ()

    def channels(self, names: Iterable[str]) -> int:
        """Return the number of channels that :meth:`encode` gives for these inputs."""
        return sum(self.encoders[name].channels for name in names)  # type: ignore[misc]

    def encode(self, inputs: Mapping[str, torch.Tensor], names: Iterable[str]) -> torch.Tensor:
        """Normalise the named inputs, pad them at the right and the bottom to a multiple of 32, and concatenate them:
        ``(B, channels, H', W')``."""
        encoded = torch.cat([self.encoders[name](inputs[name]) for name in names], 1)
        # Convolutions preserve this layout, whatever that of their weights, which FSDP needs contiguous.
        return encoded.contiguous(memory_format=torch.channels_last)

    def size(self, inputs: Mapping[str, torch.Tensor]) -> tuple[int, int]:
        """Return height and width of the inputs."""
        height, width = inputs[self.architecture.inputs[0]].shape[-2:]
        return height, width

    def predictions(self, final: TaskTensors, initial: Sequence[TaskTensors] = ()) -> Predictions:
        """Return the value of :meth:`forward`, with the values that the weighting of losses needs.

        Args:
            final: by task, ``(B, task.channels, H, W)`` at the size of the inputs (:func:`to_full_size`).
            initial: see :class:`Predictions`.
        """
        # Here, inside the forward, engines that shard parameters have gathered them.
        weighting = self.weighting() if self.training and self.weighting is not None else None
        return Predictions(final, list(initial), weighting)


def to_full_size(x: torch.Tensor, size: tuple[int, int] | torch.Size, multiple: int = STRIDES[-1]) -> torch.Tensor:
    """Return a scale's predictions ``(B, C, h, w)`` as ``(B, C, *size)``.

    An encoder pads inputs to a multiple of the coarsest stride, so that every scale covers the same padded frame;
    the predictions are upsampled to it and cropped.

    Args:
        multiple: the multiple that a network pads the encoded inputs to in turn, such as a transformer's patch size.
    """
    height, width = size
    encoded = [side + -side % STRIDES[-1] for side in (height, width)]
    rows, columns = (side + -side % multiple for side in encoded)
    return upsample(x, (rows, columns))[..., :height, :width]


def encoder(name: str, architecture: Architecture) -> Encoder:
    """Return the encoder of one of the architecture's inputs."""
    if name == RGB:
        return RGBEncoder(architecture.rgb_mean, architecture.rgb_std)
    validity = architecture.fusion != "early"
    return learning(architecture.labels[name]).encoder(architecture.statistics.get(name), validity)
