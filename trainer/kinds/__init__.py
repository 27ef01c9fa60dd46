"""The kinds of labels: a class for each, with everything that training needs to know of its labels.

Losses, metrics, decisions, augmentation and input encoders are methods of a task's
:class:`~trainer.kinds.base.Learning` (:func:`learning`); no other code of this package depends on a task's kind. How
labels are stored: :mod:`shards.kinds`.
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
"""The entry point group in which an installed package offers kinds of its own, by the kind's name."""
_LEARNING: dict[str, type[Learning]] = {}


def register(kind: type[Learning]) -> None:
    """Register a kind under its name, for this process."""
    _LEARNING[kind.kind] = kind


@lru_cache(maxsize=256)
def learning(task: Task) -> Learning:
    """Return the methods of a task's kind, for its labels.

    Raises:
        UserError: for a kind that can be stored but not learnt.
    """
    for entry in entry_points(group=GROUP, name=task.kind) if task.kind not in _LEARNING else ():
        register(entry.load())
    if task.kind not in _LEARNING:
        hint = f"install a package that offers it as an entry point of {GROUP}, or register it"
        raise UserError(f"kind {task.kind} cannot be learnt", key=task.name, hint=hint)
    return _LEARNING[task.kind](task)


for _kind in (ClassLearning, ScalarLearning, UnitVectorLearning, BinaryLearning):
    register(_kind)
