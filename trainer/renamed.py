"""Options that had another name before 0.2: the resolved configurations of runs of that time still say it.

In a file of yours an old name is an error that gives the new one.
"""

from collections.abc import MutableMapping
from typing import Any, TypeVar

_Options = TypeVar("_Options", bound=MutableMapping[str, Any])

RENAMED = {
    "data.workers": "data.num_workers",
    "data.window": "data.shuffle_window",
    "train.global_batch": "train.global_batch_size",
    "train.accumulation": "train.gradient_accumulation_steps",
    "train.warmup": "train.warmup_steps",
    "train.clip": "train.max_grad_norm",
    "evaluate.batch": "evaluate.batch_size",
    "label.batch": "label.batch_size",
}
"""New names by the old ones, both of the same section."""


def renewed(options: _Options) -> _Options:
    """A run's options, changed in place, under the names that they have now."""
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        if name in (options.get(section) or {}):
            options[section][new.partition(".")[2]] = options[section].pop(name)
    return options
