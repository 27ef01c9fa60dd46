"""The kinds of labels, each a class that says all there is to say of them where they are learnt.

Losses, metrics, decisions, augmentation and encoders of inputs are methods of a task's
:class:`~trainer.kinds.base.Learning` (:func:`learning`); nothing else in this package asks which kind a task has. At
rest: :mod:`shards.kinds`.
"""

from functools import lru_cache

from shards.tasks import Task
from trainer.kinds.base import Learning, Metric
from trainer.kinds.binary import BinaryLearning
from trainer.kinds.classes import ClassLearning
from trainer.kinds.scalar import ScalarLearning
from trainer.kinds.vectors import UnitVectorLearning

__all__ = ["LEARNING", "METRICS", "Learning", "Metric", "learning", "register"]

LEARNING: dict[str, type[Learning]] = {}
"""By the kind's name in manifests."""
METRICS: dict[str, Metric] = {}
"""The scalar metrics of all kinds by name, those of tables first."""


def register(kind: type[Learning]) -> None:
    """Make a kind known under its name."""
    LEARNING[kind.kind] = kind
    every = sorted(
        (metric for each in LEARNING.values() for metric in each.metrics), key=lambda metric: not metric.shown
    )
    METRICS.clear()
    METRICS.update({metric.name: metric for metric in every})


@lru_cache(maxsize=256)
def learning(task: Task) -> Learning:
    """What its kind says of a task's labels where they are learnt."""
    return LEARNING[task.kind](task)


for _kind in (ClassLearning, ScalarLearning, UnitVectorLearning, BinaryLearning):
    register(_kind)
