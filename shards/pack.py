"""Raw frames into shards: any source, any number of processes, always the same bytes.

A split is cut into shards of ``samples_per_shard`` frames before anything is read, and each shard is made by
one call of :func:`pack_shard`, which depends on nothing but the source and its range. So neither the number of
processes nor an interruption changes the result: a job that is started again keeps the shards that are complete
(:mod:`shards.claim`). The manifest is written last.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shards.atomic import sweep
from shards.claim import CODE, claim, source_edited
from shards.codec import MAX_PIXELS
from shards.encode import encode
from shards.errors import BadFile, UserError
from shards.log import logger
from shards.manifest import Manifest, ShardInfo, index_name, shard_name, statistics_of
from shards.members import Profile, label_format, need_profile
from shards.notes import collect_notes, merge_tallies
from shards.sources.base import Source
from shards.sources.checked import CheckedSource, check_source
from shards.statistics import merge_samples
from shards.workers import run
from shards.write import EncodedSample, shard_info, whole_index, write_shard

Progress = Callable[[int], None]
"""Called with the number of frames that have just been packed."""


@dataclass(frozen=True)
class PlannedShard:
    """One shard to make: ``count`` frames of a split from position ``start`` on."""

    split: str
    number: int
    start: int
    count: int

    @property
    def file(self) -> str:
        return shard_name(self.split, self.number)


def plan(source: Source, samples_per_shard: int) -> list[PlannedShard]:
    """Return the shards to make for all splits, in order."""
    return [
        PlannedShard(split, number, start, min(samples_per_shard, len(keys) - start))
        for split, keys in source.splits.items()
        for number, start in enumerate(range(0, len(keys), samples_per_shard))
    ]


def pack(
    source: Source,
    out: Path,
    *,
    size: tuple[int, int] | None = None,
    samples_per_shard: int = 256,
    jobs: int = 1,
    strict: bool = True,
    profile: Profile = "archive",
    progress: Progress = lambda frames: None,
    set_aside: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Write a source as a data set, or continue an interrupted call with the same options.

    In a finished data set, only shards that were deleted or truncated are made again.

    Args:
        source: the raw frames.
        out: the data set's folder; created if needed.
        size: (height, width) of every frame, or None to keep the frames' own bytes and sizes.
        samples_per_shard: frames per tar.
        jobs: number of worker processes.
        strict: True stops at the first file that cannot be read; False leaves its frame out.
        profile: how images are stored; all but ``archive`` need the extra ``tiles``.
        progress: called with the number of packed frames, in this process.
        set_aside: called for each frame that is left out, with the reason.

    Raises:
        UserError: bad input, an invalid source (:mod:`shards.sources.checked`), a full disk, or a folder that holds
            something else or was made of raw files that have changed since.
    """
    source = check_source(source)
    code = source.origin.sha256_with_bases()
    job = {
        "name": source.name,
        "size": list(size) if size else None,
        "samples_per_shard": samples_per_shard,
        "tasks": {task.name: task.to_json() for task in source.tasks},
        "splits": {split: {"samples": len(keys), "keys": _hash(keys)} for split, keys in source.splits.items()},
        **({} if profile == "archive" else {"profile": profile}),
        **source.options,
        **({CODE: code} if code else {}),
    }
    need_profile(profile)
    if samples_per_shard < 1:
        raise UserError(f"{samples_per_shard} samples per shard", key="--samples-per-shard", hint="give 1 or more")
    if size and size[0] * size[1] > MAX_PIXELS:
        message = f"{size[0]}x{size[1]} pixels are over the limit of {MAX_PIXELS}, above which no image is read"
        raise UserError(message, key="--size", hint="give a smaller size")
    if jobs > 1:
        source.need_pickling()
    plans = plan(source, samples_per_shard)
    files = {shard.file: _hash_files(source, shard) for shard in plans} if source.from_files else None
    finished = claim(out, job, files)
    if finished:
        missing = sum(len(keys) - finished.samples(split) for split, keys in source.splits.items())
        logger.info("already prepared: nothing to do" + (f"; {missing} frames were left out" if missing else ""))
        if source_edited(finished.source, job):
            file = source.origin.file + ("" if source.origin.sha256() == code else ", or a base class beside it,")
            message = f"note: {file} has changed since: the data set was made by the former code"
            logger.warning(f"{message}; to prepare it anew, give another folder, or delete {out}")
        progress(sum(finished.samples(split) for split in finished.splits))
        return finished
    entries: dict[str, Any] = {"source": source.notices()}
    make = partial(pack_shard, source, out, size, strict=strict, profile=profile)
    try:
        results = _in_order(plans, run(make, plans, jobs), progress)
    finally:
        sweep(out)
    splits: dict[str, list[ShardInfo]] = {split: [] for split in source.splits}
    statistics: dict[str, list[Any]] = {split: [] for split in source.splits}
    notes: dict[str, list[Any]] = {split: [] for split in source.splits}
    for shard, packed in zip(plans, results, strict=True):
        splits[shard.split].append(packed.info)
        statistics[shard.split].append(packed.statistics)
        notes[shard.split].append(packed.notes)
        for reason in packed.bad:
            set_aside(reason)
    for split, keys in source.splits.items():
        if keys and not sum(info.samples for info in splits[split]):
            incomplete = [(shard, packed) for shard, packed in zip(plans, results, strict=True) if packed.bad]
            for shard, _ in incomplete:
                (out / index_name(shard.file)).unlink()  # else the next call would take it for complete
            first = next(packed.bad[0] for shard, packed in incomplete if shard.split == split)
            raise UserError(f"no frame of {split} can be read: {first}", file=out)
    manifest = Manifest(
        out,
        source.name,
        "frames",
        size,
        source.tasks,
        {split: tuple(shards) for split, shards in splits.items()},
        statistics_of(statistics, source.tasks),
        job,
        {name: entry for name, entry in (entries | {s: merge_tallies(t) for s, t in notes.items()}).items() if entry},
        label_format=label_format(profile),
    )
    manifest.save()
    return manifest


