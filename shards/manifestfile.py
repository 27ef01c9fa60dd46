"""The bytes of a ``MANIFEST.json``: the hash by which a run knows its data."""

import hashlib
import json

from shards.errors import UserError
from shards.store import Missing, Remote


def read_remote(path: Remote, hint: str) -> bytes:
    """Read a manifest in a store.

    Raises:
        UserError: when there is none, with the hint, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except Missing:
        raise UserError("does not exist", file=path, hint=hint) from None


def identity_of(data: bytes) -> str:
    """Return the hash of what a manifest says of its data. For frames it is that of the file. For labels it leaves out
    what is recorded about their teacher, such as the paths in its configuration, so that the same labels, made again
    elsewhere, are the same; their shards are named by their hashes.

    Args:
        data: the bytes of a manifest; or of anything else, of which the hash is returned.
    """
    try:
        entry = json.loads(data)
        if entry["kind"] == "labels":
            source = {key: value for key, value in entry["source"].items() if key != "teacher"}
            data = json.dumps(entry | {"source": source}, sort_keys=True).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass
    return hashlib.sha256(data).hexdigest()
