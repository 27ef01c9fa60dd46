"""How the losses of several tasks are weighed against each other.

The losses that arrive here are already normalised over the global batch and multiplied by ``loss.weights``
(:mod:`trainer.losses`). Parameters of a weighting live beside the network's, so that optimizer, engines and checkpoints
see them; an exported network has none of it. Of your own: a class derived from :class:`LossWeighting`, named as
``loss.weighting: my.module:Name``.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from shards.errors import UserError
from shards.owncode import name_of, own_code
from trainer.extension import named

KEY = "loss.weighting"


class LossWeighting(nn.Module, ABC):
    """Weighs the losses of ``count`` tasks, in the order of ``tasks`` in the configuration.

    What changes in training must be a parameter (:class:`torch.nn.Parameter`), which the optimizer moves, or a buffer
    (``self.register_buffer``), which :meth:`observe` changes: checkpoints hold these alone.

    Args:
        count: how many tasks there are.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @abstractmethod
    def forward(self) -> Tensor:
        """What the weights follow from, parameters or buffers, as one tensor. Called inside the network's forward,
        where engines that keep parameters in parts have gathered them."""

    @abstractmethod
    def weigh(self, losses: Tensor, values: Tensor, share: float) -> Tensor:
        """The terms whose sum is minimised, ``(count,)``.

        Args:
            losses: a micro-batch's part of each task's loss, times its ``loss.weights``: those of all micro-batches of
                all ranks add up to the global batch's. A task without a label in the global batch has exactly 0.
            values: what :meth:`forward` gave.
            share: this micro-batch's part of what does not depend on data, 1 / (ranks × accumulation).
        """

    def observe(self, losses: Tensor, epoch: int) -> None:
        """Take note of the global batch's losses ``(count,)``, those that :meth:`weigh` gets, after a step; the same on
        all ranks. A task without a label in the batch has exactly 0, which says nothing of how well it is learnt. What
        is remembered must be a buffer, or a run that continues forgets it."""


class Uncertainty(LossWeighting):
    """Weights from a learnt uncertainty of each task: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty
    to Weigh Losses" (CVPR 2018), eq. 7: L / (2σ²) + log σ, with log σ² as the parameter, for all kinds alike."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.log_variance = nn.Parameter(torch.zeros(count))

    def forward(self) -> Tensor:
        return self.log_variance * 1  # a tensor of its own: the parameter may be freed after the forward

    def weigh(self, losses: Tensor, values: Tensor, share: float) -> Tensor:
        return losses * torch.exp(-values) / 2 + share * values / 2


class DynamicAverage(LossWeighting):
    """Weights from how fast each loss fell over the last two epochs: Liu, Johns and Davison, "End-to-End Multi-Task
    Learning with Attention" (CVPR 2019), eq. 7, with temperature 2."""

    TEMPERATURE = 2.0
    sums: Tensor
    means: Tensor
    epoch: Tensor
    steps: Tensor

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.register_buffer("sums", torch.zeros(count))
        self.register_buffer("means", torch.ones(2, count))  # of the last epoch and of the one before it
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self) -> Tensor:
        last, before = self.means
        return self.count * torch.softmax(last / before.clamp(min=1e-12) / self.TEMPERATURE, 0)

    def weigh(self, losses: Tensor, values: Tensor, share: float) -> Tensor:
        return losses * values

    def observe(self, losses: Tensor, epoch: int) -> None:
        if epoch > self.epoch and self.steps:
            mean = self.sums / self.steps
            first = self.epoch == 0  # there is nothing to compare it with yet
            self.means.copy_(torch.stack([mean, mean if first else self.means[0]]))
            self.sums.zero_()
            self.steps.zero_()
        self.epoch.fill_(epoch)
        self.sums += losses
        self.steps += 1


FIXED = "fixed"
"""What needs no weighting beside ``loss.weights``."""
WEIGHTINGS: dict[str, type[LossWeighting]] = {"uncertainty": Uncertainty, "dwa": DynamicAverage}


def weighting_of(name: str, count: int) -> LossWeighting | None:
    """The weighting that ``loss.weighting`` names; None for ``fixed``.

    Raises:
        UserError: when there is none of that name.
    """
    if name == FIXED:
        return None
    kind = named(name, WEIGHTINGS, LossWeighting, KEY)  # type: ignore[type-abstract]
    with own_code(kind, KEY):
        weighting = kind(count)
    if "_parameters" not in vars(weighting) or "count" not in vars(weighting):
        raise UserError(f"{name} is not initialised", key=KEY, hint="call super().__init__(count) in its __init__")
    return weighting


def values_of(weighting: nn.Module) -> Tensor:
    """What a weighting's forward gives, in the network's.

    Raises:
        UserError: when that is not a tensor.
    """
    with own_code(weighting, KEY):
        values = weighting()
    if not isinstance(values, Tensor):
        what = f"{name_of(weighting)}.forward gives a {type(values).__name__}"
        raise UserError(what, key=KEY, hint="return what the weights follow from as one tensor")
    return values


def weighed(weighting: LossWeighting, losses: Tensor, values: Tensor, share: float) -> Tensor:
    """What :meth:`LossWeighting.weigh` makes of losses ``(T,)``.

    Raises:
        UserError: when that is not ``(T,)``, or follows from no loss.
    """
    with own_code(weighting, KEY):
        found = weighting.weigh(losses, values, share)
    if not isinstance(found, Tensor) or found.shape != losses.shape:
        form = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        what = f"{name_of(weighting)}.weigh gives {form}, where {tuple(losses.shape)} is due"
        raise UserError(what, key=KEY, hint="give one term for each task, in the order of the losses")
    if losses.requires_grad and not found.requires_grad:
        hint = "multiply the losses themselves, not what .detach() or .item() made of them"
        raise UserError(f"{name_of(weighting)}.weigh gives terms without a gradient", key=KEY, hint=hint)
    return found


def forgotten(weighting: LossWeighting) -> dict[str, tuple[int, int | str]]:
    """What stands for the values of its plain attributes, which no checkpoint holds: what differs
    after a call has been changed by it."""
    plain = {name: value for name, value in vars(weighting).items() if not name.startswith("_") and name != "training"}
    return {
        name: (id(value), value._version if isinstance(value, Tensor) else repr(value)[:1000])
        for name, value in plain.items()
    }
