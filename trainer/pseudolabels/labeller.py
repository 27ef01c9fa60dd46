"""A network's pass over samples, shard by shard.

Decoding runs ahead of the network in threads; deciding, encoding and writing run behind it. Batches never span shards,
so a frame's label does not depend on which process labels which shard.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.labels import LabelledFrame, encode_frame, write_label_shard
from shards.manifest import NAME
from shards.prefetch import Prefetch, readers_of
from shards.quantile import COUNTS_NEAR_1, counts_near_1
from shards.tasks import Task
from shards.write import EncodedSample
from trainer.averaging import Outputs, outputs_of
from trainer.batch import Collate
from trainer.data import FrameLoader, load_batches
from trainer.decision import soft_label
from trainer.kinds import learning
from trainer.model.checked import predictions_of
from trainer.overlap import Background, map_ahead, threads_per_rank
from trainer.progress import progress
from trainer.pseudolabels.kept import CONFIDENCE, confidence_counts
from trainer.pseudolabels.sharing import POLL, SharedShards
from trainer.runs.lease import Lease

_AHEAD = 2
"""Shards of a store that are fetched while one is labelled; other processes may label them."""
_Batch = tuple[list[str], Outputs, Outputs]
"""Keys, and the network's outputs and their agreement by task."""


class _Taken(NamedTuple):
    """A shard that this process labels: its lease, its number, and whether its frames are not yet counted."""

    name: str
    lease: Lease
    number: int
    new: bool


