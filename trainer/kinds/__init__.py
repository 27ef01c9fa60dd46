"""The kinds of labels, each a class that says all there is to say of them where they are learnt.

Losses, metrics, decisions, augmentation and encoders of inputs are methods of a task's
:class:`~trainer.kinds.base.Learning` (:func:`learning`); nothing else in this package asks which kind a task has. At
rest: :mod:`shards.kinds`.
"""

from functools import lru_cache
from importlib.metadata import entry_points

from shards.errors import UserError
from shards.tasks import Task
from trainer.kinds.base import Learning
from trainer.kinds.binary import BinaryLearning
from trainer.kinds.classes import ClassLearning
from trainer.kinds.scalar import ScalarLearning
from trainer.kinds.vectors import UnitVectorLearning

__all__ = ["Learning", "learning", "register"]

GROUP = "tutelage.learning"
"""The entry points by which an installed package offers kinds of its own: their names are the kinds'."""
_LEARNING: dict[str, type[Learning]] = {}


def register(kind: type[Learning]) -> None:
    """Make a kind known under its name, in this process."""
    _LEARNING[kind.kind] = kind


@lru_cache(maxsize=256)
def learning(task: Task) -> Learning:
    """What its kind says of a task's labels where they are learnt.

    Raises:
        UserError: for a kind that is stored, and not learnt.
    """
    for entry in entry_points(group=GROUP, name=task.kind) if task.kind not in _LEARNING else ():
        register(entry.load())
    if task.kind not in _LEARNING:
        hint = f"install what offers it as an entry point of {GROUP}, or register it"
        raise UserError(f"kind {task.kind} cannot be learnt", key=task.name, hint=hint)
    return _LEARNING[task.kind](task)


for _kind in (ClassLearning, ScalarLearning, UnitVectorLearning, BinaryLearning):
    register(_kind)
