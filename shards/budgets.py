"""Budgets: how many training frames may show a task's label, and which frames those are.

The frames of a split form one queue that follows from the seed alone: those that carry more labels first, then by a
hash of their position in the split. A budget of n takes the first n frames of the queue that carry the label, so
budgets nest, and are the same for every experiment of a seed. ``dev`` frames come from the queue's other end.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from shards.arguments import check_count
from shards.assignment import NESTED, RULES, assign_by_rule, assign_from_file, check_tasks
from shards.errors import UserError
from shards.order import mix, mix_range
from shards.store import Place

_BUDGET = 0xB0D6E7  # separates the queue's random stream from the order's


class Queue:
    """The frames of a split in the order in which they are labelled, and those set aside at its end.

    Args:
        labelled: by task, which frames carry its label, bool ``(count,)``.
        seed: seed of the run.
        split: name of the split.
        file: the manifest, for error messages.
        dev: frames at the queue's end that carry every label and are set aside.

    Raises:
        UserError: when fewer than ``dev`` frames carry every label, or it is negative.
    """

    def __init__(self, labelled: Mapping[str, np.ndarray], seed: int, split: str, file: Place, dev: int = 0) -> None:
        check_count("dev", dev, 0)
        self.labelled, self.seed, self.split, self.file = labelled, seed, split, file
        labels = np.sum([mask.astype(np.int8) for mask in labelled.values()], axis=0)
        self.count = len(labels)
        self.frames = np.lexsort((mix_range(mix(seed, _BUDGET), self.count), -labels))
        complete = np.logical_and.reduce(list(labelled.values()))
        aside = self.frames[complete[self.frames]][max(int(complete.sum()) - dev, 0) :] if dev else self.frames[:0]
        if len(aside) < dev:
            hint = f"set dev to {len(aside)} or less"
            raise UserError(f"{dev} frames, where {len(aside)} carry every label", key="dev", hint=hint)
        self.dev = np.zeros(self.count, bool)
        self.dev[aside] = True
        self._besides = f" besides the {dev} set aside (dev)" if dev else ""

    def first(self, only: int | None) -> np.ndarray:
        """Return the mask of the first ``only`` frames, or of all, without those set aside. bool ``(count,)``.

        Raises:
            UserError: when there are fewer, or ``only`` is negative.
        """
        chosen = ~self.dev
        if only is not None:
            check_count("val" if self.split == "val" else "frames", only, 0)
            others = self.frames[chosen[self.frames]]
            if only > len(others):
                key = "val" if self.split == "val" else "frames"
                hint = f"set it to {len(others)} or less, or to null for all"
                message = f"{only} frames, where split {self.split} has {len(others)}{self._besides}"
                raise UserError(message, key=key, hint=hint)
            chosen[others[only:]] = False
        return chosen

    def visible(
        self,
        chosen: np.ndarray,
        budgets: Mapping[str, int],
        assignment: str,
        positions: Callable[[], Mapping[str, int]],
    ) -> dict[str, np.ndarray]:
        """Return by task the mask of the frames that show its label. bool ``(count,)``.

        Args:
            chosen: the frames that are used, bool ``(count,)``.
            budgets: how many of them show a task's label; a task that is missing shows all that it is assigned.
            assignment: a rule or file of :mod:`shards.assignment`.
            positions: returns the position of every key of the split; called where a file assigns labels.

        Raises:
            UserError: when a budget is negative or larger than the data, or an assignment does not fit them.
        """
        for name, budget in budgets.items():
            check_count(f"labels.{name}", budget, 0)
        return {
            name: self._take(budgets[name], mask & chosen, name, assignment) if name in budgets else mask & chosen
            for name, mask in self._assign(budgets, assignment, positions).items()
        }

    def _assign(
        self, budgets: Mapping[str, int], assignment: str, positions: Callable[[], Mapping[str, int]]
    ) -> Mapping[str, np.ndarray]:
        """Return by task the mask of the frames that show its label by the assignment, before any budget."""
        if assignment == NESTED:
            return self.labelled
        if assignment not in RULES:
            return assign_from_file(Path(assignment), self.labelled, positions())
        assignable = {name: mask for name, mask in self.labelled.items() if budgets.get(name) != 0 and mask.any()}
        check_tasks(assignment, list(assignable))
        return {**self.labelled, **assign_by_rule(assignment, self.seed, assignable, self.frames)}

    def _take(self, budget: int, candidates: np.ndarray, task: str, assignment: str) -> np.ndarray:
        """Return the mask of the first ``budget`` candidates in the queue."""
        queue = self.frames[candidates[self.frames]]
        if budget > len(queue):
            predicate = "carry the label" if assignment == NESTED else f"show the label by {assignment!r}"
            raise UserError(
                f"{budget} frames, where {len(queue)} {predicate}{self._besides}",
                file=self.file,
                key=f"labels.{task}",
                hint=f"set it to {len(queue)} or less, or to null for all",
            )
        mask = np.zeros(self.count, bool)
        mask[queue[:budget]] = True
        return mask
