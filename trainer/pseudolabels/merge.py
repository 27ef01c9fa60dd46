"""``tutelage label --merge``: frames, visible labels and pseudo-labels as one self-contained data set."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from shards.atomic import atomic_file, sweep
from shards.claim import claim
from shards.frames import Frames
from shards.holes import FILL, fill_holes
from shards.labels import LabelShards
from shards.manifest import Manifest, ShardInfo, statistics_of
from shards.members import picture_size
from shards.resize import resize_label
from shards.statistics import merge_samples
from shards.write import EncodedSample, shard_info, whole_index, write_shard
from trainer.experiment import TRAIN, Experiment
from trainer.pseudolabels.kept import CONFIDENCE
from trainer.runs.exclusive import exclusive


def merge(experiment: Experiment, out: Path) -> Manifest:
    """Write full shards of the training split: every frame with the ground truth that is visible, and elsewhere the
    teacher's labels above ``label.threshold``. Other splits are linked (or copied) unchanged. An interrupted call is
    continued; after a finished one nothing is written. Of several calls at once, such as those of all ranks, one writes
    and the others wait for it.

    Raises:
        UserError: when ``out`` already holds something else, or the disk is full.
    """
    source = experiment.manifest
    frames = experiment.training_frames(pseudo=False)
    place = experiment.find_labels() or experiment.labels  # in label.store alone, where the folder's are gone
    labels = Manifest.load(place, kind="labels", cache=source.cache)
    for task in experiment.targets:
        confident = task.storage.confident and CONFIDENCE in labels.statistics[TRAIN][task.name]
        threshold = experiment.config.label.threshold if confident else None  # a threshold of a probability
        labelled = LabelShards(place, source, TRAIN, task, threshold)
        frames.add_pseudo(labelled, holes=experiment.config.label.frames == "all")
    job: dict[str, Any] = {
        "merged_from": source.sha256,
        "labels": labels.sha256,
        "threshold": experiment.config.label.threshold,
    }
    with exclusive(out):
        return claim(out, job) or _write(frames, out, job)


def _write(frames: Frames, out: Path, job: dict[str, Any]) -> Manifest:
    source = frames.manifest
    indexes = []
    try:
        for number, shard in enumerate(frames.readers.shards):
            path = out / shard.file
            samples = (_sample(frames, number, position) for position in range(shard.samples))
            indexes.append(whole_index(path) or write_shard(path, samples, partial(merge_samples, source.tasks)))
    finally:
        sweep(out)
    splits: dict[str, tuple[ShardInfo, ...]] = dict(source.splits)
    splits[TRAIN] = tuple(shard_info(out, index) for index in indexes)
    for split, shards in source.splits.items():
        for shard in shards if split != TRAIN else ():
            if isinstance(source.folder, Path):
                _link(source.folder / shard.file, out / shard.file)
                _link(source.folder / shard.index_file, out / shard.index_file)
            else:
                for item, name in zip(source.items(shard), (shard.index_file, shard.file), strict=True):
                    with source.cache.open(item) as data, atomic_file(out / name) as file:
                        shutil.copyfileobj(data, file)
    statistics = dict(source.statistics)
    statistics |= statistics_of({TRAIN: [index["statistics"] for index in indexes]}, source.tasks)
    manifest = Manifest(
        out,
        source.name,
        "frames",
        source.size,
        source.tasks,
        splits,
        statistics,
        job,
        label_format=source.label_format,
    )
    manifest.save()
    return manifest


def _sample(frames: Frames, number: int, position: int) -> EncodedSample:
    reader = frames.readers[number]
    row, key = frames.starts[number] + position, reader.key(position)
    label_format, tasks = frames.manifest.label_format, frames.manifest.tasks
    shown = {frames.manifest.label_member(task.name): task.name for task in tasks if frames.visible[task.name][row]}
    members = reader.read(position, lambda name: name in shown or name == "json" or name.startswith("rgb."))
    truth = reader.decode_members(position, {name: members[name] for name in shown})
    statistics = {}
    for task in tasks:
        member = frames.manifest.label_member(task.name)
        if member in shown:
            label = truth[task.name]
            if task.name in frames.holes and frames.holes[task.name][row]:
                pseudo = resize_label(frames.label_shards[task.name].read(number, key), label.shape[:2])
                label = fill_holes({task.name: label, f"{task.name}.{FILL}": pseudo}, [task])[task.name]
                members[member] = task.storage.encode(label, label_format)
        elif task.name in frames.pseudo and frames.pseudo[task.name][row]:
            rgb = next(name for name in members if name.startswith("rgb."))
            size = picture_size(members[rgb], rgb.rpartition(".")[2])  # data.size may differ
            label = resize_label(frames.label_shards[task.name].read(number, key), size)
            if not task.storage.labelled(label).any():
                continue
            members[member] = task.storage.encode(label, label_format)
        else:
            continue
        statistics[task.name] = task.storage.statistics(label)
    return EncodedSample(key, members, statistics)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)  # left by an interrupted call
    try:
        os.link(source, target)
    except OSError:  # another file system
        with source.open("rb") as data, atomic_file(target) as file:
            shutil.copyfileobj(data, file)
