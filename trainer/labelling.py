"""The teacher's pass: frames whose inputs can be seen and whose target cannot get pseudo-labels, as label shards.

Decoding runs ahead of the network in threads, encoding and writing behind it. Batches never span shards, so a frame's
label does not depend on which shards were done before; a shard that is there and whole is not done again.
"""

import hashlib
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from shards.atomic import read_json, sweep, write_json
from shards.errors import UserError
from shards.labels import LabelledFrame, encode_frame, label_manifest, write_label_shard
from shards.manifest import NAME, Manifest, same_json, statistics_of
from shards.stream import Position
from shards.tasks import Task
from shards.write import EncodedSample, shard_info, whole_index
from trainer import checkpoint
from trainer.configfile import parse_size, to_dict
from trainer.data import Batch, Collate, FrameLoader, load_batches
from trainer.experiment import TRAIN, Experiment
from trainer.frames import Frames
from trainer.kept import CONFIDENCE, confidence_counts, summary
from trainer.overlap import Background, map_ahead, threads_per_rank
from trainer.progress import progress
from trainer.runfolder import claim
from trainer.runtime import accelerator

JOB = ".label.json"
_THREADS = threads_per_rank()


def label(experiment: Experiment) -> dict[str, Any]:
    """Label with an experiment's network, unless its labels are there already.

    Returns:
        What was kept, as ``kept.json`` beside the shards says it (:mod:`trainer.kept`).

    Raises:
        UserError: when the network is not trained, or with another configuration, has nothing to label, or a disk is
            full.
    """
    folder = experiment.labels
    frames, mask = experiment.frames_to_label()
    network, facts = checkpoint.load_exported(experiment.checkpoints / experiment.config.evaluate.checkpoint)
    claim(experiment)
    process = accelerator(experiment.config.train.precision)
    if process.is_main_process:
        _claim(folder, _job(experiment, facts, mask))
    process.wait_for_everyone()
    if not _finished(folder):
        _Pass(experiment, frames, mask, network, process).run(folder)
        process.wait_for_everyone()
        if process.is_main_process:
            _finish(experiment, frames, facts, folder)
    if process.is_main_process:
        _kept(experiment)
    process.wait_for_everyone()
    return read_json(folder / "kept.json", "label again")


