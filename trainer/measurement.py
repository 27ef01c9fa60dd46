"""How an evaluation measures: at which size, and for scalar tasks within which range of values and which window.

All of it is recorded in ``result.json`` and identifies a table's rows: results that were measured in different ways are
different rows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shards.errors import UserError
from shards.tasks import Task
from trainer.parsing import check_limits

if TYPE_CHECKING:
    from torch import Tensor

RESOLUTIONS = ("network", "label")
_WINDOWS = {"eigen": ((45, 471, 480), (41, 601, 640))}
"""By name, (first, last + 1, total) of the rows and of the columns, where total is the frame's number of them."""


@dataclass(frozen=True)
class Measurement:
    """How predictions are compared with labels.

    Args:
        resolution: ``network``, where labels are resized to the network's input size, or ``label``, where predictions
            are resized to the size that labels are stored in.
        ranges: smallest and largest ground truth that is measured, by scalar task, in its unit.
        crop: None, or ``eigen`` for the window of Eigen et al., "Depth Map Prediction from a Single Image using a
            Multi-Scale Deep Network" (2014), as used for NYUDv2: ``[45:471, 41:601]`` of 480×640, and the pixels
            whose centres lie in it at any other size. It applies to scalar tasks; others are measured on whole frames.

    Raises:
        UserError: for an unknown resolution or crop, or a range that is empty or below 0.
    """

    resolution: str = "network"
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    crop: str | None = None

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("resolution", self.resolution, RESOLUTIONS),
            ("crop", self.crop, (None, *_WINDOWS)),
        ):
            if value not in choices:
                hint = f"use {' or '.join(map(repr, choices))}"
                raise UserError(f"{value!r} is unknown", key=name, hint=hint)
        for name, limits in self.ranges.items():
            check_limits(limits, f"ranges[{name!r}]")

    def check(self, tasks: Iterable[Task]) -> None:
        """Check that ranges are of scalar tasks among those that are measured.

        Raises:
            UserError: when one is not.
        """
        by_name = {task.name: task for task in tasks}
        for name in self.ranges:
            if name not in by_name:
                hint = f"name some of {', '.join(by_name)}"
                raise UserError("no such task is measured", key=f"ranges[{name!r}]", hint=hint)
            if problem := by_name[name].storage.range_problem():
                raise UserError(problem, key=f"ranges[{name!r}]", hint="leave it out")

    def to_json(self) -> dict[str, Any]:
        """Return the entries of ``result.json``; those of runs from before these options are :data:`DEFAULT`'s."""
        ranges = {name: list(limits) for name, limits in self.ranges.items()}
        return {"resolution": self.resolution, "range": ranges, "crop": self.crop}

    def __call__(self, task: Task, output: "Tensor", truth: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return what metrics compare: a network's labels at the truth's size, and the truth, after :meth:`restrict`.

        Args:
            output: ``(B, task.channels, h, w)``.
            truth: in the form of :mod:`trainer.losses`, ``(B, ..., H, W)``.
        """
        from trainer.decision import decide_at  # only here: torch is not needed to describe a measurement

        height, width = truth.shape[-2:]
        return self.restrict(task, decide_at(task, output, (height, width)), truth)

    def restrict(self, task: Task, label: "Tensor", truth: "Tensor") -> "tuple[Tensor, Tensor]":
        """Return a scalar task's labels clamped to its range (the protocol of Eigen et al.), and its truth with "no
        label" outside range and window; labels and truth of other tasks are returned unchanged.

        Args:
            label: ``(..., H, W)``, predicted or a stored pseudo-label.
            truth: ``(..., H, W)``.
        """
        from trainer.kinds import learning  # only here, likewise

        window = None
        if self.crop:
            rows, columns = (
                _within(side, *bounds) for side, bounds in zip(truth.shape[-2:], _WINDOWS[self.crop], strict=True)
            )
            window = rows, columns
        return learning(task).restrict(label, truth, self.ranges.get(task.name), window)


DEFAULT = Measurement()
"""How everything was measured before these options existed."""


def _within(side: int, first: int, last: int, total: int) -> slice:
    """Return the pixels of a side whose centres lie between ``first`` and ``last`` of ``total``, in integers."""

    def pixels_before(position: int) -> int:  # those with (pixel + 1/2) / side < position / total
        return -((total - 2 * position * side) // (2 * total))

    return slice(pixels_before(first), pixels_before(last))
