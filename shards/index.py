"""Read ``SHARD.index.json``: where the members of each sample lie in a shard, and their checksums. It is not trusted.

{"samples": [{"key": "0001", "offset": 0, "length": 4096, "members": {"rgb.jpg": [512, 1800, CRC32], ...}}, ...]}
"""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from shards.codec import is_key
from shards.errors import UserError
from shards.manifest import Manifest, ShardInfo

HINT = "copy the shard again, or delete it and run the command that made it once more"


def read_index(manifest: Manifest, shard: ShardInfo, allowed: Collection[str]) -> list[dict[str, Any]]:
    """Return the samples of a shard's index.

    Args:
        manifest: manifest of the data set.
        shard: the shard's entry in it.
        allowed: extensions that members may have.

    Raises:
        UserError: when the index is missing, differs from the manifest, names a member that is not allowed, or places a
            member outside its sample or shard.
    """
    path = manifest.folder / shard.index_file
    try:
        data = path.read_bytes() if isinstance(path, Path) else manifest.cache.read(manifest.items(shard)[0])
    except FileNotFoundError:
        raise UserError("is missing", file=path, hint=HINT) from None
    if not isinstance(path, Path) and hashlib.sha256(data).hexdigest() != shard.index_sha256:
        # the copy on the cache's disk is damaged: fetch it again
        manifest.cache.discard(manifest.items(shard)[0])
        data = manifest.cache.read(manifest.items(shard)[0])
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        raise UserError("differs from the index that the manifest names", file=path, hint=HINT)
    try:
        samples = json.loads(data)["samples"]
        count = len(samples)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"is not an index ({type(error).__name__})", file=path, hint=HINT) from error
    if count != shard.samples or not isinstance(samples, list):
        message = f"lists {count} samples, where the manifest says {shard.samples}"
        raise UserError(message, file=path, hint=HINT)
    keys = set()
    for number, sample in enumerate(samples):
        if not _is_sample(sample):
            raise UserError(f"sample {number} is not an entry of an index", file=path, hint=HINT)
        key = sample["key"]
        undeclared = sample["members"].keys() - allowed
        if undeclared or not is_key(key):
            message = (
                f"holds a member .{min(undeclared)}, which the manifest does not declare"
                if undeclared
                else "is not a key"
            )
            raise UserError(message, file=path, key=key, hint="declare it as a task, or prepare the data again")
        if key in keys:
            raise UserError("occurs twice", file=path, key=key, hint=HINT)
        keys.add(key)
        offset, length = sample["offset"], sample["length"]
        in_sample = all(0 <= start <= start + size <= length for start, size, _ in sample["members"].values())
        if not in_sample or not 0 <= offset <= offset + length <= shard.bytes:
            raise UserError("lies outside its shard", file=path, key=key, hint=HINT)
    return samples


def _is_sample(sample: Any) -> bool:
    """Whether an entry of an index has the fields of a sample, with values of the right types."""
    if not isinstance(sample, dict) or not isinstance(sample.get("key"), str):
        return False
    members = sample.get("members")
    if not isinstance(members, dict):
        return False
    if not all(isinstance(span, list) and len(span) == 3 for span in members.values()):
        return False
    numbers = [sample.get("offset"), sample.get("length"), *(number for span in members.values() for number in span)]
    return all(type(number) is int for number in numbers)
