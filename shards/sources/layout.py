"""Where a folder's files lie, as a pattern: ``rgb/{name}``, ``{split}/masks/{name}_L.png``.

``{name}`` is what the files of a frame have in common, with folders if there are any; ``{split}`` is a folder that says
which split a frame is in. A pattern that ends in a suffix takes those files alone.
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
"""Names of folders that ``{split}`` stands for; what tests validates where nothing else does."""


@dataclass(frozen=True)
class Files:
    """The files that a pattern names.

    Args:
        folder: what names are relative to.
        by_stem: the files' names by what identifies their frame, sorted.
        other: files of other suffixes that the pattern names.
    """

    folder: Path
    by_stem: dict[str, str]
    other: list[str]


@dataclass(frozen=True)
class Pattern:
    """A pattern as this module describes it.

    Raises:
        UserError: for one without ``{name}``, with other fields, or that leaves the folder.
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
        """Whether it says which split a frame is in."""
        return "{split}" in self.text

    def find(self, root: Path, suffixes: Collection[str]) -> Files:
        """The files of these suffixes that it names under a folder.

        Raises:
            UserError: when there is no such folder, or two files are of one frame.
        """
        text, only = self.text, False
        if (own := PurePosixPath(text).suffix.lower()) and "{" not in own:
            text, suffixes, only = text[: -len(own)], {own}, True
        before, _, _ = text.partition("{")
        prefix = before[: before.rfind("/") + 1]
        parts = _FIELD.split(text[len(prefix) :])  # literal, field, literal, ...
        regex = "".join(
            re.escape(part) if place % 2 == 0 else "(?P<split>[^/]+)" if part == "split" else "(?P<name>.+)"
            for place, part in enumerate(parts)
        )
        by_stem, other = files_by_stem(root / prefix, suffixes, re.compile(regex))
        return Files(root / prefix, by_stem, [] if only else other)


def by_folder(stems: Collection[str]) -> dict[str, list[str]]:
    """``train`` and ``val`` of frames whose stems begin with the folder of their split; folders of other names are in
    neither."""
    found: dict[str, list[str]] = {split: [] for split in _SPLITS}
    for stem in stems:
        folder = stem.partition("/")[0].lower()
        for split, names in _SPLITS.items():
            if folder in names:
                found[split].append(stem)
    return {"train": found["train"], "val": found["val"] or found["test"]}
