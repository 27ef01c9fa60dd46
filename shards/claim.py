"""A folder belongs to one job, so that an interrupted job continues and no other is ever mixed into it.

Whose it is, a :class:`Note` in it says: what the job's result follows from. It is written before anything else, and a
job goes on where nothing in it is :func:`differing`. So it is with data sets (:func:`claim`, whose note ``.job.json``
stays beside the manifest, which comes last), and likewise with runs, labels and predictions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.atomic import disk_errors, read_json, sweep, write_json
from shards.errors import UserError
from shards.manifest import NAME, Manifest, index_name, same_json

JOB = ".job.json"
CODE = "source_sha256"
"""In a job: the hash of the file that a source of one's own is written in. A finished data set stays the job's when it
changes (:func:`edited`); of an unfinished one every shard is made again."""
_CURE = "give another folder, or delete this one"


@dataclass(frozen=True)
class Note:
    """The file in a folder that says whose the folder is.

    Args:
        path: of the file.
        cure: what to do where it is damaged.
    """

    path: Path
    cure: str

    def read(self) -> dict[str, Any] | None:
        """What it says; None where there is none.

        Raises:
            UserError: when it is damaged.
        """
        return read_json(self.path, self.cure) if self.path.exists() else None

    def write(self, content: Mapping[str, Any]) -> None:
        """Have it say this, whole or not at all."""
        write_json(self.path, content)


def differing(held: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What differs between what a folder was begun with and what it is wanted for, by name. A value that one of them
    does not have is as good as None."""
    return [key for key in {**wanted, **held} if not same_json(held.get(key), wanted.get(key))]


def occupied(out: Path) -> bool:
    """Whether something is there: a file, or a folder with anything but hidden files, which are leftovers and a file
    system's own."""
    return out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir()))


def edited(held: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Whether a source's file is another one now; not where that was not written down."""
    return None not in (held.get(CODE), job.get(CODE)) and held[CODE] != job[CODE]


def claim(out: Path, job: Mapping[str, Any], files: Mapping[str, str] | None = None) -> Manifest | None:
    """Make a folder a job's own; of an unfinished job, forget the shards whose raw files have changed, or
    all of them where the source's file has.

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
    note, content = Note(out / JOB, _CURE), {"job": job, "files": files or {}}
    held = note.read()
    changed = [shard for shard, of in held["files"].items() if of != content["files"].get(shard)] if held else []
    if (out / NAME).exists():
        manifest = Manifest.load(out)
        _compare(out, "a data set", manifest.source, job)
        if changed:
            raise UserError("the raw files have changed since they were prepared", file=out, key="files", hint=_CURE)
        if manifest.complete():
            return manifest
    elif held:
        _compare(out, "an unfinished data set", held["job"], job)
        lost = out.glob(index_name("*")) if edited(held["job"], job) else [out / index_name(each) for each in changed]
        for index in lost:
            index.unlink(missing_ok=True)
    elif occupied(out):
        raise UserError("is not empty", file=out, hint=_CURE)
    sweep(out)
    if not same_json(held, content):
        note.write(content)
    return None


def _compare(out: Path, what: str, held: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Refuse a folder of another job, naming the options that differ."""
    if keys := [key for key in differing(held, job) if key != CODE]:
        raise UserError(f"holds {what} of other options", file=out, key=", ".join(keys), hint=_CURE)
