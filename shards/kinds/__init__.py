"""The kinds of labels, each a class that says all there is to say of them at rest.

A task's kind decides how its labels are stored, checked, described and drawn. Nothing else in this package asks which
kind a task has: it asks the task's :class:`~shards.kinds.base.Storage` (:attr:`shards.tasks.Task.storage`).
"""

from shards.kinds.base import Storage
from shards.kinds.binary import BinaryStorage
from shards.kinds.classes import ClassStorage
from shards.kinds.scalar import ScalarStorage
from shards.kinds.vectors import UnitVectorStorage

__all__ = ["STORAGES", "Storage", "register"]

STORAGES: dict[str, type[Storage]] = {}
"""By the kind's name in manifests."""


def register(storage: type[Storage]) -> None:
    """Make a kind known under its name."""
    STORAGES[storage.kind] = storage


for _storage in (ClassStorage, ScalarStorage, UnitVectorStorage, BinaryStorage):
    register(_storage)