class _Pass:
    """One pass of a network over the frames of a mask; each rank takes every ``ranks``-th shard."""

    def __init__(
        self, experiment: Experiment, frames: Frames, mask: np.ndarray, network: torch.nn.Module, process: Accelerator
    ) -> None:
        config = experiment.config
        self.experiment, self.frames, self.targets = experiment, frames, experiment.targets
        self.process = process
        self.network = network.to(self.process.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.chosen = frames.by_shard(mask)
        size = parse_size(config.data.size, "data.size")
        self.loader = FrameLoader(frames, self.chosen, config.inputs, [], size=size)
        self.collate = Collate(self.loader.tasks, lambda labels: torch.zeros(0))
        self.batch = config.label.batch

    def run(self, folder: Path) -> None:
        """Write this rank's label shards that are not there yet."""
        shards = self.frames.readers.shards
        mine = range(self.process.process_index, len(shards), self.process.num_processes)
        todo = [number for number in mine if whole_index(folder / shards[number].file) is None]
        total = sum(len(self.chosen[number]) for number in mine)
        done = total - sum(len(self.chosen[number]) for number in todo)
        writer = Background()
        title = f"{self.experiment.config.experiment}: label"
        with progress(title, total, done=done, show=self.process.is_main_process) as report:
            for number in todo:
                samples = []
                # bounded, since a frame's arrays are many times larger than what is written of it
                for sample in map_ahead(self.encode, self.label_shard(number), _THREADS, 2 * self.batch):
                    samples.append(sample)
                    report(1)
                writer.submit(partial(write_label_shard, folder, shards[number].file, samples, self.targets))
            writer.close()

    @torch.no_grad()
    def label_shard(self, number: int) -> Iterator[LabelledFrame]:
        """The labelled frames of a source shard."""
        count = len(self.chosen[number])
        starts = range(0, count, self.batch)

        def load(start: int) -> list[Batch]:
            places = range(start, min(start + self.batch, count))
            return load_batches(self.loader, self.collate, [Position(0, place, number, place) for place in places])

        for batch in chain.from_iterable(map_ahead(load, starts, _THREADS, _THREADS + 1)):
            batch = batch.to(self.process.device)
            with self.process.autocast():
                final = self.network(batch.inputs(self.experiment.config.inputs, torch.channels_last)).final
            outputs = {task.name: decide(task, final[task.name].float()) for task in self.targets}
            for row, key in enumerate(batch.keys):
                labels = {name: label[row] for name, (label, _) in outputs.items()}
                confidence = {name: of[row] for name, (_, of) in outputs.items() if of is not None}
                yield LabelledFrame(key, labels, confidence)

    def encode(self, frame: LabelledFrame) -> EncodedSample:
        sample = encode_frame(frame, self.targets)
        for task in self.targets:
            if task.name in frame.confidence:
                counts = confidence_counts(task, frame.labels[task.name], frame.confidence[task.name])
                sample.statistics[task.name][CONFIDENCE] = counts
        return sample


def decide(task: Task, output: torch.Tensor) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels ``(B, H, W)`` (``(B, H, W, 3)`` for vectors) of a network's output, and their confidence.

    The confidence of a class is its softmax. A metric value or a vector has none; a value of 0 or less, which cannot
    be, becomes "no label".

    Args:
        output: ``(B, C, H, W)`` float32.
    """
    if task.kind == "classes":
        confidence, label = output.softmax(1).max(1)
        return label.to(torch.uint8).cpu().numpy(), confidence.cpu().numpy()
    if task.kind == "metric":
        return output[:, 0].clamp(min=0).cpu().numpy(), None
    return torch.nn.functional.normalize(output, dim=1).permute(0, 2, 3, 1).cpu().numpy(), None


def _job(experiment: Experiment, facts: dict[str, Any], mask: np.ndarray) -> dict[str, Any]:
    """What the labels follow from."""
    return {
        "checkpoint": facts["sha256"],
        "manifest": experiment.manifest.sha256,
        "frames": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest(),
        "batch": experiment.config.label.batch,
        "precision": experiment.config.train.precision,
        "size": experiment.config.data.size,
    }


def _claim(folder: Path, job: dict[str, Any]) -> None:
    """Make the folder this job's, removing what another checkpoint labelled."""
    if (folder / JOB).exists() and not same_json(read_json(folder / JOB, f"delete {folder}"), job):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / JOB).exists():
        write_json(folder / JOB, job)
    sweep(folder)


def _finished(folder: Path) -> bool:
    """Whether the manifest is there, and every file that it names (one that was damaged may have been deleted)."""
    return (folder / NAME).exists() and Manifest.load(folder, kind="labels").complete()


def _finish(experiment: Experiment, frames: Frames, facts: dict[str, Any], folder: Path) -> None:
    """Write the manifest."""
    infos, statistics = [], []
    for shard in frames.readers.shards:
        index = whole_index(folder / shard.file)
        if index is None:
            raise UserError("was damaged after it was written", file=folder / shard.file, cure="label again")
        infos.append(shard_info(folder, index))
        statistics.append(index["statistics"])
    targets = experiment.targets
    merged = statistics_of({TRAIN: statistics}, targets)[TRAIN]
    teacher = {
        "checkpoint_sha256": facts["sha256"],
        "step": facts["step"],
        "threads": torch.get_num_threads(),
        "config": to_dict(experiment.config),
    }
    source: Manifest = experiment.manifest
    label_manifest(folder, source, TRAIN, targets, infos, merged, teacher).save()


def _kept(experiment: Experiment) -> None:
    """Write ``kept.json``: what ``label.threshold`` keeps of the labels, which are the same for every threshold."""
    path, threshold = experiment.labels / "kept.json", experiment.config.label.threshold
    statistics = Manifest.load(experiment.labels, kind="labels").statistics[TRAIN]
    kept = {task.name: summary(task, statistics[task.name], threshold) for task in experiment.targets}
    if not path.exists() or not same_json(read_json(path, "delete it"), kept):
        write_json(path, kept)
