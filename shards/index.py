"""``SHARD.index.json``: where the members of each sample lie in a shard, and their checksums. Nothing in it is trusted.

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

CURE = "copy the shard again, or delete it and run the command that made it once more"


def read_index(manifest: Manifest, shard: ShardInfo, allowed: Collection[str]) -> list[dict[str, Any]]:
    """The samples of a shard's index.

    Args:
        allowed: extensions that members may have.

    Raises:
        UserError: when it is missing, differs from the manifest, names a member that is not allowed, or places one
            outside its sample or shard.
    """
    path = manifest.folder / shard.index_file
    try:
        data = path.read_bytes() if isinstance(path, Path) else manifest.cache.read(manifest.items(shard)[0])
    except FileNotFoundError:
        raise UserError("is missing", file=path, hint=CURE) from None
    if not isinstance(path, Path) and hashlib.sha256(data).hexdigest() != shard.index_sha256:  # the cache's disk
        manifest.cache.discard(manifest.items(shard)[0])
        data = manifest.cache.read(manifest.items(shard)[0])
    if hashlib.sha256(data).hexdigest() != shard.index_sha256:
        raise UserError("differs from the index that the manifest names", file=path, hint=CURE)
    try:
        samples = json.loads(data)["samples"]
        count = len(samples)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise UserError(f"is not an index ({type(error).__name__})", file=path, hint=CURE) from error
    if count != shard.samples or not isinstance(samples, list):
        what = f"lists {count} samples, where the manifest says {shard.samples}"
        raise UserError(what, file=path, hint=CURE)
    keys = set()
    for number, sample in enumerate(samples):
        if not _is_sample(sample):
            raise UserError(f"sample {number} is not an entry of an index", file=path, hint=CURE)
        key = sample["key"]
        strangers = sample["members"].keys() - allowed
        if strangers or not is_key(key):
            what = (
                f"holds a member .{min(strangers)}, which the manifest does not declare"
                if strangers
                else "is not a key"
            )
            raise UserError(what, file=path, key=key, hint="declare it as a task, or prepare the data again")
        if key in keys:
            raise UserError("stands twice", file=path, key=key, hint=CURE)
        keys.add(key)
        offset, length = sample["offset"], sample["length"]
        inside = all(0 <= first <= first + size <= length for first, size, _ in sample["members"].values())
        if not inside or not 0 <= offset <= offset + length <= shard.bytes:
            raise UserError("lies outside its shard", file=path, key=key, hint=CURE)
    return samples


def _is_sample(sample: Any) -> bool:
    if not isinstance(sample, dict) or not isinstance(sample.get("key"), str):
        return False
    members = sample.get("members")
    if not isinstance(members, dict) or not all(isinstance(of, list) and len(of) == 3 for of in members.values()):
        return False
    numbers = [sample.get("offset"), sample.get("length"), *(number for of in members.values() for number in of)]
    return all(type(number) is int for number in numbers)
