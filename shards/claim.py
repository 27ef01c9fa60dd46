"""A folder belongs to one job, so that an interrupted job continues and no other is ever mixed into it.

The job's note ``.job.json`` comes before the first shard and stays beside the manifest, which comes last.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.atomic import disk_errors, read_json, sweep, write_json
from shards.errors import UserError
from shards.manifest import NAME, Manifest, index_name, same_json

JOB = ".job.json"
_CURE = "give another folder, or delete this one"


def claim(out: Path, job: Mapping[str, Any], files: Mapping[str, str] | None = None) -> Manifest | None:
    """Make a folder a job's own; of an unfinished job, forget the shards whose raw files have changed.

    Args:
        out: the folder; made if need be.
        job: the options that the result follows from, as JSON values; also the ``source`` of the job's manifest.
        files: by shard, a hash of its raw files' sizes and times. It is kept in the note and not in the manifest, since
            the same files have other times on another machine; without a note, the files pass for unchanged.

    Returns:
        The manifest, when the job is finished and every shard is there; None when there is something to do.

    Raises:
        UserError: when the folder holds something else, is a file, or cannot be written.
    """
    try:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError("is a file", file=out, hint="give a folder") from None
    note = {"job": job, "files": files or {}}
    held = read_json(out / JOB, _CURE) if (out / JOB).exists() else None
    changed = [shard for shard, of in held["files"].items() if of != note["files"].get(shard)] if held else []
    if (out / NAME).exists():
        manifest = Manifest.load(out)
        _compare(out, "a data set", manifest.source, job)
        if changed:
            raise UserError("the raw files have changed since they were prepared", file=out, key="files", hint=_CURE)
        if manifest.complete():
            return manifest
    elif held:
        _compare(out, "an unfinished data set", held["job"], job)
        for shard in changed:
            (out / index_name(shard)).unlink(missing_ok=True)
    elif any(not entry.name.startswith(".") for entry in out.iterdir()):  # hidden: leftovers, a file system's own
        raise UserError("is not empty", file=out, hint=_CURE)
    sweep(out)
    if not same_json(held, note):
        write_json(out / JOB, note)
    return None


def _compare(out: Path, what: str, held: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Refuse a folder of another job, naming the options that differ."""
    differing = [key for key in {**job, **held} if not same_json(held.get(key), job.get(key))]
    if differing:
        raise UserError(f"holds {what} of other options", file=out, key=", ".join(differing), hint=_CURE)