class Labeller:
    """Labels samples with a network.

    Args:
        network: in evaluation mode, on the device.
        device: where it computes.
        samples: the samples, with the labels that are inputs.
        inputs: names of the network's inputs.
        tasks: the tasks that are labelled.
        batch_size: samples of a forward pass.
        flip: whether outputs are averaged with those for the mirror image.
        soft: what soft labels store, by task (:func:`trainer.pseudolabels.job.soft_labels_of`).
    """

    def __init__(
        self,
        network: torch.nn.Module,
        device: torch.device,
        samples: ShardDataset,
        *,
        inputs: Sequence[str],
        tasks: tuple[Task, ...],
        batch_size: int,
        flip: bool,
        soft: Mapping[str, Mapping[str, int]],
    ) -> None:
        self.network, self.device, self.samples = network, device, samples
        self.inputs, self.tasks = inputs, tasks
        self.batch_size, self.flip, self.soft = batch_size, flip, soft
        self.loader, self.collate = FrameLoader(samples), Collate(samples.tasks)
        self.threads = threads_per_rank()

    def run(self, shared: SharedShards, title: str, *, show: bool) -> None:
        """Label the shards that no other process labels, until all exist.

        Args:
            shared: the shards.
            title: title of the progress bar.
            show: whether it is shown.
        """
        numbers = {shard.file: number for number, shard in enumerate(self.samples.frames.readers.shards)}
        frames = {name: len(self.samples.shard(number)) for name, number in numbers.items()}
        counted = set(shared.known_whole())
        done, total = sum(frames[name] for name in counted), sum(frames.values())
        writer = Background()
        with Prefetch(readers_of(self.samples.frames)) as ahead, progress(title, total, done=done, show=show) as report:

            def take() -> Iterator[_Taken]:
                for name, lease in shared.take():
                    new = name not in counted
                    counted.add(name)
                    if lease is not None:
                        upcoming = [numbers[shard] for shard in (name, *shared.next_after(name, _AHEAD))]
                        ahead.update(number for number in upcoming if len(self.samples.shard(number)))
                        yield _Taken(name, lease, numbers[name], new)
                    elif new:
                        report(frames[name])

            while shared.remaining and not (shared.folder / NAME).exists():
                idle = True
                for shard, samples in self.label(take(), report):
                    write = partial(self.write, shared.folder / shard.name, samples, shard.lease)
                    writer.submit(partial(shared.write, shard.name, shard.lease, write))
                    idle = False
                writer.wait()
                if idle and shared.remaining:
                    time.sleep(POLL)
        writer.close()

    def write(self, path: Path, samples: list[EncodedSample], lease: Lease) -> None:
        """Write a label shard under a lease."""

        def guarded() -> Iterator[EncodedSample]:
            yield from samples
            lease.check()  # everything is written, and nothing has its final name yet

        write_label_shard(path.parent, path.name, guarded(), self.tasks)

    def label(
        self, shards: Iterable[_Taken], report: Callable[[int], object]
    ) -> Iterator[tuple[_Taken, list[EncodedSample]]]:
        """Yield each shard with its encoded labels. Labels are decided and encoded while the network computes the next
        ones, also those of the next shard, which is taken after the last forward pass of the one before.

        Args:
            shards: the shards to label.
            report: called for each frame that is not yet counted.
        """

        def outputs() -> Iterator[tuple[_Taken, _Batch | None]]:
            for shard in shards:
                yield from ((shard, batch) for batch in self.outputs(shard.number))
                yield shard, None  # the end of the shard, which may hold no frame

        def decide(item: tuple[_Taken, _Batch | None]) -> list[tuple[_Taken, LabelledFrame | None]]:
            shard, batch = item
            return [(shard, frame) for frame in (self.decide(batch) if batch else [None])]

        def encode(item: tuple[_Taken, LabelledFrame | None]) -> tuple[_Taken, EncodedSample | None]:
            shard, frame = item
            return shard, None if frame is None else self.encode(frame)

        samples: list[EncodedSample] = []
        labelled = chain.from_iterable(map_ahead(decide, outputs(), 1, 2))
        # bounded, since a frame's arrays are many times larger than its encoded labels; eager, so that a finished shard
        # does not wait for frames of the next ones
        for shard, sample in map_ahead(encode, labelled, self.threads, 2 * self.batch_size, eager=True):
            if sample is None:
                yield shard, samples
                samples = []
                continue
            samples.append(sample)
            if shard.new:
                report(1)

    @torch.no_grad()
    def outputs(self, number: int) -> Iterator[_Batch]:
        """Yield, for each batch of a source shard, its keys, and the network's outputs and their agreement by task."""
        indices = self.samples.shard(number)
        batches = [indices[start : start + self.batch_size] for start in range(0, len(indices), self.batch_size)]
        load = partial(load_batches, self.loader, self.collate)
        for batch in chain.from_iterable(map_ahead(load, batches, self.threads, self.threads + 1)):
            batch = batch.to(self.device)
            inputs = batch.inputs(self.inputs, torch.channels_last)
            yield batch.keys, *outputs_of(self.final, inputs, self.tasks, self.samples.tasks, flip=self.flip)

    def decide(self, batch: _Batch) -> list[LabelledFrame]:
        """Return the labels of a batch, their confidence and soft labels.

        Raises:
            UserError: naming the sample, when a label or a confidence is not finite.
        """
        keys, outputs, agreement = batch
        labels, confidences, soft = {}, {}, {}
        for task in self.tasks:
            output = outputs[task.name]
            labels[task.name] = learning(task).decide(output).cpu().numpy()
            if (confidence := agreement.get(task.name, learning(task).confidence(output))) is not None:
                confidences[task.name] = confidence.cpu().numpy()
            self._check_finite(task, keys, labels, confidences)
            if task.name in self.soft:
                classes, scale = self.soft[task.name]["classes"], self.soft[task.name]["scale"]
                soft[task.name] = soft_label(output, classes, scale)
        return [
            LabelledFrame(key, _row(labels, row), _row(confidences, row), _row(soft, row))
            for row, key in enumerate(keys)
        ]

    def _check_finite(self, task: Task, keys: Sequence[str], *arrays_by_task: Mapping[str, np.ndarray]) -> None:
        for arrays in arrays_by_task:
            if task.name in arrays and not (finite := np.isfinite(arrays[task.name])).all():
                key = keys[int(np.argmin(finite.reshape(len(keys), -1).all(1)))]
                message = f"the network's prediction of {task.name} is not finite"
                hint = "label with a network whose training did not diverge"
                raise UserError(message, file=self.samples.frames.file_of(key), key=key, hint=hint)

    def final(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the network's predictions by task."""
        return predictions_of(self.network, inputs, self.tasks).final

    def encode(self, frame: LabelledFrame) -> EncodedSample:
        """Encode a frame's labels, and count their confidence."""
        sample = encode_frame(frame, self.tasks)
        for task in self.tasks:
            if task.name in frame.confidence:
                arrays = frame.labels[task.name], frame.confidence[task.name]
                sample.statistics[task.name][CONFIDENCE] = confidence_counts(task, *arrays)
                sample.statistics[task.name][COUNTS_NEAR_1] = counts_near_1(task, *arrays)
        return sample


def _row(arrays: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: array[row] for name, array in arrays.items()}
