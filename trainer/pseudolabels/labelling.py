"""The teacher's pass: frames with visible inputs and a hidden target get pseudo-labels, as label shards.

Any number of processes label together (:mod:`trainer.pseudolabels.sharing`): the ranks of one launch, and whole jobs
that join or die at any time. Decoding runs ahead of the network in threads, encoding and writing behind it. Batches
never span shards, so a frame's label does not depend on which process labels which shard; a shard that is whole is not
labelled again.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from shards.atomic import read_json, sweep, write_json
from shards.errors import UserError
from shards.frames import Frames
from shards.labels import LabelledFrame, encode_frame, label_manifest, write_label_shard
from shards.log import logger
from shards.manifest import NAME, Manifest, same_json, statistics_of
from shards.prefetch import Prefetch, sources_of
from shards.stream import Position
from shards.write import EncodedSample, shard_info
from trainer.averaging import outputs_of
from trainer.data import Batch, Collate, FrameLoader, load_batches
from trainer.decision import soft_label
from trainer.experiment import TRAIN, Experiment
from trainer.kinds import learning
from trainer.model.checked import predictions_of
from trainer.overlap import Background, map_ahead, threads_per_rank
from trainer.progress import progress
from trainer.pseudolabels.job import is_finished, is_job, job_note, job_of, soft_labels_of
from trainer.pseudolabels.kept import CONFIDENCE, confidence_counts, summary
from trainer.pseudolabels.sharing import POLL, SharedShards, tidy
from trainer.pseudolabels.stored import check_store, redacted_config, store_labels
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.runs.lease import Lease, hold_lease
from trainer.runs.status import mark_finished, new_launch, record_stage
from trainer.runtime import accelerator, device_name

_THREADS = threads_per_rank()
_AHEAD = 2
"""Shards of a store that are fetched while one is labelled; other processes may label them."""


def label(experiment: Experiment) -> dict[str, Any]:
    """Label with an experiment's network, together with other processes, unless its labels exist already.

    Returns:
        The content of ``kept.json`` beside the shards (:mod:`trainer.pseudolabels.kept`).

    Raises:
        UserError: when the network is not trained, or with another configuration, has nothing to label, or a disk is
            full; or labelling was begun on another kind of device.
    """
    folder = experiment.labels
    frames, mask = experiment.frames_to_label()
    check_store(experiment)
    network, facts = checkpoint.load_exported(experiment.exported, experiment.config.model.name)
    claim(experiment)
    process = accelerator(experiment.config.train.precision, experiment.config.train.timeout)
    job = job_of(experiment, facts, mask)
    if not is_finished(folder, job):
        settings = _claim_folder(folder, job, device_name(process.device))
        with record_stage(experiment.folder, "label", new_launch()), _use_threads(settings["threads"]):
            names = [shard.file for shard in frames.readers.shards]
            with SharedShards(folder, names, partial(_check_job, folder, job)) as shared:
                _Pass(experiment, frames, mask, network, process).run(shared)
                finish = partial(_finish, experiment, frames, facts, settings)
                shared.run_once(NAME, lambda: (folder / NAME).exists(), finish)
    else:
        mark_finished(experiment.folder, "label")
    tidy(folder)
    store_labels(experiment)
    return _write_kept(experiment, Manifest.load(folder, kind="labels").statistics[TRAIN])


class _Pass:
    """One pass of a network over the frames of a mask."""

    def __init__(
        self, experiment: Experiment, frames: Frames, mask: np.ndarray, network: torch.nn.Module, process: Accelerator
    ) -> None:
        config = experiment.config
        self.experiment, self.frames, self.targets = experiment, frames, experiment.targets
        self.process = process
        self.network = network.to(self.process.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.positions = frames.by_shard(mask)
        self.loader = FrameLoader(frames, self.positions, config.inputs, [], size=experiment.size)
        self.collate = Collate(self.loader.tasks)
        self.batch = config.label.batch_size
        self.soft = soft_labels_of(experiment)

    def run(self, shared: SharedShards) -> None:
        """Label the shards that no other process labels, until all exist."""
        numbers = {shard.file: number for number, shard in enumerate(self.frames.readers.shards)}
        frames = {name: len(self.positions[number]) for name, number in numbers.items()}
        counted = set(shared.known_whole())
        done, total = sum(frames[name] for name in counted), sum(frames.values())
        title, show = f"{self.experiment.config.experiment}: label", self.process.is_main_process
        writer = Background()
        with Prefetch(sources_of(self.frames)) as ahead, progress(title, total, done=done, show=show) as report:
            while shared.remaining and not (shared.folder / NAME).exists():
                idle = True
                for name, lease in shared.take():
                    new = name not in counted
                    counted.add(name)
                    if lease is None:
                        if new:
                            report(frames[name])
                        continue
                    upcoming = [numbers[shard] for shard in (name, *shared.next_after(name, _AHEAD))]
                    ahead.update(number for number in upcoming if len(self.positions[number]))
                    samples = []
                    # bounded, since a frame's arrays are many times larger than its encoded labels
                    for sample in map_ahead(self.encode, self.label_shard(numbers[name]), _THREADS, 2 * self.batch):
                        samples.append(sample)
                        if new:
                            report(1)
                    write = partial(self.write, shared.folder / name, samples, lease)
                    writer.submit(partial(shared.write, name, lease, write))
                    idle = False
                writer.wait()
                if idle and shared.remaining:
                    time.sleep(POLL)
        writer.close()

    def write(self, path: Path, samples: list[EncodedSample], lease: Lease) -> None:
        def guarded() -> Iterator[EncodedSample]:
            yield from samples
            lease.check()  # everything is written, and nothing has its final name yet

        write_label_shard(path.parent, path.name, guarded(), self.targets)

    @torch.no_grad()
    def label_shard(self, number: int) -> Iterator[LabelledFrame]:
        """Label the frames of a source shard."""
        count = len(self.positions[number])
        starts = range(0, count, self.batch)

        def load(start: int) -> list[Batch]:
            places = range(start, min(start + self.batch, count))
            return load_batches(self.loader, self.collate, [Position(0, place, number, place) for place in places])

        for batch in chain.from_iterable(map_ahead(load, starts, _THREADS, _THREADS + 1)):
            batch = batch.to(self.process.device)
            inputs = batch.inputs(self.experiment.config.inputs, torch.channels_last)
            flip = self.experiment.config.label.flip
            outputs, agreement = outputs_of(self.final, inputs, self.targets, self.loader.tasks, flip=flip)
            labels, confidences, soft = {}, {}, {}
            for task in self.targets:
                output = outputs[task.name]
                labels[task.name] = learning(task).decide(output).cpu().numpy()
                if (confidence := agreement.get(task.name, learning(task).confidence(output))) is not None:
                    confidences[task.name] = confidence.cpu().numpy()
                if task.name in self.soft:
                    classes, scale = self.soft[task.name]["classes"], self.soft[task.name]["scale"]
                    soft[task.name] = soft_label(output, classes, scale)
            for row, key in enumerate(batch.keys):
                yield LabelledFrame(key, _row(labels, row), _row(confidences, row), _row(soft, row))

    def final(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return predictions_of(self.network, inputs, self.targets).final

    def encode(self, frame: LabelledFrame) -> EncodedSample:
        sample = encode_frame(frame, self.targets)
        for task in self.targets:
            if task.name in frame.confidence:
                counts = confidence_counts(task, frame.labels[task.name], frame.confidence[task.name])
                sample.statistics[task.name][CONFIDENCE] = counts
        return sample


def _row(arrays: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: array[row] for name, array in arrays.items()}


def _claim_folder(folder: Path, job: dict[str, Any], device: str) -> dict[str, Any]:
    """Claim the folder for this job, removing labels of another checkpoint.

    Returns:
        The settings of the first process that all others must share: device and threads.
    """
    settings = {"device": device, "threads": torch.get_num_threads()}
    folder.mkdir(parents=True, exist_ok=True)
    with hold_lease(folder.parent, folder.name):
        note = job_note(folder)
        if (entry := note.read()) is not None and not is_job(entry, job):
            stale = folder.with_name(f".{folder.name}.replaced.tmp")
            shutil.rmtree(stale, ignore_errors=True)
            folder.rename(stale)  # atomic: anything that another process still writes goes with it
            shutil.rmtree(stale, ignore_errors=True)
            folder.mkdir()
            entry = None
        if entry is None:
            note.write({"job": job, "made": settings})
        elif (folder / NAME).exists() and not is_finished(folder, job):
            (folder / NAME).unlink()  # it names files that are missing, and is written last again
    if entry is None:
        return settings
    if entry["made"]["device"] != device:
        message = f"was begun on {entry['made']['device']}, and this process runs on {device}: labels would differ"
        raise UserError(message, file=folder, key="device", hint="continue it on that device, or delete it")
    return entry["made"]


@contextmanager
def _use_threads(count: int) -> Iterator[None]:
    """Have torch compute with a number of threads, which affects the last bits of a label."""
    previous = torch.get_num_threads()
    if count != previous:
        logger.info(f"labels with {count} threads, as the pass was begun, and not with {previous}")
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(previous)


def _check_job(folder: Path, job: dict[str, Any]) -> None:
    entry = job_note(folder).read()
    if entry is None or not is_job(entry, job):
        message = "was deleted or given to labels of other options while this process labelled"
        raise UserError(message, file=folder, hint="start the command again if its labels are still wanted")


def _finish(
    experiment: Experiment, frames: Frames, facts: dict[str, Any], settings: dict[str, Any], check: Callable[[], None]
) -> None:
    """Write kept.json and the manifest: all shards are whole, so no temporary file is in use."""
    folder = experiment.labels
    sweep(folder)
    infos, statistics = [], []
    for shard in frames.readers.shards:
        index = read_json(folder / shard.index_file, "label again")
        infos.append(shard_info(folder, index))
        statistics.append(index["statistics"])
    targets = experiment.targets
    merged = statistics_of({TRAIN: statistics}, targets)[TRAIN]
    teacher = {
        "checkpoint_sha256": facts["sha256"],
        "step": facts["step"],
        "threads": settings["threads"],
        "config": redacted_config(experiment),
    }
    source: Manifest = experiment.manifest
    manifest = label_manifest(folder, source, TRAIN, targets, infos, merged, teacher, soft_labels_of(experiment))
    check()
    _write_kept(experiment, merged)
    manifest.save()


def _write_kept(experiment: Experiment, statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Write and return ``kept.json``: what ``label.threshold`` keeps of the labels, which do not depend on it."""
    path, threshold = experiment.labels / "kept.json", experiment.config.label.threshold
    kept = {task.name: summary(task, statistics[task.name], threshold) for task in experiment.targets}
    if not path.exists() or not same_json(read_json(path, "delete it"), kept):
        write_json(path, kept)
    return kept
