"""Checks of a source's parts before anything is packed: tasks, keys of the splits, the signature of ``load``."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from shards.codec import is_key
from shards.errors import UserError
from shards.form import a_type
from shards.tasks import Task


def tasks_of(tasks: Any) -> tuple[Task, ...]:
    """Check the tasks of a source, and return them as a tuple.

    Raises:
        UserError: when they are not a list or tuple of tasks, or two tasks, or two classes of a task, have one name.
    """
    if not isinstance(tasks, list | tuple) or not all(isinstance(task, Task) for task in tasks):
        hint = "give a tuple of them; for one task: (task,)"
        raise UserError(f"tasks is {a_type(tasks)}, not a tuple of shards.tasks.Task", hint=hint)
    if not tasks:
        raise UserError("tasks is empty", hint="declare the tasks whose labels its frames have")
    for owner, names in [("tasks", [task.name for task in tasks]), *((task.name, task.classes) for task in tasks)]:
        duplicate = next((name for name in names if names.count(name) > 1), None)
        if duplicate is not None:
            raise UserError(f"{owner}: {duplicate!r} occurs twice", hint="give each a name of its own")
    return tuple(tasks)


def splits_of(splits: Any) -> dict[str, Sequence[str]]:
    """Check the splits of a source, and return the keys of every split.

    Raises:
        UserError: when they are not lists of keys by split, a key occurs twice, or there is none.
    """
    if not isinstance(splits, Mapping):
        raise UserError(f"splits is {a_type(splits)}, not a dict", hint="give {'train': [key, ...], 'val': [key, ...]}")
    split_of: dict[str, str] = {}
    for split, keys in splits.items():
        if not isinstance(split, str) or not is_key(split):
            raise UserError(f"split {split!r} is not a name", hint="name the splits train and val")
        if not isinstance(keys, Sequence) or isinstance(keys, str | bytes):
            raise UserError(f"splits[{split!r}] is {a_type(keys)}, not a list of keys", hint="give a list of text")
        for key in keys:
            if not isinstance(key, str) or not is_key(key):
                hint = "use letters, digits, _ and - only: shards.codec.key_of(path.stem)"
                raise UserError(f"{key!r} is not a key", key=split, hint=hint)
            if (first := split_of.setdefault(key, split)) != split:
                hint = "list each frame in one split; give frames of one name the split in their keys: train_0001"
                raise UserError(f"is in both {first} and {split}", key=key, hint=hint)
        if len(set(keys)) != len(keys):
            duplicate = next(key for key in keys if keys.count(key) > 1)
            raise UserError(f"occurs twice in {split}", key=duplicate, hint="give every frame a key of its own")
    if not split_of:
        raise UserError("no frames were found", hint="check the source's path and its split files")
    return dict(splits)


def check_load(load: Any) -> None:
    """Check that ``load`` takes a split and a position.

    Raises:
        UserError: when it does not.
    """
    try:
        inspect.signature(load).bind("train", 0)
    except TypeError as error:
        message = f"load does not take a split and a position ({error})"
        raise UserError(message, hint="write def load(self, split, position)") from error
    except ValueError:  # a built-in function without a signature
        return
