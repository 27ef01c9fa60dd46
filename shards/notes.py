"""Notes about frames while raw data become shards: what was left out, turned, converted or looks wrong.

Code that does any of these calls :func:`note` at that place. While frames are packed, notes are counted over all frames
by member and text, stored in the manifest and shown in the summary; outside :func:`collect_notes` they are dropped.

A tally, as JSON: ``{"depth": {"TEXT": {"frames": 3, "pixels": 1200, "first": "KEY", "detail": "25 % of it"}}}``.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import UserError

Tally = dict[str, dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Note:
    """One remark about one member of a frame.

    Args:
        member: ``rgb`` or a task's name.
        text: the same for all frames that it applies to, so that they can be counted.
        pixels: the number of pixels that it applies to; 0 where they are not counted.
        detail: particulars of this frame.
    """

    member: str
    text: str
    pixels: int = 0
    detail: str = ""


_NOTES: ContextVar[list[Note] | None] = ContextVar("notes", default=None)
_MEMBER: ContextVar[str] = ContextVar("member", default="")


def note(text: str, pixels: int = 0, detail: str = "") -> None:
    """Record a note about the member that is being read or stored (:class:`Note` explains the arguments)."""
    notes = _NOTES.get()
    if notes is not None:
        notes.append(Note(_MEMBER.get(), text, int(pixels), detail))


@contextmanager
def collect_notes() -> Iterator[list[Note]]:
    """Collect the notes that are recorded inside the block."""
    notes: list[Note] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


@contextmanager
def member_context(member: str, file: Path | None = None, key: str | None = None) -> Iterator[None]:
    """Attribute notes inside the block to a member; with a key, errors name the member, its file and the key too."""
    token = _MEMBER.set(member)
    try:
        yield
    except UserError as error:
        if key is None:
            raise
        raise type(error)(f"{member} {error.what}", file=file, key=key, hint=error.hint) from error
    finally:
        _MEMBER.reset(token)


def tally(samples: Iterable[tuple[str, Iterable[Note]]]) -> Tally:
    """Count the notes of samples, given with their keys; a text counts once per frame."""
    return merge_tallies(
        {note.member: {note.text: {"frames": 1, "pixels": note.pixels, "first": key, "detail": note.detail}}}
        for key, notes in samples
        for note in {(note.member, note.text): note for note in notes}.values()
    )


def merge_tallies(tallies: Iterable[Mapping[str, Any]]) -> Tally:
    """Merge tallies into one; the first frame of a text is that of the first tally that has the text."""
    total: Tally = {}
    for counts in tallies:
        for member, texts in counts.items():
            for text, entry in texts.items():
                sums = total.setdefault(member, {}).setdefault(text, {**entry, "frames": 0, "pixels": 0})
                sums["frames"] += entry["frames"]
                sums["pixels"] += entry["pixels"]
    return total


def format_tally(counted: Mapping[str, Any]) -> list[str]:
    """Format a tally as lines of text: ``depth: TEXT (3 frames, 1200 pixels; the first is KEY: 25 % of it)``."""
    lines = []
    for member, texts in counted.items():
        for text, entry in texts.items():
            frames = f"{entry['frames']} frame{'s' * (entry['frames'] != 1)}"
            pixels = f", {entry['pixels']} pixels" if entry["pixels"] else ""
            detail = f": {entry['detail']}" if entry["detail"] else ""
            lines.append(f"{member}: {text} ({frames}{pixels}; the first is {entry['first']}{detail})")
    return lines
