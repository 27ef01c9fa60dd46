"""Copy shards from a disk into a store, all or nothing: readers trust only the manifest, which is written last."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shards.errors import UserError
from shards.manifest import NAME
from shards.manifestfile import identity_of, read_remote
from shards.store import Remote

THREADS = 8
"""Threads that copy files; they wait for the network most of the time."""


def publish(folder: Path, to: Remote, files: list[str], hint: str) -> bool:
    """Copy finished shards into a store. Files that an interrupted call copied are copied again.

    Args:
        folder: the shards' folder, with a manifest.
        to: the folder in the store.
        files: names of shards and indexes.
        hint: what to do where the store's folder holds other shards.

    Returns:
        Whether anything was copied.

    Raises:
        UserError: when the folder in the store holds other shards, or cannot be written.
    """
    to.check_writable()
    manifest = read_remote(to / NAME)
    if manifest is not None:
        if identity_of(manifest) != identity_of((folder / NAME).read_bytes()):
            raise UserError("holds other shards", file=to, hint=hint)
        return False
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda name: (to / name).put(folder / name), files))
    (to / NAME).put(folder / NAME)
    return True
