"""The kinds of labels, each a class with everything that concerns stored labels.

A task's kind decides how its labels are stored, checked, described and drawn. No other code in this package depends on
the kind of a task: it uses the task's :class:`~shards.kinds.base.Storage` (:attr:`shards.tasks.Task.storage`).
"""

from importlib.metadata import entry_points

from shards.kinds.base import Storage
from shards.kinds.binary import BinaryStorage
from shards.kinds.classes import ClassStorage
from shards.kinds.scalar import ScalarStorage
from shards.kinds.vectors import UnitVectorStorage

__all__ = [
    "FORMER",
    "Storage",
    "kind_names",
    "kinds",
    "register",
    "storage_of",
]

GROUP = "tutelage.storage"
"""The group of entry points by which installed packages provide kinds; an entry point has its kind's name. A manifest
names no code, so reading data imports only packages that were installed to provide kinds."""
_STORAGES: dict[str, type[Storage]] = {}
FORMER = {"metric": "scalar"}
"""Names of kinds before version 0.2, in manifests and exported networks of that time, and their present names."""


def register(storage: type[Storage]) -> None:
    """Register a kind under its name, in this process."""
    _STORAGES[storage.kind] = storage


def storage_of(kind: str) -> type[Storage] | None:
    """Return the class of a kind by its name, registered or of an installed package; None where there is none."""
    if kind not in _STORAGES:
        for entry in entry_points(group=GROUP, name=kind):
            register(entry.load())
    return _STORAGES.get(kind)


def kinds() -> list[type[Storage]]:
    """Return all kinds, those of installed packages last."""
    for entry in entry_points(group=GROUP):
        storage_of(entry.name)
    return [*_STORAGES.values()]


def kind_names() -> list[str]:
    """Return the names of all kinds."""
    return [kind.kind for kind in kinds()]


for _storage in (ClassStorage, ScalarStorage, UnitVectorStorage, BinaryStorage):
    register(_storage)
