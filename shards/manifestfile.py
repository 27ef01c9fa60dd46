"""The bytes of a ``MANIFEST.json``: read from a store, and the hash by which a run knows its data."""

import hashlib
import json

from shards.faults import Damaged
from shards.store import Missing, Remote


def read_remote(path: Remote) -> bytes | None:
    """Return the bytes of a manifest in a store; None where there is none.

    Raises:
        UserError: when it cannot be read, or the server answers with anything else, such as a page for people.
    """
    try:
        return path.read_bytes(_check)
    except Missing:
        return None


def _check(data: bytes) -> None:
    """Raise :class:`shards.faults.Damaged` for what is not JSON."""
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        start = data[:40].decode(errors="replace")
        if data.lstrip()[:1] == b"{":
            raise Damaged(f"the manifest arrives truncated or damaged, {len(data)} bytes of it") from None
        message = f"the server answers with something other than a manifest: {start!r}"
        raise Damaged(message, hint="correct the URL, or give the credentials that this store needs") from None


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
