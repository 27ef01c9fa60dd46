"""Files of a folder by their stems; the files of one frame have the same stem."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from shards.errors import UserError


def files_by_stem(
    folder: Path, suffixes: Iterable[str], pattern: re.Pattern[str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return the files under a folder with one of ``suffixes``, sorted by stem, and all other files.

    With a pattern, only files whose stem matches are returned, by its group ``name``, prefixed by its group ``split``
    if it has one.

    Names are relative to the folder, with ``/``. Links to folders are followed; hidden files and folders are ignored.

    Raises:
        UserError: when the folder does not exist, a folder cannot be read, or two files have the same stem.
    """
    if not folder.is_dir():
        raise UserError("is not a folder", file=folder, hint="make it, or correct the path")
    names = []
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        path = Path(parent).resolve()  # a link to a parent folder would recurse for ever
        folders[:] = [name for name in folders if name[0] != "." and not path.is_relative_to((path / name).resolve())]
        names += [(Path(parent) / file).relative_to(folder).as_posix() for file in files if file[0] != "."]
    by_stem: dict[str, str] = {}
    others = []
    for name in sorted(names):
        stem = _identity(stem_of(name), pattern)
        if stem is None:
            continue
        if PurePosixPath(name).suffix.lower() not in suffixes:
            others.append(name)
        elif (first := by_stem.setdefault(stem, name)) != name:
            raise UserError(f"holds both {first} and {name}", file=folder, hint="keep one file per stem")
    return by_stem, others


def _identity(stem: str, pattern: re.Pattern[str] | None) -> str | None:
    if pattern is None:
        return stem
    match = pattern.fullmatch(stem)
    return match and "/".join(filter(None, (match.groupdict().get("split"), match["name"])))


def _refuse(error: OSError) -> None:
    raise UserError(f"cannot be read ({error.strerror})", file=error.filename, hint="change its permissions") from error


def stem_of(name: str) -> str:
    """Return ``site_a/0001`` for ``site_a/0001.jpg``, in the composed form of Unicode (NFC, annex 15): some systems
    write accents separately, so that names of a frame's files look the same but differ."""
    return normalise_name(name.removesuffix(PurePosixPath(name).suffix))


def normalise_name(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC)."""
    return unicodedata.normalize("NFC", name)
