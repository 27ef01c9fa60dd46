"""Which frames of a split an experiment sees, and which of their labels.

A label that may not be seen is never read. It is equivalent to a label that does not exist.
"""

from collections.abc import Collection, Mapping, Sequence
from copy import copy

import numpy as np

from shards.assignment import NESTED
from shards.budgets import Queue
from shards.errors import UserError
from shards.evenly import evenly_spaced
from shards.holes import FILL
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.members import picture_size
from shards.read import Readers
from shards.resize import resize_label
from shards.store import Place
from shards.window import LazyWindow


class Frames:
    """The frames of a split with their visible labels.

    Args:
        manifest: manifest of the data set.
        split: ``train``, ``val``, ...
        seed: seed of the run.
        budgets: budget of each task (:mod:`shards.budgets`); a task that is missing, or has None, shows all its labels.
        assignment: which of its labels each frame shows, before the budgets: a rule or file of
            :mod:`shards.assignment`. A task with a budget of 0 takes no part in a rule, and ``dev`` frames keep all
            their labels.
        dev: frames at the queue's end that carry every label and are set aside.
        only: None for all but the ``dev`` frames; ``"dev"`` for the ``dev`` frames alone; a number n for the first n
            other frames in the queue (used by the options ``frames`` and ``val``).

    Raises:
        UserError: when a budget is larger than the data, or an assignment does not fit them.
    """

    def __init__(
        self,
        manifest: Manifest,
        split: str,
        *,
        seed: int,
        budgets: Mapping[str, int | None] | None = None,
        assignment: str = NESTED,
        dev: int = 0,
        only: int | str | None = None,
    ) -> None:
        self.manifest, self.split = manifest, split
        self.readers = Readers(manifest, split)
        self.starts = np.cumsum([0] + [shard.samples for shard in self.readers.shards])
        self.count = int(self.starts[-1])
        self.pseudo: dict[str, np.ndarray] = {}
        self.label_shards: dict[str, LabelShards] = {}
        self.holes: dict[str, np.ndarray] = {}
        for task in budgets or ():
            manifest.task(task)
        limits = {task: budget for task, budget in (budgets or {}).items() if budget is not None}
        labelled = {task.name: self._label_mask(task.name) for task in manifest.tasks}
        if not limits and not dev and only is None and assignment == NESTED:
            self.visible, self.chosen = labelled, np.broadcast_to(True, self.count)
            return
        queue = Queue(labelled, seed, split, manifest.path, dev)
        if only == "dev":
            self.chosen = queue.dev
            self.visible = {name: mask & self.chosen for name, mask in labelled.items()}
        else:
            self.chosen = queue.first(None if only is None else int(only))
            self.visible = queue.visible(self.chosen, limits, assignment, self._positions)

    def restrict(self, mask: np.ndarray) -> "Frames":
        """Return these frames without those outside a mask, bool ``(count,)``. They share open shards."""
        frames = copy(self)
        frames.label_shards = dict(self.label_shards)
        if mask.all():
            frames.visible, frames.pseudo, frames.holes = dict(self.visible), dict(self.pseudo), dict(self.holes)
            return frames  # masks of a whole split take no memory
        frames.chosen = self.chosen & mask
        for masks in ("visible", "pseudo", "holes"):
            setattr(frames, masks, {name: visible & mask for name, visible in getattr(self, masks).items()})
        return frames

    def without_pseudo(self) -> "Frames":
        """Return these frames without a teacher's labels. They share open shards."""
        frames = copy(self)
        frames.label_shards, frames.pseudo, frames.holes = {}, {}, {}
        return frames

    def add_pseudo(self, labels: LabelShards, holes: bool = False) -> None:
        """Use a task's pseudo-labels wherever its ground truth may not be seen.

        Args:
            holes: also use them for the pixels that ground truth leaves unlabelled (:mod:`shards.holes`).
        """
        available = np.zeros(self.count, bool)
        labels.readers.fetch_indexes()
        self.readers.fetch_indexes()
        for number in range(len(self.readers.shards)):
            keys = labels.keys(number)
            if keys:
                positions = self.readers[number].positions
                available[[self.starts[number] + positions[key] for key in keys]] = True
        name = labels.task.name
        self.pseudo[name] = available & self.chosen & ~self.visible[name]
        self.label_shards[name] = labels
        if holes:
            self.holes[name] = available & self.visible[name]

    def keep_open(self, count: int) -> None:
        """Keep at least so many shards open, and of each sidecar of pseudo-labels as many: opening one parses its
        index."""
        for readers in (self.readers, *(labels.readers for labels in self.label_shards.values())):
            readers.keep = max(readers.keep, count)

    @property
    def planes(self) -> dict[str, int]:
        """The channels of each array that accompanies pseudo-labels, by name (:attr:`LabelShards.planes`)."""
        return {name: channels for labels in self.label_shards.values() for name, channels in labels.planes.items()}

    @property
    def labelled_by_a_teacher(self) -> np.ndarray:
        """Mask of the frames with at least one pseudo-label. bool ``(count,)``."""
        return np.logical_or.reduce([np.zeros(self.count, bool), *self.pseudo.values()])

    def with_inputs(self, inputs: Collection[str]) -> np.ndarray:
        """Return the mask of the frames whose inputs can all be seen. bool ``(count,)``."""
        masks = [self.visible[name] for name in inputs if name != "rgb"]
        return np.logical_and.reduce([self.chosen, *masks])

    def to_train(self, inputs: Collection[str], tasks: Collection[str]) -> np.ndarray:
        """Return the mask of an epoch's frames, whose inputs can be seen and which show a target. bool ``(count,)``.

        A target that the network also sees as an input teaches it nothing about the others, so it alone admits no frame
        (unless nothing else is predicted): with ``inputs: [rgb, depth]`` and ``labels: {semseg: 250, depth: 500}`` a
        teacher trains on 250 frames, and labels the other 250.
        """
        targets = [task for task in tasks if task not in inputs] or list(tasks)
        masks = [self.visible[task] for task in targets]
        masks += [self.pseudo[task] for task in targets if task in self.pseudo]
        return self.with_inputs(inputs) & np.logical_or.reduce(masks)

    def why_none_to_train(self, inputs: Collection[str], tasks: Collection[str]) -> str:
        """Explain in a sentence why :meth:`to_train` selects no frame."""
        labels = [name for name in inputs if name != "rgb"]
        targets = [task for task in tasks if task not in inputs] or list(tasks)
        if not self.chosen.any():
            return f"no {self.split} frame is chosen"
        subject = f"no {self.split} frame shows"
        for name in labels:
            if not self.with_inputs([name]).any():
                return f"{subject} the label {name}, which is an input"
        if not self.with_inputs(inputs).any():
            return f"{subject} the inputs {' and '.join(labels)} together"
        if not self.to_train([], targets).any():
            return f"{subject} a label of what is to be predicted, {' or '.join(targets)}"
        return f"{subject} both the input {' and '.join(labels)} and a label of {' or '.join(targets)}"

    def to_label(self, inputs: Collection[str], targets: Collection[str], shown: bool = False) -> np.ndarray:
        """Return the mask of a teacher's frames, whose inputs can be seen and some target cannot. bool ``(count,)``.

        Args:
            shown: also select frames whose targets can all be seen, where some pixels may have no label.
        """
        if shown:
            return self.with_inputs(inputs)
        hidden = [~self.visible[task] for task in targets]
        return self.with_inputs(inputs) & np.logical_or.reduce(hidden)

    def locate(self, index: int) -> tuple[int, int]:
        """Return the shard of a frame of the split, counted from 0, and its position in the shard."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        return shard, int(index - self.starts[shard])

    def file_of(self, key: str) -> Place:
        """Return the shard that holds a key. It reads one index after the other, so it is for error messages only."""
        readers = (self.readers[number] for number in range(len(self.readers.shards)))
        return next(reader.path for reader in readers if key in reader.positions)

    def read(
        self,
        shard: int,
        position: int,
        tasks: Collection[str],
        window: LazyWindow | None = None,
    ) -> tuple[str, dict[str, np.ndarray]]:
        """Return a frame's key and its arrays at their stored size: RGB, and for each given task the label that may be
        seen, or a pseudo-label with the arrays that accompany it (:meth:`LabelShards.read_arrays`), or both where it
        fills holes (:func:`shards.holes.fill_holes`, to be called once they are of one size).

        Args:
            shard: number of the shard.
            position: position of the frame in the shard.
            window: part of the frame to read, so that nothing else has to be decoded; None for all of it. With a window
                pseudo-labels have the frame's resolution.

        Raises:
            UserError: when bytes differ from those that were written, or there is no RGB.
        """
        row, reader = self.starts[shard] + position, self.readers[shard]
        key = reader.key(position)
        members = {self.manifest.label_member(name) for name in tasks if self.visible[name][row]}
        arrays = reader.decode(position, lambda extension: extension in members or extension.startswith("rgb."), window)
        for name, labels in self.label_shards.items():
            if name not in tasks:
                continue
            fills = name in self.holes and self.holes[name][row]
            if not (fills or self.pseudo[name][row]):
                continue
            pseudo = labels.read_arrays(shard, key)
            if window and window.window and window.frame:
                pseudo = {part: window.window.cut(resize_label(array, window.frame)) for part, array in pseudo.items()}
            arrays |= {f"{name}.{FILL}": pseudo.pop(name)} | pseudo if fills else pseudo
        if "rgb" not in arrays:
            raise UserError("has no RGB", file=reader.path, key=key, hint="prepare the data set again")
        return key, arrays

    def truth(self, shard: int, position: int, task: str) -> np.ndarray | None:
        """Return a frame's own label of a task at its stored size; None where it has none, or it may not be seen."""
        if not self.visible[task][self.starts[shard] + position]:
            return None
        member = self.manifest.label_member(task)
        return self.readers[shard].decode(position, member.__eq__)[task]

    def common_size(self, mask: np.ndarray, max_frames: int = 64) -> tuple[int, int] | None:
        """Return the common height and width of a mask's frames; None if ``max_frames`` evenly spaced ones differ.

        Raises:
            UserError: when bytes differ from those that were written.
        """
        rows = np.flatnonzero(mask)
        sizes = set()
        for row in rows[evenly_spaced(len(rows), max_frames)]:
            shard, position = self.locate(row)
            members = self.readers[shard].read(position, lambda name: name.startswith("rgb."))
            sizes |= {picture_size(data, name.rpartition(".")[2]) for name, data in members.items()}
        return sizes.pop() if len(sizes) == 1 else None

    def counts(self, mask: np.ndarray, tasks: Sequence[str]) -> dict[str, int]:
        """Return how many frames of a mask show each task's ground truth."""
        return {task: int((self.visible[task] & mask).sum()) for task in tasks}

    def _positions(self) -> dict[str, int]:
        """Return the position in the split of every key."""
        self.readers.fetch_indexes()
        return {
            key: int(self.starts[number]) + position
            for number in range(len(self.readers.shards))
            for key, position in self.readers[number].positions.items()
        }

    def _label_mask(self, task: str) -> np.ndarray:
        """Return the mask of frames with a task's label, reading indexes only where the manifest leaves it open."""
        member = self.manifest.label_member(task)
        counts = [shard.labels.get(task, 0) for shard in self.readers.shards]
        if counts == [shard.samples for shard in self.readers.shards]:
            return np.broadcast_to(True, self.count)  # takes no memory
        mask = np.zeros(self.count, bool)
        self.readers.fetch_indexes()
        for number, (shard, count) in enumerate(zip(self.readers.shards, counts, strict=True)):
            start = self.starts[number]
            if count == shard.samples:
                mask[start : start + count] = True
            elif count:
                reader = self.readers[number]
                mask[start : start + len(reader)] = [member in reader.members(i) for i in range(len(reader))]
        return mask
