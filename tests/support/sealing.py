"""Data sets that were changed on purpose, with a manifest that agrees: otherwise hashes alone would find any change."""

import json
from pathlib import Path

from shards.manifest import NAME
from shards.write import sha256_of


def seal(folder: Path) -> None:
    """Update the manifest's sizes and hashes to the files' current content."""
    entry = json.loads((folder / NAME).read_text())
    for shard in [shard for shards in entry["splits"].values() for shard in shards]:
        tar = folder / shard["file"]
        index = tar.with_suffix(".index.json")
        shard.update(bytes=tar.stat().st_size, sha256=sha256_of(tar), index_sha256=sha256_of(index))
    (folder / NAME).write_text(json.dumps(entry))
