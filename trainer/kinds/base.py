"""The base class of kinds as they are learnt: tensors, losses, decisions and metrics of their labels."""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from shards.errors import UserError
from trainer.kindmetrics import KindMetrics
from trainer.model.encoders import Encoder


class Learning(KindMetrics):
    """Labels of one task as a network learns them, in torch.

    A sample's tensor has height and width last; batches have one more dimension before. A *target* is a batch of label
    tensors, an *output* what a network predicts, ``(B, task.channels, H, W)`` of any floating type, a *decision* the
    labels that :meth:`decide` derives from an output.

    A class also has the metrics that follow from :meth:`measure`, of its own or by deriving from another subclass of
    :class:`trainer.kindmetrics.KindMetrics`.

    Args:
        task: the task that the labels belong to.
    """

    # Tensors

    def view(self, array: Tensor) -> Tensor:
        """Return a sample's tensor, which shares memory with ``array``, a tensor in the form of the label array."""
        return array

    def array(self, tensor: Tensor) -> np.ndarray:
        """Return the label array of a sample's tensor: the inverse of :meth:`view`."""
        return tensor.numpy()

    def blank(self, height: int, width: int) -> Tensor:
        """Return a sample's tensor without a label at any pixel."""
        return self.view(torch.from_numpy(self.task.storage.empty(height, width))).contiguous()

    @abstractmethod
    def labelled(self, target: Tensor) -> Tensor:
        """Return a mask of the pixels that have a label: of the target's shape, with one channel if that has any."""

    def augmented(self, tensor: Tensor, zoom: float, mirrored: bool) -> Tensor:
        """Adapt the values of a sample's tensor, already resized and flipped, to an image that was enlarged and
        mirrored. May change it in place."""
        return tensor

    # Networks

    @abstractmethod
    def encoder(self, statistics: tuple[float, float] | None, validity: bool) -> Encoder:
        """Return the module that makes a backbone's input channels from a target.

        Args:
            statistics: mean and standard deviation over the training split, for kinds that have them.
            validity: whether a channel marks where there is a label.
        """

    def checked(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return a user's input array in the form of a label array.

        Raises:
            UserError: when it has another shape or type.
        """
        expected = self.task.storage.empty(1, 1)
        if array.shape[2:] != expected.shape[2:] or array.ndim != expected.ndim or not array.size:
            form = f"(height, width{''.join(f', {size}' for size in expected.shape[2:])})"
            raise UserError(f"has the shape {array.shape}, expected {form}", key=name, hint="convert it")
        if np.issubdtype(expected.dtype, np.integer):
            if array.dtype != expected.dtype:
                hint = "give one byte per number, 0 to 255" if expected.dtype == np.uint8 else "convert it"
                raise UserError(f"is {array.dtype}, not {expected.dtype}", key=name, hint=hint)
            return array
        if not np.issubdtype(array.dtype, np.floating):
            unit = f"in {self.task.unit}" if self.task.unit else "of length 1"
            raise UserError(f"is {array.dtype}, not a floating-point type", key=name, hint=f"give floats {unit}")
        return np.nan_to_num(array.astype(np.float32), nan=0, posinf=0, neginf=0)

    # Losses

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
        """Return the loss of every pixel, 0 where it has no label, with one channel or none.

        Args:
            prediction: the output as float32.
            soft: soft labels (:mod:`trainer.losses`), for kinds that have them.
        """

    # Decisions

    @abstractmethod
    def decide(self, output: Tensor) -> Tensor:
        """Return the labels of an output, as label arrays with a leading batch dimension."""

    def confidence(self, output: Tensor) -> Tensor | None:
        """Return the confidence of each pixel's decision, ``(B, H, W)`` in 0..1; None for kinds that have none."""
        return None

    def mirrored(self, x: Tensor) -> Tensor:
        """Mirror a batch of tensors or outputs from left to right, and their values where these have a direction."""
        return x.flip(-1)

    @abstractmethod
    def mean_of_two(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor | None]:
        """Combine two float32 outputs into one, and measure how far they agree, ``(B, H, W)`` in 0..1: a confidence
        for kinds that have none of their own (else None)."""

    # Metrics

    @abstractmethod
    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        """Return a batch's integers, int64 ``(sums,)``. A pixel without a label adds nothing.

        Args:
            output: the output that the decision was made from, of any height and width, for metrics that rank pixels by
                it; None for stored labels, which have none.
        """

    def restrict(
        self, label: Tensor, truth: Tensor, limits: tuple[float, float] | None, window: tuple[slice, slice] | None
    ) -> tuple[Tensor, Tensor]:
        """Return labels and truth as an evaluation within a range of values and a window measures them; unchanged for
        kinds that are measured on whole frames.

        Args:
            label: ``(..., H, W)``, predicted or a stored pseudo-label.
            truth: ``(..., H, W)``.
            limits: the smallest and largest truth that is measured, in the task's unit.
            window: the rows and columns that are measured.
        """
        return label, truth

    def start(self, statistics: Mapping[str, tuple[float, float]]) -> float | None:
        """Return the first bias of a head's last layer, at which predictions start, or None for a random one."""
        return None
