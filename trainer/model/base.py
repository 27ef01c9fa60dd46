"""What every network is: a module that predicts all tasks from a mapping of inputs, and what the rest asks of it.

A network of your own is a class derived from :class:`Network`, or from :class:`trainer.model.pyramid.PyramidNetwork`
where it reads backbones' features at four scales, named as ``model.name: my.module:Name``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from trainer.model.architecture import Architecture
from trainer.model.backbone import STRIDES
from trainer.model.blocks import upsample
from trainer.model.modality import encoder

TaskTensors = dict[str, torch.Tensor]


class Predictions(NamedTuple):
    """What a network says of every pixel, as logits, values in the unit, or vectors of any length.

    Attributes:
        final: by task, ``(B, task.channels, H, W)`` at the inputs' size.
        initial: the initial predictions for deep supervision, ``(B, task.channels, h, w)`` from each scale, finest
            first, at the scale's own size; empty outside training and for networks without any.
        weighting: in training, what the weights of the losses follow from (:mod:`trainer.weighting`), if anything.
    """

    final: TaskTensors
    initial: list[TaskTensors]
    weighting: torch.Tensor | None = None

    def at_full_size(self, scale: int, values: Mapping[str, torch.Tensor] | None = None) -> TaskTensors:
        """The initial predictions of one scale, counted from the finest, or ``values`` in their place, as ``final`` has
        them: ``(B, task.channels, H, W)``."""
        values = self.initial[scale] if values is None else values
        return {task: to_full_size(x, self.final[task].shape[-2:]) for task, x in values.items()}


class Network(nn.Module, ABC):
    """A network that an :class:`~trainer.model.architecture.Architecture` describes, randomly initialised.

    The same description must always make a network with the same names and shapes of parameters: checkpoints and
    exported networks are the description and the weights. Every parameter must reach a prediction in training, or
    engines of several ranks refuse it. Random values come from torch's global generator.

    Args:
        architecture: the description: the names of the inputs, the tasks with their ``channels``, and the options
            of ``model`` in a configuration, which a network of your own may read as it likes.

    Attributes:
        architecture: as given.
        encoders: by input, from what a loader gives to ``(B, channels, H', W')`` (:mod:`trainer.model.encoders`).
        backbones: by the names of :meth:`branches`, what may start from pretrained weights and counts as the backbone
            where sizes are reported. May stay empty; then ``model.pretrained`` is refused.
        weighting: of the losses (:mod:`trainer.weighting`); given after the network is built, if at all.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.weighting: nn.Module | None = None
        self.encoders = nn.ModuleDict({name: encoder(name, architecture) for name in architecture.inputs})
        self.backbones = nn.ModuleDict()

    @classmethod
    def branches(cls, architecture: Architecture) -> Mapping[str, tuple[str, ...]]:
        """The backbones that a network of this class has for a description, by name, each with the inputs it reads."""
        return architecture.branches

    @abstractmethod
    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Predictions:
        """Predict all tasks.

        Args:
            inputs: by modality, a batch in the form that :mod:`trainer.model.modality` lists, of any size, ``rgb`` as
                ``(B, 3, H, W)`` in 0..1; further entries are ignored.

        Returns:
            What :meth:`predictions` makes of the tasks' outputs at the size of the inputs.
        """

    def last_layers(self, task: str) -> Iterable[nn.Module]:
        """The layers with a ``bias`` that give a task's predictions. The biases of a quantity start at its mean over
        the training split; without any they start as the layers were made."""
        return ()

    def channels(self, names: Iterable[str]) -> int:
        """How many channels :meth:`encode` gives for these inputs."""
        return sum(self.encoders[name].channels for name in names)  # type: ignore[misc]

    def encode(self, inputs: Mapping[str, torch.Tensor], names: Iterable[str]) -> torch.Tensor:
        """The given inputs, normalised, padded at the right and the bottom to a multiple of 32, and side by side:
        ``(B, channels, H', W')``."""
        encoded = torch.cat([self.encoders[name](inputs[name]) for name in names], 1)
        # Convolutions hand this layout on, whatever that of their weights (which FSDP wants contiguous).
        return encoded.contiguous(memory_format=torch.channels_last)

    def size(self, inputs: Mapping[str, torch.Tensor]) -> tuple[int, int]:
        """Height and width of the inputs."""
        height, width = inputs[self.architecture.inputs[0]].shape[-2:]
        return height, width

    def predictions(self, final: TaskTensors, initial: Sequence[TaskTensors] = ()) -> Predictions:
        """What :meth:`forward` returns, with what the weighting of losses needs.

        Args:
            final: by task, ``(B, task.channels, H, W)`` at the size of the inputs (:func:`to_full_size`).
            initial: see :class:`Predictions`.
        """
        # Here, inside the forward, engines that keep parameters in parts have gathered them.
        weighting = self.weighting() if self.training and self.weighting is not None else None
        return Predictions(final, list(initial), weighting)


def to_full_size(x: torch.Tensor, size: tuple[int, int] | torch.Size, multiple: int = STRIDES[-1]) -> torch.Tensor:
    """A scale's predictions ``(B, C, h, w)`` as ``(B, C, *size)``.

    An encoder pads inputs to a multiple of the coarsest stride, so that every scale covers the same padded frame;
    the predictions are upsampled to it and cropped.

    Args:
        multiple: what a network pads the encoded inputs to in turn, such as the patches of a transformer.
    """
    height, width = size
    encoded = [side + -side % STRIDES[-1] for side in (height, width)]
    rows, columns = (side + -side % multiple for side in encoded)
    return upsample(x, (rows, columns))[..., :height, :width]
