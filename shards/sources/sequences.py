"""Splitting frames at random without splitting what belongs together: folders, recordings, whatever names tell."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from shards.codec import key_of
from shards.errors import UserError

FOLDER = "folder"
_NUMBER = re.compile(r"\d+$")
_FEW = 3  # frames from which on numbered names look like a sequence


def pattern_of(group_by: str) -> re.Pattern[str] | None:
    """The pattern of ``group_by``; None for ``folder``.

    Raises:
        UserError: when it is not a regular expression.
    """
    try:
        return None if group_by == FOLDER else re.compile(group_by)
    except re.error as error:
        hint = "give folder, or a regular expression of what frames of one group have in common: '^[a-z]+'"
        raise UserError(f"{group_by!r} is not a regular expression ({error})", key="group_by", hint=hint) from error


def by_hash(stems: Iterable[str], fraction: float, group_by: str | None = None) -> dict[str, list[str]]:
    """``train`` and ``val``, chosen by SHA-256, so that they follow from names alone.

    Args:
        stems: names of the frames.
        fraction: the part that goes to ``val``: ``round(n · fraction)`` frames, or whole groups that come nearest.
        group_by: ``folder``, or a regular expression whose match (its first group, if it has one) names the group.

    Raises:
        UserError: when the pattern does not match a name, or all frames are in one group.
    """
    ordered = sorted(stems)
    wanted = round(len(ordered) * fraction)
    if group_by is None:
        val = set(sorted(ordered, key=lambda stem: _digest(key_of(stem)))[:wanted])
    else:
        val = _groups(ordered, wanted, group_by)
    return {"train": [s for s in ordered if s not in val], "val": [s for s in ordered if s in val]}


def _groups(stems: list[str], wanted: int, group_by: str) -> set[str]:
    pattern = pattern_of(group_by)
    groups: dict[str, list[str]] = {}
    for stem in stems:
        groups.setdefault(_group(stem, pattern), []).append(stem)
    if len(groups) < 2:
        what = f"puts all {len(stems)} frames into one group, {next(iter(groups), '')!r}"
        raise UserError(what, key="group_by", hint="group by something that differs, or write train.txt and val.txt")
    val: set[str] = set()
    ranked = sorted(groups, key=_digest)
    for name in ranked[:-1]:  # one stays to train on
        if val and len(val) + len(groups[name]) - wanted > wanted - len(val):
            continue
        val.update(groups[name])
    return val


def _group(stem: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return PurePosixPath(stem).parent.as_posix()
    found = pattern.search(stem)
    if found is None:
        raise UserError("does not match group_by", key=stem, hint=f"change {pattern.pattern!r}, or rename the frame")
    return (found.group(1) if pattern.groups else found.group()) or ""


def divided(splits: Mapping[str, list[str]]) -> str | None:
    """A sentence about sequences, as numbered names suggest them, that have frames in several splits."""
    sequences: dict[str, dict[str, list[str]]] = {}
    for split, stems in splits.items():
        for stem in stems:
            if _NUMBER.search(stem):
                sequences.setdefault(_NUMBER.sub("", stem), {}).setdefault(split, []).append(stem)
    both = [of for of in sequences.values() if len(of) > 1 and sum(map(len, of.values())) >= _FEW]
    if not both:
        return None
    first = sorted(stem for stems in both[0].values() for stem in stems)
    if any("/" in stem for stem in first):
        cure = f"group_by: {FOLDER} keeps each folder of rgb in one split"
    else:
        cure = "group_by: PATTERN, or train.txt and val.txt, keep together what was recorded together"
    many = f"{len(both)} numbered sequences have" if both[1:] else "a numbered sequence has"
    what = f"{many} frames in both train and val ({first[0]} to {first[-1]})"
    return f"{what}; if they were recorded one after the other, the validation flatters: {cure}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
