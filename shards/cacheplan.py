"""Plans of the processes that share a cache: what each will need, soonest first, and the cache size that it asked for.

A plan is a file ``.NAME.plan`` in the cache's folder, whose lock its process holds; so the plan of a process that has
ended is recognised and removed. Plans are read and written under the folder's lock (:mod:`shards.cache`).
"""

import json
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shards.atomic import disk_errors
from shards.flock import acquire, release

if TYPE_CHECKING:
    from shards.cache import Cache, Item


class FetchPlan:
    """What this process needs of a cache, soonest first; read by the processes that evict files."""

    def __init__(self, cache: "Cache") -> None:
        self.cache = cache
        self._path = cache.folder / f".{os.getpid()}-{secrets.token_hex(4)}.plan"
        self._file: FileIO | None = None

    def write(self, items: Sequence[tuple["Item", int]]) -> None:
        """Replace the plan.

        Args:
            items: each with the number of bytes that are needed before it.
        """
        with disk_errors(self.cache.folder):
            self.cache._make_folder()
            with self.cache._folder_lock():  # readers of plans hold it too
                if self._file is None:
                    self._file = self._path.open("wb", buffering=0)
                    acquire(self._file.fileno())
                self._file.seek(0)
                self._file.truncate()
                places = [[item.sha256, place] for item, place in items]
                self._file.write(json.dumps({"limit": self.cache.limit, "places": places}).encode())

    def close(self) -> None:
        """Withdraw the plan."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            release(self._file.fileno())
            self._file.close()
            self._file = None


class Plans(NamedTuple):
    """The plans of all live processes.

    Args:
        places: by the hash of a file, its place in the plan that needs it soonest, in bytes that are needed before it.
        limit: the largest cache size that one of them asked for, in bytes; 0 without any plan.
    """

    places: dict[str, int]
    limit: int


NO_PLANS = Plans({}, 0)


def read_plans(folder: Path) -> Plans:
    """Return the plans in a cache's folder. Removes those of dead processes; the folder's lock has to be held."""
    places: dict[str, int] = {}
    limit = 0
    for path in folder.glob(".*.plan"):
        with suppress(FileNotFoundError, ValueError, TypeError), path.open("r+b") as file:
            if acquire(file.fileno(), wait=False):
                path.unlink(missing_ok=True)
                continue
            plan = json.load(file)
            for name, place in plan["places"]:
                places[name] = min(place, places.get(name, place))
            limit = max(limit, plan["limit"])
    return Plans(places, limit)
