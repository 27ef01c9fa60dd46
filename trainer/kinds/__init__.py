"""The kinds of labels: a class for each, with everything that training needs to know of its labels.

Losses, metrics, decisions, augmentation and input encoders are methods of a task's
:class:`~trainer.kinds.base.Learning` (:func:`learning`); no other code of this package depends on a task's kind. How
labels are stored: :mod:`shards.kinds`. What metrics are called and how they are computed: :mod:`trainer.kindmetrics`.
"""

from functools import lru_cache

from shards.tasks import Task
from trainer.kindmetrics import kind_of, register
from trainer.kinds.base import Learning
from trainer.kinds.binary import BinaryLearning
from trainer.kinds.classes import ClassLearning
from trainer.kinds.scalar import ScalarLearning
from trainer.kinds.vectors import UnitVectorLearning

__all__ = ["Learning", "learning", "register"]


@lru_cache(maxsize=256)
def learning(task: Task) -> Learning:
    """Return the methods of a task's kind, for its labels.

    Raises:
        UserError: for a kind that can be stored but not learnt.
    """
    kind = kind_of(task)
    assert issubclass(kind, Learning), "an installed kind is one, and those of this package are registered below"
    return kind(task)


for _kind in (ClassLearning, ScalarLearning, UnitVectorLearning, BinaryLearning):
    register(_kind)
