"""The files of a folder by their stems, which is what the files of one frame have in common."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from shards.errors import UserError


def files_by_stem(folder: Path, suffixes: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The files under a folder: those with one of ``suffixes`` by their stem, sorted, and all others.

    Names are relative to the folder, with ``/``. Hidden files are passed over.

    Raises:
        UserError: when there is no folder, or two files have the same stem.
    """
    if not folder.is_dir():
        raise UserError("is no folder", file=folder, cure="make it, or correct the path")
    names = sorted(
        (Path(parent) / file).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for file in files
        if not file.startswith(".")
    )
    by_stem: dict[str, str] = {}
    other = []
    for name in names:
        if PurePosixPath(name).suffix.lower() not in suffixes:
            other.append(name)
        elif (first := by_stem.setdefault(stem_of(name), name)) != name:
            raise UserError(f"holds both {first} and {name}", file=folder, cure="keep one file a stem")
    return by_stem, other


def stem_of(name: str) -> str:
    """``site_a/0001`` of ``site_a/0001.jpg``."""
    return name.removesuffix(PurePosixPath(name).suffix)
