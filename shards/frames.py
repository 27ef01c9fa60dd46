"""Which frames an experiment sees, and which of their labels.

A *budget* says how many training frames may show a task's label. The frames stand in one queue that follows from
the seed alone: those that carry more labels first, then by a hash of their position in the split. A budget of n takes
the first n frames of the queue that carry the label, so budgets nest, and are the same for every experiment of a seed.
``dev`` frames come from the queue's other end.

A label that may not be seen is never read. It is the same as a label that does not exist.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from shards.assignment import NESTED, RULES, check_tasks, shown_by_file, shown_in_turn
from shards.errors import UserError
from shards.holes import FILL
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.members import picture_size
from shards.order import mix, mix_range
from shards.read import Readers
from shards.resize import resize_label
from shards.store import Place
from shards.window import Chosen

_BUDGET = 0xB0D6E7  # keeps the queue's random stream apart from the order's


class Frames:
    """The frames of a split with their visible labels.

    Args:
        manifest: the data set's.
        split: ``train``, ``val``, ...
        seed: of the run.
        budgets: by task; a task that is not named, or named with None, shows all its labels.
        assignment: which of its labels each frame shows, before the budgets: a rule or file of
            :mod:`shards.assignment`. A task with a budget of 0 takes no part in a rule, and ``dev`` frames keep all
            their labels.
        dev: frames at the queue's end that carry every label and are set aside.
        only: None for all but the ``dev`` frames; ``"dev"`` for those alone; a number for the first of them in the
            queue (how ``frames`` and ``val`` pick theirs).

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
        self.manifest, self.split, self.assignment = manifest, split, assignment
        self.readers = Readers(manifest, split)
        self.starts = np.cumsum([0] + [shard.samples for shard in self.readers.shards])
        self.count = int(self.starts[-1])
        carried = {task.name: self._carried(task.name) for task in manifest.tasks}
        self.pseudo: dict[str, np.ndarray] = {}
        self.sources: dict[str, LabelShards] = {}
        self.holes: dict[str, np.ndarray] = {}
        for task in budgets or ():
            manifest.task(task)
        limits = {task: budget for task, budget in (budgets or {}).items() if budget is not None}
        if not limits and not dev and only is None and assignment == NESTED:
            self.visible, self.chosen = carried, np.broadcast_to(True, self.count)
            return
        queue = self._queue(carried, seed)
        complete = np.logical_and.reduce(list(carried.values()))
        at_end = queue[complete[queue]][max(int(complete.sum()) - dev, 0) :] if dev else queue[:0]
        if len(at_end) < dev:
            hint = f"set dev to {len(at_end)} or less"
            raise UserError(f"{dev} frames, where {len(at_end)} carry every label", key="dev", hint=hint)
        kept = np.ones(self.count, bool)
        kept[at_end] = False
        if only == "dev":
            self.chosen, self.visible = ~kept, {name: has & ~kept for name, has in carried.items()}
            return
        if isinstance(only, int):
            left = queue[kept[queue]]
            if only > len(left):
                key = "val" if split == "val" else "frames"
                hint = f"set it to {len(left)} or less, or to null for all"
                what = f"{only} frames, where split {split} has {len(left)}{self._aside(dev)}"
                raise UserError(what, key=key, hint=hint)
            kept[left[only:]] = False
        self.chosen = kept
        self.visible = {
            name: self._within(limits[name], has & kept, queue, name, dev) if name in limits else has & kept
            for name, has in self._assigned(carried, limits, queue, seed).items()
        }

    def add_pseudo(self, labels: LabelShards, holes: bool = False) -> None:
        """Let a task's pseudo-labels stand in wherever its ground truth may not be seen.

        Args:
            holes: also for the pixels that ground truth leaves open (:mod:`shards.holes`).
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
        self.sources[name] = labels
        if holes:
            self.holes[name] = available & self.visible[name]

    @property
    def planes(self) -> dict[str, int]:
        """The arrays that stand beside pseudo-labels, each with its channels (:attr:`LabelShards.planes`)."""
        return {name: channels for source in self.sources.values() for name, channels in source.planes.items()}

    @property
    def labelled_by_a_teacher(self) -> np.ndarray:
        """Frames of which some label is a pseudo-label. bool ``(count,)``."""
        return np.logical_or.reduce([np.zeros(self.count, bool), *self.pseudo.values()])

    def with_inputs(self, inputs: Collection[str]) -> np.ndarray:
        """Frames whose inputs can all be seen. bool ``(count,)``."""
        masks = [self.visible[name] for name in inputs if name != "rgb"]
        return np.logical_and.reduce([self.chosen, *masks])

    def to_train(self, inputs: Collection[str], tasks: Collection[str]) -> np.ndarray:
        """What an epoch holds: frames whose inputs can be seen and that show at least one target. bool ``(count,)``.

        A target that the network also sees as an input teaches it nothing about the others, so it admits no frame
        (unless nothing else is predicted): with ``inputs: [rgb, depth]`` and ``labels: {semseg: 250, depth: 500}`` a
        teacher trains on 250 frames, and labels the other 250.
        """
        targets = [task for task in tasks if task not in inputs] or list(tasks)
        shown = [self.visible[task] for task in targets]
        shown += [self.pseudo[task] for task in targets if task in self.pseudo]
        return self.with_inputs(inputs) & np.logical_or.reduce(shown)

    def why_none_to_train(self, inputs: Collection[str], tasks: Collection[str]) -> str:
        """What keeps :meth:`to_train` from holding any frame, in words."""
        labels = [name for name in inputs if name != "rgb"]
        targets = [task for task in tasks if task not in inputs] or list(tasks)
        of_split = f"no {self.split} frame shows"
        for name in labels:
            if not self.with_inputs([name]).any():
                return f"{of_split} the label {name}, which is an input"
        if not self.with_inputs(inputs).any():
            return f"{of_split} the inputs {' and '.join(labels)} together"
        if not self.to_train([], targets).any():
            return f"{of_split} a label of what is to be predicted, {' or '.join(targets)}"
        return f"{of_split} both the input {' and '.join(labels)} and a label of {' or '.join(targets)}"

    def to_label(self, inputs: Collection[str], targets: Collection[str], shown: bool = False) -> np.ndarray:
        """What a teacher labels: frames whose inputs can be seen and some target cannot. bool ``(count,)``.

        Args:
            shown: also frames whose targets can all be seen, of which some pixels may have no label.
        """
        if shown:
            return self.with_inputs(inputs)
        hidden = [~self.visible[task] for task in targets]
        return self.with_inputs(inputs) & np.logical_or.reduce(hidden)

    def by_shard(self, mask: np.ndarray) -> list[np.ndarray]:
        """Positions within its shard of each frame of a mask, shard by shard."""
        bounds = zip(self.starts[:-1], self.starts[1:], strict=True)
        return [np.flatnonzero(mask[start:end]).astype(np.uint32) for start, end in bounds]

    def locate(self, index: int) -> tuple[int, int]:
        """The shard of a frame of the split, counted from 0, and its position there."""
        shard = int(np.searchsorted(self.starts, index, side="right")) - 1
        return shard, int(index - self.starts[shard])

    def file_of(self, key: str) -> Place:
        """The shard that holds a key. For errors: it reads one index after the other until it finds it."""
        readers = (self.readers[number] for number in range(len(self.readers.shards)))
        return next(reader.path for reader in readers if key in reader.positions)

    def read(
        self,
        shard: int,
        position: int,
        tasks: Collection[str],
        window: Chosen | None = None,
    ) -> tuple[str, dict[str, np.ndarray]]:
        """A frame's key, and its arrays at the size that they are stored in: RGB, and of the given tasks the label that
        may be seen, or a pseudo-label with what stands beside it (:meth:`LabelShards.read_arrays`), or both where it
        fills holes (:func:`shards.holes.filled`, to be called once they are of one size).

        Args:
            shard: its number.
            position: of the frame in it.
            window: what of the frame is wanted, so that nothing else need be decoded; None for all. Pseudo-labels then
                have the frame's resolution.

        Raises:
            UserError: when bytes are not those that were written, or there is no RGB.
        """
        row, reader = self.starts[shard] + position, self.readers[shard]
        key = reader.key(position)
        seen = {self.manifest.label_member(name) for name in tasks if self.visible[name][row]}
        arrays = reader.decode(position, lambda extension: extension in seen or extension.startswith("rgb."), window)
        for name, source in self.sources.items():
            if name not in tasks:
                continue
            fills = name in self.holes and self.holes[name][row]
            if not (fills or self.pseudo[name][row]):
                continue
            found = source.read_arrays(shard, key)
            if window and window.window and window.frame:
                found = {of: window.window.cut(resize_label(array, window.frame)) for of, array in found.items()}
            arrays |= {f"{name}.{FILL}": found.pop(name)} | found if fills else found
        if "rgb" not in arrays:
            raise UserError("has no RGB", file=reader.path, key=key, hint="prepare the data set again")
        return key, arrays

    def common_size(self, mask: np.ndarray, look: int = 64) -> tuple[int, int] | None:
        """Height and width of a mask's frames, if those looked at, spread evenly, all have the same.

        Raises:
            UserError: when bytes are not those that were written.
        """
        rows = np.flatnonzero(mask)
        sizes = set()
        for row in rows[np.unique(np.linspace(0, len(rows) - 1, min(look, len(rows))).round().astype(int))]:
            shard, position = self.locate(row)
            found = self.readers[shard].read(position, lambda name: name.startswith("rgb."))
            sizes |= {picture_size(data, name.rpartition(".")[2]) for name, data in found.items()}
        return sizes.pop() if len(sizes) == 1 else None

    def counts(self, mask: np.ndarray, tasks: Sequence[str]) -> dict[str, int]:
        """How many frames of a mask show each task's ground truth."""
        return {task: int((self.visible[task] & mask).sum()) for task in tasks}

    def _carried(self, task: str) -> np.ndarray:
        """Frames that hold a task's label; indexes are read only where the manifest's counts do not tell."""
        member = self.manifest.label_member(task)
        counts = [shard.labels.get(task, 0) for shard in self.readers.shards]
        if counts == [shard.samples for shard in self.readers.shards]:
            return np.broadcast_to(True, self.count)  # no memory, however many there are
        has = np.zeros(self.count, bool)
        self.readers.fetch_indexes()
        for number, (shard, count) in enumerate(zip(self.readers.shards, counts, strict=True)):
            start = self.starts[number]
            if count == shard.samples:
                has[start : start + count] = True
            elif count:
                reader = self.readers[number]
                has[start : start + len(reader)] = [member in reader.members(i) for i in range(len(reader))]
        return has

    def _queue(self, carried: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
        labels = np.sum([has.astype(np.int8) for has in carried.values()], axis=0)
        return np.lexsort((mix_range(mix(seed, _BUDGET), self.count), -labels))

    @staticmethod
    def _aside(dev: int) -> str:
        return f" besides the {dev} set aside (dev)" if dev else ""

    def _assigned(
        self, carried: Mapping[str, np.ndarray], limits: Mapping[str, int], queue: np.ndarray, seed: int
    ) -> Mapping[str, np.ndarray]:
        """The labels that the assignment lets frames show, budgets aside."""
        if self.assignment == NESTED:
            return carried
        if self.assignment in RULES:
            taking_part = {name: has for name, has in carried.items() if limits.get(name) != 0 and has.any()}
            check_tasks(self.assignment, list(taking_part))
            return {**carried, **shown_in_turn(self.assignment, seed, taking_part, queue)}
        self.readers.fetch_indexes()
        positions = {
            key: int(self.starts[number]) + position
            for number in range(len(self.readers.shards))
            for key, position in self.readers[number].positions.items()
        }
        return shown_by_file(Path(self.assignment), carried, positions)

    def _within(self, budget: int, has: np.ndarray, queue: np.ndarray, task: str, dev: int) -> np.ndarray:
        queue = queue[has[queue]]
        if budget > len(queue):
            whose = "carry the label" if self.assignment == NESTED else f"show the label by {self.assignment!r}"
            raise UserError(
                f"{budget} frames, where {len(queue)} {whose}{self._aside(dev)}",
                file=self.manifest.path,
                key=f"labels.{task}",
                hint=f"set it to {len(queue)} or less, or to null for all",
            )
        mask = np.zeros(self.count, bool)
        mask[queue[:budget]] = True
        return mask
