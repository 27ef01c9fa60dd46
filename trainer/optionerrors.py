"""Errors of components in the terms of a configuration: the option that an argument's value comes from.

A component names its argument (``precision``), since it may be used without a configuration; what makes it from a
configuration adds the section (``train.precision``).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from shards.errors import UserError

_OPTIONS = {
    "best": "evaluate.best",
    "compile": "train.compile",
    "ema": "train.ema",
    "global_batch_size": "train.global_batch_size",
    "norm": "model.norm",
    "normalise": "loss.normalise",
    "precision": "train.precision",
    "pseudo_share": "train.pseudo_share",
    "weighting": "loss.weighting",
    "weights": "loss.weights",
}
"""The options by the names of the components' arguments."""


@contextmanager
def name_options() -> Iterator[None]:
    """Context, or decorator, in which errors that name a component's argument name its option, and so do their hints
    (``use precision=fp32``).

    Raises:
        UserError: those that are raised inside.
    """
    try:
        yield
    except UserError as error:
        argument, dot, task = (error.key or "").partition(".")
        # With a file the key is a task's or a sample's, but for a weighting's own code.
        of_data = error.file is not None and argument != "weighting"
        if argument not in _OPTIONS or of_data:
            raise
        option = _OPTIONS[argument]
        hint = error.hint and re.sub(rf"\b{argument}=", f"{option}=", error.hint)
        raise type(error)(error.what, file=error.file, key=f"{option}{dot}{task}", hint=hint) from error
