"""Weighting of the losses of several tasks.

The losses that a weighting receives are already normalised over the global batch and multiplied by ``loss.weights``
(:mod:`trainer.losses`). Its parameters belong to the network, so that optimizer, engines and checkpoints include them;
they are not exported. To define your own, derive a class from :class:`LossWeighting`, and set ``loss.weighting`` to
``my.module:Name``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from shards.errors import UserError
from shards.owncode import name_of, own_code
from trainer.extension import find_class

KEY = "weighting"


class LossWeighting(nn.Module, ABC):
    """Weights the losses of ``count`` tasks, in the order of ``tasks`` in the configuration.

    State that changes during training must be a parameter (:class:`torch.nn.Parameter`), which the optimizer updates,
    or a buffer (``self.register_buffer``), which :meth:`observe` updates: checkpoints contain nothing else.

    Args:
        count: number of tasks.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @abstractmethod
    def forward(self) -> Tensor:
        """Return what the weights follow from, parameters or buffers, as one tensor. Called within the network's
        forward, where engines that shard parameters have gathered them."""

    @abstractmethod
    def weigh(self, losses: Tensor, values: Tensor, share: Tensor) -> Tensor:
        """Return the terms whose sum is minimised, ``(count,)``.

        Args:
            losses: a micro-batch's part of each task's loss, multiplied by ``loss.weights``: the parts of all
                micro-batches on all ranks add up to the loss of the global batch. A task without a label in the global
                batch has exactly 0.
            values: the return value of :meth:`forward`.
            share: this micro-batch's share of terms that do not depend on data, ``(count,)``: 1 / (ranks ×
                accumulation), and 0 for a task without a label in the global batch, or with weight 0.
        """

    def observe(self, losses: Tensor, epoch: int) -> None:
        """Observe the global batch's losses ``(count,)``, those that :meth:`weigh` receives, after a step; the same on
        all ranks. A task without a label in the batch has exactly 0, which does not indicate how well it is learnt.
        State must be kept in buffers, or it is lost when a run continues."""


def without_weighting(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a network that are exported: all but those of its loss weighting."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith("weighting.")}


class Uncertainty(LossWeighting):
    """Weights from a learnt uncertainty of each task: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty
    to Weigh Losses" (CVPR 2018), eq. 7: L / (2σ²) + log σ, with log σ² as the parameter, for all kinds alike. Neither
    term counts where the global batch has no label of the task, or its weight is 0."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.log_variance = nn.Parameter(torch.zeros(count))

    def forward(self) -> Tensor:
        return self.log_variance * 1  # a new tensor, since the parameter may be freed after the forward

    def weigh(self, losses: Tensor, values: Tensor, share: Tensor) -> Tensor:
        return losses * torch.exp(-values) / 2 + share * values / 2


class DynamicAverage(LossWeighting):
    """Weights from how fast each loss fell over the last two epochs: Liu, Johns and Davison, "End-to-End Multi-Task
    Learning with Attention" (CVPR 2019), eq. 7, with temperature 2. Means are over the steps whose batch has a label of
    the task; without any in an epoch, the last mean stays, and the first one is compared with itself."""

    TEMPERATURE = 2.0
    sums: Tensor
    means: Tensor
    epoch: Tensor
    steps: Tensor

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.register_buffer("sums", torch.zeros(count))
        self.register_buffer("means", torch.zeros(2, count))  # of the last epoch and of the one before it; 0 for none
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros(count, dtype=torch.int64))  # with a label of each task

    def forward(self) -> Tensor:
        last, before = self.means
        ratio = torch.where(before > 0, last / before.clamp(min=1e-12), 1)
        return self.count * torch.softmax(ratio / self.TEMPERATURE, 0)

    def weigh(self, losses: Tensor, values: Tensor, share: Tensor) -> Tensor:
        return losses * values

    def observe(self, losses: Tensor, epoch: int) -> None:
        if epoch > self.epoch and self.steps.any():
            mean = torch.where(self.steps > 0, self.sums / self.steps.clamp(min=1), self.means[0])
            first = (self.means[0] == 0) | (self.epoch == 0)  # there is nothing to compare it with yet
            self.means.copy_(torch.stack([mean, torch.where(first, mean, self.means[0])]))
            self.sums.zero_()
            self.steps.zero_()
        self.epoch.fill_(epoch)
        self.sums += losses
        self.steps += losses != 0


FIXED = "fixed"
"""Value of ``loss.weighting`` for ``loss.weights`` alone."""
WEIGHTINGS: dict[str, type[LossWeighting]] = {"uncertainty": Uncertainty, "dwa": DynamicAverage}


def weighting_of(name: str, count: int) -> LossWeighting | None:
    """Create the weighting that ``loss.weighting`` names; None for ``fixed``.

    Raises:
        UserError: when there is none of this name, or it cannot be created.
    """
    if name == FIXED:
        return None
    kind = find_class(name, WEIGHTINGS, LossWeighting, KEY)  # type: ignore[type-abstract]
    with own_code(kind, KEY):
        weighting = kind(count)
    if "_parameters" not in vars(weighting) or "count" not in vars(weighting):
        raise UserError(f"{name} is not initialised", key=KEY, hint="call super().__init__(count) in its __init__")
    return weighting


def values_of(weighting: nn.Module) -> Tensor:
    """Call a weighting's forward, within the network's, and return its values.

    Raises:
        UserError: when it does not return a tensor.
    """
    with own_code(weighting, KEY):
        values = weighting()
    if not isinstance(values, Tensor):
        message = f"{name_of(weighting)}.forward gives a {type(values).__name__}"
        raise UserError(message, key=KEY, hint="return what the weights follow from as one tensor")
    return values


def apply_weighting(weighting: LossWeighting, losses: Tensor, values: Tensor, share: Tensor) -> Tensor:
    """Call :meth:`LossWeighting.weigh` on losses ``(T,)``, and check its result.

    Raises:
        UserError: when the result is not ``(T,)``, or does not depend on the losses.
    """
    with own_code(weighting, KEY):
        terms = weighting.weigh(losses, values, share)
    if not isinstance(terms, Tensor) or terms.shape != losses.shape:
        form = f"a tensor of shape {tuple(terms.shape)}" if isinstance(terms, Tensor) else f"a {type(terms).__name__}"
        message = f"{name_of(weighting)}.weigh gives {form}, expected {tuple(losses.shape)}"
        raise UserError(message, key=KEY, hint="give one term for each task, in the order of the losses")
    if losses.requires_grad and not terms.requires_grad:
        hint = "multiply the losses themselves, not what .detach() or .item() made of them"
        raise UserError(f"{name_of(weighting)}.weigh gives terms without a gradient", key=KEY, hint=hint)
    return terms


def unsaved_state(weighting: LossWeighting) -> dict[str, tuple[int, int | str]]:
    """Return fingerprints of a weighting's plain attributes, which no checkpoint contains: an attribute whose
    fingerprint differs after a call was changed by it."""
    plain = {name: value for name, value in vars(weighting).items() if not name.startswith("_") and name != "training"}
    return {
        name: (id(value), value._version if isinstance(value, Tensor) else repr(value)[:1000])
        for name, value in plain.items()
    }
