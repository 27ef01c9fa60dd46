"""Checks of the components that :class:`trainer.trainer.Trainer` is given."""

from types import NoneType

from torch.optim import Optimizer

from shards.dataset import ShardDataset
from shards.errors import UserError
from trainer.trainingdata import TrainingData
from trainer.validation import Validation
from trainer.weighting import LossWeighting


def check_components(data: object, val: object, weighting: object, optimizer: object) -> None:
    """Make sure that components are given, not their names or paths.

    Raises:
        UserError: naming the argument.
    """
    for name, value, kinds in (
        ("data", data, (TrainingData,)),
        ("val", val, (ShardDataset, Validation, NoneType)),
        ("weighting", weighting, (LossWeighting, NoneType)),
        ("optimizer", optimizer, (Optimizer, NoneType)),
    ):
        if not isinstance(value, kinds):
            expected = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
            expected = expected.replace("TrainingData", "ShardDataset or TrainingData")
            raise UserError(f"is {value!r}, a {type(value).__name__}", key=name, hint=f"give a {expected}")
