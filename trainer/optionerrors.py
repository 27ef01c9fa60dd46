"""Errors of components in the terms of a configuration: the option that an argument's value comes from.

A component names its argument (``precision``), since it may be used without a configuration; what makes it from a
configuration adds the section (``train.precision``).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from shards.errors import UserError

_OPTIONS = {
    "backbone": "model.backbone",
    "best": "evaluate.best",
    "compile": "train.compile",
    "crop": "data.crop",
    "ema": "train.ema",
    "global_batch_size": "train.global_batch_size",
    "model": "model.name",
    "name": "model.name",
    "norm": "model.norm",
    "normalise": "loss.normalise",
    "precision": "train.precision",
    "pretrained": "model.pretrained",
    "pretrained_inputs": "model.pretrained_inputs",
    "pseudo_share": "train.pseudo_share",
    "size": "data.size",
    "weighting": "loss.weighting",
    "weights": "loss.weights",
}
"""The options by the names of the components' arguments."""
_OWN_FILE = re.compile(r"\.(py(:\d+)?|bin|ckpt|pth?|safetensors)$")
"""Files that an error about an argument may name: the user's code, and weights. In others, keys are those of samples or
of a configuration."""
_IN_HINTS = re.compile(rf"(?<![\w.])({'|'.join(_OPTIONS)})=")


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
        key, hint = error.key, error.hint and _IN_HINTS.sub(lambda match: f"{_OPTIONS[match[1]]}=", error.hint)
        of_component = error.file is None or _OWN_FILE.search(str(error.file)) is not None
        if of_component and (argument == "weights" if dot else argument in _OPTIONS):
            key = f"{_OPTIONS[argument]}{dot}{task}"
        if (key, hint) == (error.key, error.hint):
            raise
        raise type(error)(error.what, file=error.file, key=key, hint=hint) from error
