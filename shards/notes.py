"""What is said of frames while raw data become shards: what was left out, turned, converted or looks wrong.

Code that does such a thing calls :func:`note` where it does it. While frames are packed, the notes are counted over all
frames by member and text, kept in the manifest and shown in the summary; everywhere else they go nowhere.

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
    """One thing that is said of one member of a frame.

    Args:
        member: ``rgb`` or a task's name.
        text: the same for all frames, so that they can be counted.
        pixels: how many it is about; 0 where they are not counted.
        detail: what it looks like in this frame.
    """

    member: str
    text: str
    pixels: int = 0
    detail: str = ""


_NOTES: ContextVar[list[Note] | None] = ContextVar("notes", default=None)
_MEMBER: ContextVar[str] = ContextVar("member", default="")


def note(text: str, pixels: int = 0, detail: str = "") -> None:
    """Say something of the member that is being read or stored (:class:`Note` explains the arguments)."""
    notes = _NOTES.get()
    if notes is not None:
        notes.append(Note(_MEMBER.get(), text, int(pixels), detail))


@contextmanager
def collected() -> Iterator[list[Note]]:
    """Collect the notes that are made within."""
    notes: list[Note] = []
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


@contextmanager
def about(member: str, file: Path | None = None, key: str | None = None) -> Iterator[None]:
    """Notes within are about this member; with a key, errors within name the member, its file and the key."""
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
    """The notes of samples, by their keys, counted; a text counts once a frame."""
    return merged(
        {note.member: {note.text: {"frames": 1, "pixels": note.pixels, "first": key, "detail": note.detail}}}
        for key, notes in samples
        for note in {(note.member, note.text): note for note in notes}.values()
    )


def merged(tallies: Iterable[Mapping[str, Any]]) -> Tally:
    """Several tallies as one; the first frame is that of the first tally."""
    total: Tally = {}
    for one in tallies:
        for member, texts in one.items():
            for text, entry in texts.items():
                known = total.setdefault(member, {}).setdefault(text, {**entry, "frames": 0, "pixels": 0})
                known["frames"] += entry["frames"]
                known["pixels"] += entry["pixels"]
    return total


def lines(counted: Mapping[str, Any]) -> list[str]:
    """A tally as lines of text: ``depth: TEXT (3 frames, 1200 pixels; the first is KEY: 25 % of it)``."""
    found = []
    for member, texts in counted.items():
        for text, entry in texts.items():
            frames = f"{entry['frames']} frame{'s' * (entry['frames'] != 1)}"
            pixels = f", {entry['pixels']} pixels" if entry["pixels"] else ""
            detail = f": {entry['detail']}" if entry["detail"] else ""
            found.append(f"{member}: {text} ({frames}{pixels}; the first is {entry['first']}{detail})")
    return found
