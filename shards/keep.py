"""What a student takes of pseudo-labels when it reads them: all, some by their confidence, or a filter's choice."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from shards.errors import UserError
from shards.owncode import name_of, own_code
from shards.soft import STEPS
from shards.tasks import Task

ALL = "all"
HUNDREDTHS = 100
Filter = Callable[[Task, np.ndarray, np.ndarray | None, Mapping[str, Any]], np.ndarray]
"""A function ``(task, label, confidence, statistics)`` that says which pixels of a frame are kept.

- ``label``: the label array of the task's kind (:mod:`shards.tasks`), as the teacher gave it;
- ``confidence``: ``(H, W)`` in 0..1, None where the labels have none;
- ``statistics``: of the labels of the whole data set, as the manifest has them: ``frames``, ``pixels`` (by class where
  there are classes), ``missing`` and, where there is a confidence, ``confidence``: pixels by class and hundredth, flat.

It returns a mask, bool ``(H, W)``, or the weight of each pixel in the loss, floats in 0..1 of the same shape."""


@dataclass(frozen=True)
class Keep:
    """What a student takes of pseudo-labels.

    Args:
        threshold: pixels whose confidence is not above it get no label; None keeps all, and is the only choice for
            labels without a confidence.
        quantile: of each class keep this share, the most confident of all its pixels in the data set (to hundredths of
            confidence), in place of a threshold; None for none.
        soft: whether the teacher's whole distribution is learnt, where it is kept.
        weighted: whether a pixel weighs as much as its confidence.
        filter: says which pixels are kept, or what they weigh, in place of threshold and quantile (:data:`Filter`).
    """

    threshold: float | None = None
    quantile: float | None = None
    soft: bool = False
    weighted: bool = False
    filter: Filter | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """As settings of runs note it, which must not change where nothing else does."""
        if self.filter is None:
            return repr(self)
        of: Any = self.filter if hasattr(self.filter, "__qualname__") else type(self.filter)
        return f"{self!r} {of.__module__}:{of.__qualname__}"

    @classmethod
    def of(cls, value: "float | str | Filter | Keep | None", **more: Any) -> "Keep":
        """What one value stands for.

        Args:
            value: a threshold; ``"all"`` or None; a share as ``"50%"``; a filter, or a class of one that is made
                without arguments.
            more: other arguments, where the value is none itself.

        Raises:
            UserError: for other text, or a number out of range.
        """
        if isinstance(value, Keep):
            return value
        if callable(value):
            with own_code(value, "keep"):
                made = value() if isinstance(value, type) else value
            return cls(filter=_checked(made), **more)
        if value is None or value == ALL:
            return cls(**more)
        if isinstance(value, str) and (share := re.fullmatch(r"(\d+(?:\.\d+)?) *%", value.strip())):
            quantile = float(Decimal(share[1]) / 100)
            if not 0 < quantile <= 1:
                raise UserError(f"{value} is not a share", key="keep", hint="give more than 0% and at most 100%")
            return cls(quantile=quantile, **more)
        try:
            threshold = float(value)
        except ValueError:
            hint = "give a confidence, all, a share such as 50%, or my.module:name for a filter of your own"
            raise UserError(f"{value!r} is unknown", key="keep", hint=hint) from None
        if not 0 <= threshold < 1:
            hint = "give a confidence of at least 0 and less than 1, or all"
            raise UserError(f"{threshold} is not a threshold", key="keep", hint=hint)
        return cls(threshold, **more)

    @property
    def value(self) -> float | str | None:
        """The number or text that :meth:`of` makes this of; None of a filter."""
        if self.filter is not None:
            return None
        if self.quantile is not None:
            return f"{(Decimal(repr(self.quantile)) * 100).normalize():f}%"
        return ALL if self.threshold is None else self.threshold

    @property
    def needs_confidence(self) -> bool:
        return self.threshold is not None or self.quantile is not None or self.weighted

    @property
    def weighs(self) -> bool:
        """Whether pixels may weigh differently. A filter's may, since only its results say whether they are masks."""
        return self.weighted or self.filter is not None

    def filtered(
        self, task: Task, label: np.ndarray, confidence: np.ndarray | None, statistics: Mapping[str, Any]
    ) -> np.ndarray:
        """What the filter says of a frame, as weights ``(H, W)`` float64.

        Raises:
            UserError: when it gives neither a mask nor weights in 0..1 for the frame's pixels.
        """
        assert self.filter is not None
        with own_code(self.filter, "keep"):
            found = np.asarray(self.filter(task, label, confidence, statistics))
        due = label.shape[:2]
        if found.shape != due:
            what = f"the filter gives an array of shape {found.shape}, where {due} is due"
            raise UserError(what, key="keep", hint="give a mask or a weight for each pixel")
        if found.dtype == bool:
            return found.astype(np.float64)
        if not np.issubdtype(found.dtype, np.floating):
            hint = "give a mask (bool), or weights (floats in 0..1)"
            raise UserError(f"the filter gives {found.dtype}", key="keep", hint=hint)
        if not ((found >= 0) & (found <= 1)).all():
            what = f"the filter gives weights from {found.min():g} to {found.max():g}"
            raise UserError(what, key="keep", hint="give finite weights in 0..1")
        return found.astype(np.float64)


def _checked(filter: Any) -> Filter:
    """A filter, made sure that it can be called: it would be noticed only when labels are there.

    Raises:
        UserError: when it takes other arguments.
    """
    what = f"{name_of(filter)} cannot be called with (task, label, confidence, statistics)"
    if not callable(filter):
        raise UserError(what, key="keep", hint="give its class a method __call__(self, task, label, ...)")
    with suppress(ValueError):  # what is written in C may not say what it takes
        try:
            inspect.signature(filter).bind(None, None, None, None)
        except TypeError as error:
            raise UserError(f"{what} ({error})", key="keep", hint="take these four arguments") from None
    return filter


def steps_of(weight: np.ndarray) -> np.ndarray:
    """Weights in 0..1 as the loss takes them: uint8 in steps of 1/255, whose sums are exact."""
    return np.rint(weight * STEPS).astype(np.uint8)


def quantile_limits(counts: Sequence[int], quantile: float) -> np.ndarray:
    """The threshold of each class above which about a share of its pixels lies, at least that share.

    Args:
        counts: pixels of each class by hundredth of confidence, class × hundredth, flat.
        quantile: the share, 0 to 1.

    Returns:
        ``(classes,)`` float32; a class without a pixel has 0.
    """
    of_class = np.asarray(counts, np.int64).reshape(-1, HUNDREDTHS)
    above = np.cumsum(of_class[:, ::-1], axis=1)[:, ::-1]  # in this hundredth and those over it
    enough = above >= quantile * above[:, :1]
    return ((enough.sum(1) - 1) / HUNDREDTHS).astype(np.float32)
