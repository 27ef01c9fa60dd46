"""The files of a folder by their stems, which is what the files of one frame have in common."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from shards.errors import UserError


def files_by_stem(
    folder: Path, suffixes: Iterable[str], pattern: re.Pattern[str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """The files under a folder: those with one of ``suffixes`` by their stem, sorted, and all others.

    With a pattern, only files whose stem it matches, by its group ``name`` and, if it has one, ``split`` before that.

    Names are relative to the folder, with ``/``. Links to folders are followed; hidden files and folders are passed
    over.

    Raises:
        UserError: when there is no folder, one cannot be read, or two files have the same stem.
    """
    if not folder.is_dir():
        raise UserError("is not a folder", file=folder, hint="make it, or correct the path")
    names = []
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        own = Path(parent).resolve()
        folders[:] = [name for name in folders if name[0] != "." and not own.is_relative_to((own / name).resolve())]
        names += [(Path(parent) / file).relative_to(folder).as_posix() for file in files if file[0] != "."]
    by_stem: dict[str, str] = {}
    other = []
    for name in sorted(names):
        stem = _identity(stem_of(name), pattern)
        if stem is None:
            continue
        if PurePosixPath(name).suffix.lower() not in suffixes:
            other.append(name)
        elif (first := by_stem.setdefault(stem, name)) != name:
            raise UserError(f"holds both {first} and {name}", file=folder, hint="keep one file a stem")
    return by_stem, other


def _identity(stem: str, pattern: re.Pattern[str] | None) -> str | None:
    if pattern is None:
        return stem
    found = pattern.fullmatch(stem)
    return found and "/".join(filter(None, (found.groupdict().get("split"), found["name"])))


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot be read ({error.strerror})", file=error.filename, hint="change its permissions") from error


def stem_of(name: str) -> str:
    """``site_a/0001`` of ``site_a/0001.jpg``, with letters and their accents in one (NFC of Unicode's annex 15): some
    systems write them apart, and the names of a frame's files look alike and differ."""
    return composed(name.removesuffix(PurePosixPath(name).suffix))


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
