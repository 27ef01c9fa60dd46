"""Patterns of a folder's files: ``rgb/{name}``, ``{split}/masks/{name}_L.png``.

``{name}`` is what the files of a frame have in common, including subfolders; ``{split}`` is a folder named after the
split of its frames. A pattern that ends in a suffix matches only files with that suffix.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shards.errors import UserError
from shards.sources.listing import files_by_stem

_FIELD = re.compile(r"\{(\w*)\}")
_SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Folder names that ``{split}`` matches; ``test`` is used for validation where there is no ``val``."""


@dataclass(frozen=True)
class Files:
    """The files that match a pattern.

    Args:
        folder: the folder that names are relative to.
        by_stem: file names by the stem that identifies their frame, sorted.
        unread: files that match the pattern but have other suffixes.
    """

    folder: Path
    by_stem: dict[str, str]
    unread: list[str]


@dataclass(frozen=True)
class Pattern:
    """A pattern as described in this module.

    Raises:
        UserError: for a pattern without ``{name}``, with other fields, or that leaves the folder.
    """

    text: str

    def __post_init__(self) -> None:
        fields = _FIELD.findall(self.text)
        hint = "write {name} once, and {split} at most once: '{split}/images/{name}'"
        if sorted(fields) not in (["name"], ["name", "split"]) or "{" in _FIELD.sub("", self.text):
            raise UserError(f"{self.text!r} is not a pattern", hint=hint)
        if PurePosixPath(self.text).is_absolute() or ".." in PurePosixPath(self.text).parts:
            raise UserError(f"{self.text!r} leaves the folder", hint="name files inside it")

    @property
    def splits(self) -> bool:
        """Whether the pattern determines the split of a frame."""
        return "{split}" in self.text

    def find(self, root: Path, suffixes: Collection[str]) -> Files:
        """Find the files of these suffixes that match under a folder.

        Raises:
            UserError: when there is no such folder, or two files belong to one frame.
        """
        text, has_suffix = self.text, False
        if (suffix := PurePosixPath(text).suffix.lower()) and "{" not in suffix:
            text, suffixes, has_suffix = text[: -len(suffix)], {suffix}, True
        before, _, _ = text.partition("{")
        prefix = before[: before.rfind("/") + 1]
        parts = _FIELD.split(text[len(prefix) :])  # literal, field, literal, ...
        regex = "".join(
            re.escape(part) if place % 2 == 0 else "(?P<split>[^/]+)" if part == "split" else "(?P<name>.+)"
            for place, part in enumerate(parts)
        )
        by_stem, unread = files_by_stem(root / prefix, suffixes, re.compile(regex))
        return Files(root / prefix, by_stem, [] if has_suffix else unread)


def split_by_folder(stems: Collection[str]) -> dict[str, list[str]]:
    """Divide frames whose stems begin with the folder of their split into ``train`` and ``val``; frames in folders of
    other names are in neither."""
    splits: dict[str, list[str]] = {split: [] for split in _SPLITS}
    for stem in stems:
        folder = stem.partition("/")[0].lower()
        for split, names in _SPLITS.items():
            if folder in names:
                splits[split].append(stem)
    return {"train": splits["train"], "val": splits["val"] or splits["test"]}
