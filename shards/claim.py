"""Claim a folder for one job, so that an interrupted job continues and no other job is ever mixed into it.

A :class:`Note` in the folder records the options that the job's result follows from. It is written before anything
else, and a job continues where :func:`differing_keys` finds none. This holds for data sets (:func:`claim`, whose note
``.job.json`` stays next to the manifest, which is written last), and likewise for runs, labels and predictions.
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
"""Key in a job of the hash of the file that defines a user's own source. When it changes (:func:`source_edited`), a
finished data set still belongs to the job unless shards are missing, and of an unfinished one every shard is made
again."""
_HINT = "give another folder, or delete this one"


@dataclass(frozen=True)
class Note:
    """The JSON file in a folder that records which job the folder belongs to.

    Args:
        path: path of the file.
        hint: what the user should do when it is damaged.
    """

    path: Path
    hint: str

    def read(self) -> dict[str, Any] | None:
        """Return the content; None where there is no file.

        Raises:
            UserError: when the file is damaged.
        """
        return read_json(self.path, self.hint) if self.path.exists() else None

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace the content atomically."""
        write_json(self.path, content)


def differing_keys(stored: Mapping[str, Any], job: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ between the stored options of a folder and those of a job. A missing value is
    equal to None."""
    return [key for key in {**job, **stored} if not same_json(stored.get(key), job.get(key))]


def is_occupied(out: Path) -> bool:
    """Whether ``out`` is a file, or a folder with files that are not hidden (hidden ones are leftovers, or belong to
    the file system)."""
    return out.exists() and (not out.is_dir() or any(not entry.name.startswith(".") for entry in out.iterdir()))


def source_edited(stored: Mapping[str, Any], job: Mapping[str, Any]) -> bool:
    """Whether the file of a source has changed; False where its hash was not recorded."""
    return None not in (stored.get(CODE), job.get(CODE)) and stored[CODE] != job[CODE]


def claim(out: Path, job: Mapping[str, Any], files: Mapping[str, str] | None = None) -> Manifest | None:
    """Claim a folder for a job. Of an unfinished job, discard the shards whose raw files have changed, or all shards
    where the source's file has changed. A job that has made no shard yet is replaced by one with other options.

    Args:
        out: the folder; made if necessary.
        job: the options that the result follows from, as JSON values; also the ``source`` of the job's manifest.
        files: by shard, a hash of its raw files' sizes and times. It is kept in the note and not in the manifest, since
            the same files have other times on another machine; without a note, the files count as unchanged.

    Returns:
        The manifest, when the job is finished and every shard exists; None when there is work to do.

    Raises:
        UserError: when the folder holds something else, is a file, or cannot be written; or when a finished data set
            lacks shards and the source's file has changed since.
    """
    try:
        with disk_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError("is a file", file=out, hint="give a folder") from None
    note, content = Note(out / JOB, _HINT), {"job": job, "files": files or {}}
    stored = note.read()
    hashes = stored["files"] if stored else {}
    changed = [shard for shard, sha256 in hashes.items() if sha256 != content["files"].get(shard)]
    if (out / NAME).exists():
        manifest = Manifest.load(out)
        _compare(out, "a data set", manifest.source, job)
        if changed:
            raise UserError("the raw files have changed since they were prepared", file=out, key="files", hint=_HINT)
        if manifest.complete():
            return manifest
        if source_edited(manifest.source, job):  # shards made now would differ from those that are there
            message = "lacks shards, and the code that made the others has changed since"
            raise UserError(message, file=out, key=CODE, hint=f"{_HINT}, or restore the code")
    elif stored:
        if is_occupied(out):  # without a shard nothing is lost, and an error in the first one may ask for other options
            _compare(out, "an unfinished data set", stored["job"], job)
        edited = source_edited(stored["job"], job)
        outdated = out.glob(index_name("*")) if edited else [out / index_name(shard) for shard in changed]
        for index in outdated:
            index.unlink(missing_ok=True)
    elif is_occupied(out):
        raise UserError("is not empty", file=out, hint=_HINT)
    sweep(out)
    if not same_json(stored, content):
        note.write(content)
    return None


def _compare(out: Path, content: str, stored: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    """Raise a :class:`UserError` for the folder of another job, naming the options that differ."""
    keys = [key for key in differing_keys(stored, job) if key != CODE]
    if keys == ["splits"]:
        message = f"holds {content} of another list of frames: {_changed_splits(stored['splits'], job['splits'])}"
        raise UserError(message, file=out, key="splits", hint=_HINT)
    if keys:
        raise UserError(f"holds {content} of other options", file=out, key=", ".join(keys), hint=_HINT)


def _changed_splits(stored: Mapping[str, Any], splits: Mapping[str, Any]) -> str:
    """Return the splits whose frames differ, with their numbers of frames before and now."""
    changed = []
    for split in differing_keys(stored, splits):
        before, now = (entry.get(split, {"samples": 0})["samples"] for entry in (stored, splits))
        changed.append(f"{split} {before} → {now}" if before != now else f"{split} {now} (other frames)")
    return ", ".join(changed)
