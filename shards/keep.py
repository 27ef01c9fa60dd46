"""Select which pseudo-labels a student learns from: all, some by their confidence, or the choice of a filter."""

import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from shards.described import describe
from shards.errors import UserError
from shards.owncode import name_of, own_code
from shards.soft import STEPS
from shards.tasks import Task

ALL = "all"
HUNDREDTHS = 100
Filter = Callable[[Task, np.ndarray, np.ndarray | None, Mapping[str, Any]], np.ndarray]
"""A function ``(task, label, confidence, statistics)`` that selects which pixels of a frame are kept.

- ``label``: the label array of the task's kind (:mod:`shards.tasks`), as the teacher predicted it;
- ``confidence``: ``(H, W)`` in 0..1, None where the labels have none;
- ``statistics``: statistics of the labels of the whole data set, as in the manifest: ``frames``, ``pixels`` (by class
  where there are classes), ``missing`` and, where there is a confidence, ``confidence``: the number of pixels by class
  and hundredth of confidence, flattened; ``confidence_near_1`` counts the last hundredth in finer bins
  (:mod:`shards.quantile`).

It returns a mask, bool ``(H, W)``, or the weight of each pixel in the loss, floats in 0..1 of the same shape."""


@dataclass(frozen=True)
class Keep:
    """Which pseudo-labels a student learns from, and with what weight.

    Args:
        threshold: pixels whose confidence is not above it get no label; None keeps all, and is the only choice for
            labels without a confidence.
        quantile: share of each class to keep, the most confident of all its pixels in the data set (as finely as
            :mod:`shards.quantile` counts them), instead of a threshold; None for no quantile.
        soft: whether the teacher's whole distribution is learnt, where it is stored.
        weighted: whether the loss of a pixel is weighted by its confidence.
        filter: selects the pixels to keep, or their weights, instead of threshold and quantile (:data:`Filter`).

    Raises:
        UserError: for a number out of range, more than one of threshold, quantile and filter, or a filter that takes
            other arguments.
    """

    threshold: float | None = None
    quantile: float | None = None
    soft: bool = False
    weighted: bool = False
    filter: Filter | None = field(default=None, repr=False)
    _described: str | None = field(default=None, init=False, repr=False, compare=False)
    """The filter as text, as it was before it was called: it may have a state."""

    def __post_init__(self) -> None:
        choices = {"threshold": self.threshold, "quantile": self.quantile, "filter": self.filter}
        given = [name for name, value in choices.items() if value is not None]
        if len(given) > 1:
            raise UserError(f"is given {' and '.join(given)}", key="keep", hint="give one of them")
        if not (self.threshold is None or (isinstance(self.threshold, Real) and 0 <= self.threshold < 1)):
            hint = "give a confidence of at least 0 and less than 1, or all"
            raise UserError(f"{self.threshold} is not a threshold", key="keep", hint=hint)
        if not (self.quantile is None or (isinstance(self.quantile, Real) and 0 < self.quantile <= 1)):
            hint = "give more than 0 and at most 1"
            raise UserError(f"quantile={self.quantile} is not a share", key="keep", hint=hint)
        if self.filter is not None:
            _check_filter(self.filter)
            object.__setattr__(self, "_described", describe(self.filter))

    def __str__(self) -> str:
        """Return the text that the settings of a run record, which must stay the same for equal settings."""
        return repr(self) if self.filter is None else f"{self!r} {self._described}"

    @classmethod
    def of(cls, value: "float | str | Filter | Keep | None", **more: Any) -> "Keep":
        """Make a :class:`Keep` of a single value.

        Args:
            value: a threshold; ``"all"`` or None; a share such as ``"50%"``; a filter, or the class of one, which is
                instantiated without arguments; or a :class:`Keep`, which is returned as it is.
            more: other arguments of :class:`Keep`; ignored where the value is a :class:`Keep`.

        Raises:
            UserError: for other text, or a number out of range.
        """
        if isinstance(value, Keep):
            return value
        if callable(value):
            with own_code(value, "keep"):
                instance = value() if isinstance(value, type) else value
            return cls(filter=instance, **more)
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
        return cls(threshold, **more)

    @property
    def value(self) -> float | str | None:
        """The number or text from which :meth:`of` makes this selection; None for a filter."""
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
        """Whether pixels may have different weights. With a filter they may, since only its results show whether it
        returns masks."""
        return self.weighted or self.filter is not None

    def filtered(
        self, task: Task, label: np.ndarray, confidence: np.ndarray | None, statistics: Mapping[str, Any]
    ) -> np.ndarray:
        """Return the filter's weights for a frame's pixels, ``(H, W)`` float64 in 0..1.

        Raises:
            UserError: when the filter returns neither a mask nor weights in 0..1 for the frame's pixels.
        """
        assert self.filter is not None
        with own_code(self.filter, "keep"):
            weights = np.asarray(self.filter(task, label, confidence, statistics))
        shape = label.shape[:2]
        if weights.shape != shape:
            message = f"the filter gives an array of shape {weights.shape}, expected {shape}"
            raise UserError(message, key="keep", hint="give a mask or a weight for each pixel")
        if weights.dtype == bool:
            return weights.astype(np.float64)
        if not np.issubdtype(weights.dtype, np.floating):
            hint = "give a mask (bool), or weights (floats in 0..1)"
            raise UserError(f"the filter gives {weights.dtype}", key="keep", hint=hint)
        if not ((weights >= 0) & (weights <= 1)).all():
            message = f"the filter gives weights from {weights.min():g} to {weights.max():g}"
            raise UserError(message, key="keep", hint="give finite weights in 0..1")
        return weights.astype(np.float64)


def _check_filter(filter: Any) -> None:
    """Check that a filter can be called with the right arguments, before there are labels.

    Raises:
        UserError: when it cannot be called, or takes other arguments.
    """
    message = f"{name_of(filter)} cannot be called with (task, label, confidence, statistics)"
    if not callable(filter):
        raise UserError(message, key="keep", hint="give its class a method __call__(self, task, label, ...)")
    with suppress(ValueError):  # a function written in C may have no signature
        try:
            inspect.signature(filter).bind(None, None, None, None)
        except TypeError as error:
            raise UserError(f"{message} ({error})", key="keep", hint="take these four arguments") from None


def quantise_weights(weight: np.ndarray) -> np.ndarray:
    """Convert weights in 0..1 to the form that the loss takes: uint8 in steps of 1/255, whose sums are exact."""
    return np.rint(weight * STEPS).astype(np.uint8)