@dataclass(frozen=True)
class Packed:
    """One shard that was made, or was already complete.

    Args:
        info: its entry in the manifest.
        statistics: statistics of its labels, by task.
        notes: tally of the notes about its frames (:mod:`shards.notes`).
        bad: a reason for each of its frames that is left out.
    """

    info: ShardInfo
    statistics: dict[str, Any]
    notes: dict[str, Any]
    bad: list[str]


def pack_shard(
    source: CheckedSource,
    out: Path,
    size: tuple[int, int] | None,
    shard: PlannedShard,
    strict: bool = True,
    profile: Profile = "archive",
) -> Packed:
    """Make one shard, unless it is already complete.

    Raises:
        UserError: as :func:`pack`; with ``strict`` also for a file that cannot be read.
    """
    path, places = out / shard.file, range(shard.start, shard.start + shard.count)
    keys = source.splits[shard.split]
    bad: dict[str, str] = {}

    def samples() -> Iterator[EncodedSample]:
        for place in places:
            try:
                with collect_notes() as notes, source.name_errors(shard.split, place):
                    sample = encode(source.load(shard.split, place), keys[place], source.tasks, size, profile)
            except BadFile as error:
                if strict:
                    raise
                bad[keys[place]] = str(error)
            else:
                sample.notes = notes
                yield sample

    index = whole_index(path) or write_shard(path, samples(), partial(merge_samples, source.tasks))
    for key in {keys[place] for place in places} - {sample["key"] for sample in index["samples"]}:
        bad.setdefault(key, f"{key}: was left out by an earlier call")
    reasons = [bad[key] for key in sorted(bad)]
    return Packed(shard_info(out, index), index["statistics"], index.get("notes", {}), reasons)


def _hash(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()


def _hash_files(source: CheckedSource, shard: PlannedShard) -> str:
    """Return a hash of the names, sizes and modification times of a shard's raw files."""
    digest = hashlib.sha256()
    for place in range(shard.start, shard.start + shard.count):
        for role, path in source.files(shard.split, place).items():
            try:
                stat = path.stat()
                state = f"{stat.st_size} {stat.st_mtime_ns}"
            except OSError:  # a dangling link, say: load reports it, and its frame is left out
                state = "unreadable"
            line = f"{role} {path.name} {state}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _in_order(plans: list[PlannedShard], results: Iterator[tuple[PlannedShard, Any]], progress: Progress) -> list[Any]:
    packed = {}
    for shard, result in results:
        packed[shard] = result
        progress(shard.count)
    return [packed[shard] for shard in plans]
