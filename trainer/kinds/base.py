"""What a kind has to say of labels that are learnt: as tensors, in losses, in decisions, in metrics."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from shards.errors import UserError
from shards.tasks import Task
from trainer.model.encoders import Encoder


class Learning(ABC):
    """Labels of one task as a network learns them, in torch.

    A sample's tensor has height and width last; batches have one more dimension before. A *target* is a batch of them,
    an *output* what a network says, ``(B, task.channels, H, W)`` of any floating type, a *decision* the labels that
    :meth:`decide` makes of it.

    Args:
        task: whose labels they are.

    Attributes:
        kind: the name in manifests.
        ranked: whether a metric needs the outputs that decisions were made of, to rank pixels by.
    """

    kind: ClassVar[str]
    ranked: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self.task = task

    # Tensors

    def view(self, array: Tensor) -> Tensor:
        """A sample's tensor, sharing memory with a tensor in the form of the label array."""
        return array

    def array(self, tensor: Tensor) -> np.ndarray:
        """The label array of a sample's tensor: the inverse of :meth:`view`."""
        return tensor.numpy()

    def blank(self, height: int, width: int) -> Tensor:
        """A sample's tensor without a label."""
        return self.view(torch.from_numpy(self.task.storage.empty(height, width))).contiguous()

    @abstractmethod
    def labelled(self, target: Tensor) -> Tensor:
        """Which pixels have a label: a mask of the target's shape, with one channel if it has any."""

    def augmented(self, tensor: Tensor, zoom: float, mirrored: bool) -> Tensor:
        """A sample's tensor, already resized and flipped, as it is in an image that was enlarged and mirrored. May
        change it in place."""
        return tensor

    # Networks

    @abstractmethod
    def encoder(self, statistics: tuple[float, float] | None, validity: bool) -> Encoder:
        """What makes channels for a backbone of a target.

        Args:
            statistics: mean and standard deviation over the training split, of kinds that have them.
            validity: whether a channel says where there is a label.
        """

    def checked(self, name: str, array: np.ndarray) -> np.ndarray:
        """A user's input array in the form of a label array.

        Raises:
            UserError: when it has another shape or type.
        """
        due = self.task.storage.empty(1, 1)
        if array.shape[2:] != due.shape[2:] or array.ndim != due.ndim or not array.size:
            form = f"(height, width{''.join(f', {size}' for size in due.shape[2:])})"
            raise UserError(f"has the shape {array.shape}, where {form} is due", key=name, hint="convert it")
        if np.issubdtype(due.dtype, np.integer):
            if array.dtype != due.dtype:
                hint = "give one byte a number, 0 to 255" if due.dtype == np.uint8 else "convert it"
                raise UserError(f"is {array.dtype}, not {due.dtype}", key=name, hint=hint)
            return array
        if not np.issubdtype(array.dtype, np.floating):
            unit = f"in {self.task.unit}" if self.task.unit else "of length 1"
            raise UserError(f"is {array.dtype}, no floating-point number", key=name, hint=f"give floats {unit}")
        return np.nan_to_num(array.astype(np.float32), nan=0, posinf=0, neginf=0)

    # Losses

    @abstractmethod
    def loss(self, prediction: Tensor, target: Tensor, soft: Tensor | None = None) -> Tensor:
        """The loss of every pixel, 0 where it has no label, with one channel or none.

        Args:
            prediction: the output as float32.
            soft: soft labels (:mod:`trainer.losses`), of kinds that have them.
        """

    # Decisions

    @abstractmethod
    def decide(self, output: Tensor) -> Tensor:
        """The labels of an output, as label arrays with a batch before them."""

    def confidence(self, output: Tensor) -> Tensor | None:
        """How sure the output is of each pixel's decision, ``(B, H, W)`` in 0..1, where the kind has such a number."""
        return None

    def mirrored(self, x: Tensor) -> Tensor:
        """A batch of tensors or outputs as a mirror shows it."""
        return x.flip(-1)

    @abstractmethod
    def mean_of_two(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor | None]:
        """What two float32 outputs say together, in the form of an output, and how far they agree, ``(B, H, W)`` in
        0..1: a confidence for kinds that have none of their own (else None)."""

    # Metrics: sums over pixels that are integers, so that they add up to the same whatever the order

    @property
    @abstractmethod
    def sums(self) -> int:
        """How many integers measure a batch."""

    @abstractmethod
    def measure(self, decision: Tensor, target: Tensor, output: Tensor | None = None) -> Tensor:
        """A batch's integers, int64 ``(sums,)``. A pixel without a label adds nothing.

        Args:
            output: what the decision was made of, at the target's size, where :attr:`ranked` asks for it and there is
                one (of stored labels there is none).
        """

    @abstractmethod
    def report(self, sums: list[int]) -> dict[str, Any]:
        """The metrics of added-up integers as JSON values; None where no pixel (or class) says anything. Beside those
        of the metrics that its storage lists: ``pixels``, how many had a label."""

    def start(self, statistics: Mapping[str, tuple[float, float]]) -> float | None:
        """Where predictions start: the bias of a head's last layer, or None for a random one."""
        return None
