"""Pairs of functions for the toy example, which learns one with the help of the other, and training protocols.

``paper``: those of Erkent, "Multi-Task Learning for Robot Perception with Imbalanced Data", section "Toy Example".
``nested``: another pair, in which f2 is a function of f1: hard to learn from z alone, easy from z and f1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, cos, sin, sqrt

SINGLE, MULTI, LONGER = "single task", "multi-task", "multi-task, four times the epochs"
CONTROL, TEACHER = "multi-task, all of f1", "teacher h(z, f1)"
STUDENT, STUDENT_SINGLE = "student, multi-task", "student, single-task"
NETWORKS = (SINGLE, MULTI, LONGER, CONTROL, TEACHER, STUDENT, STUDENT_SINGLE)


@dataclass(frozen=True)
class Protocol:
    """The range of z, and the length of training.

    Args:
        low, high: the interval of z.
        epochs: passes over the points that have both functions.
    """

    low: float
    high: float
    epochs: int

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Pair:
    """Two functions of z, elementwise on tensors of any shape.

    Args:
        f1: the function with labels at many points.
        f2: the function with labels at few points.
        protocols: fixed before anything was measured.
        printed: mean and deviation of the squared error of f2 by network, as printed in the paper's Table 2.
    """

    name: str
    f1: Callable[[Tensor], Tensor]
    f2: Callable[[Tensor], Tensor]
    protocols: tuple[Protocol, ...]
    printed: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _paper_f1(z: Tensor) -> Tensor:
    return sin(z) + sqrt(z) / 300 + 2 + 3 * sin(5 * z) * cos(2 * z)


def _paper_f2(z: Tensor) -> Tensor:
    return cos(z / 3) + sqrt(z) / 200 + 1 - sin(3 * z) * cos(4 * z)


def _nested_f1(z: Tensor) -> Tensor:
    return sin(3 * z)


def _nested_f2(z: Tensor) -> Tensor:
    return sin(2 * _nested_f1(z) + z)


PAPER = Pair(
    "paper",
    _paper_f1,
    _paper_f2,
    (Protocol(0, 1, 12),),
    {SINGLE: (0.0149, 0.0111), MULTI: (0.0101, 0.0068), STUDENT_SINGLE: (0.0072, 0.0062)},
)
NESTED = Pair("nested", _nested_f1, _nested_f2, (Protocol(0, 1, 12), Protocol(0, 5, 30)))
PAIRS = {pair.name: pair for pair in (PAPER, NESTED)}
"""By the name that ``tutelage toy --functions`` takes."""
