"""The kinds of labels, each a class that says all there is to say of them at rest.

A task's kind decides how its labels are stored, checked, described and drawn. Nothing else in this package asks which
kind a task has: it asks the task's :class:`~shards.kinds.base.Storage` (:attr:`shards.tasks.Task.storage`).
"""

from importlib.metadata import entry_points

from shards.kinds.base import Storage
from shards.kinds.binary import BinaryStorage
from shards.kinds.classes import ClassStorage
from shards.kinds.scalar import ScalarStorage
from shards.kinds.vectors import UnitVectorStorage

__all__ = ["Storage", "known", "register", "storage_of"]

GROUP = "tutelage.storage"
"""The entry points by which an installed package offers kinds of its own: their names are the kinds'. A manifest names
no code, so reading data imports nothing that is not installed for that."""
_STORAGES: dict[str, type[Storage]] = {}


def register(storage: type[Storage]) -> None:
    """Make a kind known under its name, in this process."""
    _STORAGES[storage.kind] = storage


def storage_of(kind: str) -> type[Storage] | None:
    """The class of a kind by its name, registered or of an installed package; None where there is none."""
    if kind not in _STORAGES:
        for entry in entry_points(group=GROUP, name=kind):
            register(entry.load())
    return _STORAGES.get(kind)


def known() -> list[str]:
    """The names of all kinds."""
    return [*_STORAGES, *(entry.name for entry in entry_points(group=GROUP) if entry.name not in _STORAGES)]


for _storage in (ClassStorage, ScalarStorage, UnitVectorStorage, BinaryStorage):
    register(_storage)
