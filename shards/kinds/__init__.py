"""The kinds of labels, each a class that says all there is to say of them at rest.

A task's kind decides how its labels are stored, checked, described and drawn. Nothing else in this package asks which
kind a task has: it asks the task's :class:`~shards.kinds.base.Storage` (:attr:`shards.tasks.Task.storage`).
"""

from importlib.metadata import entry_points

from shards.kinds.base import Metric, Storage
from shards.kinds.binary import BinaryStorage
from shards.kinds.classes import ClassStorage
from shards.kinds.scalar import ScalarStorage
from shards.kinds.vectors import UnitVectorStorage

__all__ = ["FORMER", "Metric", "Storage", "kinds", "known", "metrics", "register", "smaller_is_better", "storage_of"]

GROUP = "tutelage.storage"
"""The entry points by which an installed package offers kinds of its own: their names are the kinds'. A manifest names
no code, so reading data imports nothing that is not installed for that."""
_STORAGES: dict[str, type[Storage]] = {}
FORMER = {"metric": "scalar"}
"""What kinds were called before 0.2, in manifests and exported networks of that time."""


def register(storage: type[Storage]) -> None:
    """Make a kind known under its name, in this process."""
    _STORAGES[storage.kind] = storage


def storage_of(kind: str) -> type[Storage] | None:
    """The class of a kind by its name, registered or of an installed package; None where there is none."""
    if kind not in _STORAGES:
        for entry in entry_points(group=GROUP, name=kind):
            register(entry.load())
    return _STORAGES.get(kind)


def kinds() -> list[type[Storage]]:
    """All kinds, those of installed packages last."""
    for entry in entry_points(group=GROUP):
        storage_of(entry.name)
    return [*_STORAGES.values()]


def known() -> list[str]:
    """The names of all kinds."""
    return [kind.kind for kind in kinds()]


def metrics() -> list[Metric]:
    """The scalar metrics of all kinds, those of tables first."""
    return sorted((metric for kind in kinds() for metric in kind.metrics), key=lambda metric: not metric.shown)


def smaller_is_better(name: str) -> bool:
    """The direction of a metric."""
    return any(metric.name == name and metric.smaller_is_better for metric in metrics())


for _storage in (ClassStorage, ScalarStorage, UnitVectorStorage, BinaryStorage):
    register(_storage)
