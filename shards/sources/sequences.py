"""Random splits of frames that keep groups together: folders, recordings, or groups that file names define."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from shards.codec import key_of
from shards.errors import UserError

FOLDER = "folder"
_NUMBER = re.compile(r"\d+$")
_FAR = 0.5  # relative difference between the frames of val and those asked for, above which it is noted
_MIN_FRAMES = 3  # frames from which on numbered names look like a sequence


def pattern_of(group_by: str) -> re.Pattern[str] | None:
    """Compile the pattern of ``group_by``; None for ``folder``.

    Raises:
        UserError: when it is not a regular expression.
    """
    try:
        return None if group_by == FOLDER else re.compile(group_by)
    except re.error as error:
        hint = "give folder, or a regular expression of what frames of one group have in common: '^[a-z]+'"
        raise UserError(f"{group_by!r} is not a regular expression ({error})", key="group_by", hint=hint) from error


def split_by_hash(stems: Iterable[str], fraction: float, group_by: str | None = None) -> dict[str, list[str]]:
    """Split frames into ``train`` and ``val`` by SHA-256, so that the splits depend on names alone.

    Args:
        stems: names of the frames.
        fraction: the share of ``val``: ``round(n · fraction)`` frames; or whole groups, taken in the order of their
            hashes unless one moves away from that number, or the group whose size is closest to it.
        group_by: ``folder``, or a regular expression whose match (its first group, if it has one) names the group.

    Raises:
        UserError: when the pattern does not match a name, or all frames are in one group.
    """
    ordered = sorted(stems)
    count = round(len(ordered) * fraction)
    if group_by is None:
        val = set(sorted(ordered, key=lambda stem: _digest(key_of(stem)))[:count])
    else:
        val = _choose_groups(ordered, count, group_by)
    return {"train": [s for s in ordered if s not in val], "val": [s for s in ordered if s in val]}


def _choose_groups(stems: list[str], count: int, group_by: str) -> set[str]:
    """Return the frames of whole groups, chosen by hash, whose number comes close to ``count``."""
    pattern = pattern_of(group_by)
    groups: dict[str, list[str]] = {}
    for stem in stems:
        groups.setdefault(_group_of(stem, pattern), []).append(stem)
    if len(groups) < 2:
        message = f"puts all {len(stems)} frames into one group, {next(iter(groups), '')!r}"
        raise UserError(message, key="group_by", hint="group by something that differs, or write train.txt and val.txt")
    val: set[str] = set()
    ranked = sorted(groups, key=_digest)
    for name in ranked[:-1]:  # at least one group remains for training
        if len(val) + len(groups[name]) - count <= count - len(val):  # otherwise val would move away from the count
            val.update(groups[name])
    return val or set(groups[min(ranked, key=lambda name: abs(len(groups[name]) - count))])


def _group_of(stem: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return PurePosixPath(stem).parent.as_posix()
    match = pattern.search(stem)
    if match is None:
        raise UserError("does not match group_by", key=stem, hint=f"change {pattern.pattern!r}, or rename the frame")
    return (match.group(1) if pattern.groups else match.group()) or ""


def describe_random_split(splits: Mapping[str, list[str]], fraction: float, group_by: str | None) -> str | None:
    """Describe what is doubtful about splits that :func:`split_by_hash` made with these arguments: numbered sequences
    on both sides, or whole groups whose share is far from ``fraction``. None where nothing is."""
    if group_by is None:
        return describe_split_sequences(splits)
    val, frames = len(splits["val"]), sum(map(len, splits.values()))
    count = max(round(frames * fraction), 1)
    if abs(val - count) <= _FAR * count:
        return None
    text = f"val has {val} of {frames} frames, a share of {val / frames:.3g} where {fraction:g} was asked for"
    return f"{text}; the sizes of the groups leave this: group by something finer, or write train.txt and val.txt"


def describe_split_sequences(splits: Mapping[str, list[str]]) -> str | None:
    """Describe sequences, which numbered names suggest, that have frames in several splits; None without any."""
    sequences: dict[str, dict[str, list[str]]] = {}
    for split, stems in splits.items():
        for stem in stems:
            if _NUMBER.search(stem):
                sequences.setdefault(_NUMBER.sub("", stem), {}).setdefault(split, []).append(stem)
    divided = [parts for parts in sequences.values() if len(parts) > 1 and sum(map(len, parts.values())) >= _MIN_FRAMES]
    if not divided:
        return None
    first = sorted(stem for stems in divided[0].values() for stem in stems)
    if any("/" in stem for stem in first):
        hint = f"group_by: {FOLDER} keeps each folder of rgb in one split"
    else:
        hint = "group_by: PATTERN, or train.txt and val.txt, keep together what was recorded together"
    subject = f"{len(divided)} numbered sequences have" if divided[1:] else "a numbered sequence has"
    text = f"{subject} frames in both train and val ({first[0]} to {first[-1]})"
    return f"{text}; if they were recorded one after the other, validation is too optimistic: {hint}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()  # names of files may be any bytes
