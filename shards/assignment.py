"""Which labels each training frame shows, before any budget: the protocols of partially annotated data.

========== ==========================================================================================================
rule       labels that a frame shows
========== ==========================================================================================================
``nested`` every label that it carries; budgets alone hide labels
``one``    exactly one of its labels
``random`` a random part of its labels: at least one, and not all
a file     those of its line, ``KEY,TASK,TASK,...``; frames without a line show nothing
========== ==========================================================================================================

``one`` and ``random`` are the one-label and random-label settings of Li, Liu, Bilen: "Learning Multiple Dense
Prediction Tasks from Partially Annotated Data", CVPR 2022. Their assignments were drawn once, and their code reads them
from files. Here they follow from the seed, and frames take turns along the queue of :mod:`shards.budgets`: with three
tasks, of any six consecutive frames that carry all labels, each task is shown by two (``one``) or three (``random``).
So every task has the same number of frames, whatever the seed.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from shards.errors import UserError
from shards.order import mix, permutation

NESTED, ONE, RANDOM = "nested", "one", "random"
RULES = (NESTED, ONE, RANDOM)
_ASSIGNMENT = 0xA551  # separates this random stream from the queue's


def assign_by_rule(
    rule: str, seed: int, labelled: Mapping[str, np.ndarray], queue: np.ndarray
) -> dict[str, np.ndarray]:
    """Choose the labels that frames show by the rule ``one`` or ``random``.

    Frames that carry the same labels take turns along the queue, so a part of it from either end is as balanced as the
    whole. A frame that carries a single label shows it.

    Args:
        rule: ``one`` or ``random``.
        seed: seed of the run.
        labelled: by task, which frames carry its label, bool ``(count,)``.
        queue: the frames in their order, int64 ``(count,)``.

    Returns:
        By task, which frames show its label, bool ``(count,)``.
    """
    shown = {task: np.zeros(len(queue), bool) for task in labelled}
    pattern = np.zeros(len(queue), np.int64)
    for bit, mask in enumerate(labelled.values()):
        pattern |= mask.astype(np.int64) << bit
    for bits in np.unique(pattern[pattern > 0]):
        tasks = [task for bit, task in enumerate(labelled) if bits >> bit & 1]
        largest = 1 if rule == ONE else max(len(tasks) - 1, 1)
        subsets = list(chain.from_iterable(combinations(tasks, size) for size in range(1, largest + 1)))
        turns = permutation(mix(seed, _ASSIGNMENT, int(bits)), len(subsets))
        frames = queue[pattern[queue] == bits]
        for turn, subset in enumerate(turns):
            for task in subsets[int(subset)]:
                shown[task][frames[turn :: len(subsets)]] = True
    return shown


def assign_from_file(
    path: Path, labelled: Mapping[str, np.ndarray], positions: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Read the labels that frames show from a file of lines ``KEY,TASK,TASK,...``. Blanks separate as commas do, ``#``
    begins a comment, and the frame of a line without a task shows nothing.

    Args:
        path: the file.
        labelled: by task, which frames carry its label, bool ``(count,)``.
        positions: the position of every key of the split.

    Returns:
        By task, which frames show its label, bool ``(count,)``.

    Raises:
        UserError: when the file cannot be read; and, with the line, for an unknown frame or task, a frame named twice,
            or a label that the frame does not carry.
    """
    shown = {task: np.zeros_like(mask, dtype=bool) for task, mask in labelled.items()}
    line_numbers: dict[str, int] = {}
    for number, key, tasks in _read_lines(path):

        def line_error(message: str, hint: str, key: str = key, number: int = number) -> UserError:
            return UserError(f"line {number}: {message}", file=path, key=key, hint=hint)

        if key not in positions:
            matches = difflib.get_close_matches(key, positions, 1)
            hint = f"did you mean {matches[0]}?" if matches else "`tutelage inspect` shows the keys of a data set"
            raise line_error("is not the key of a training frame", hint)
        if key in line_numbers:
            raise line_error(f"is already in line {line_numbers[key]}", "name all its tasks in one line")
        line_numbers[key] = number
        for task in tasks:
            if task not in labelled:
                raise line_error(f"{task!r} is not a task", f"use some of {', '.join(labelled)}")
            if not labelled[task][positions[key]]:
                raise line_error(f"does not carry the label {task}", f"leave {task} out of the line")
            shown[task][positions[key]] = True
    return shown


def check_tasks(rule: str, tasks: Sequence[str]) -> None:
    """Check that a rule has tasks to choose between.

    Raises:
        UserError: when fewer than two tasks take part.
    """
    if len(tasks) < 2:
        tasks_left = f"only {tasks[0]}" if tasks else "no task"
        message = f"{rule!r} distributes labels over tasks, but {tasks_left} takes part"
        hint = "set assignment=nested, or give other tasks a budget over 0 (labels.TASK)"
        raise UserError(message, key="assignment", hint=hint)


def _read_lines(path: Path) -> list[tuple[int, str, list[str]]]:
    """Return the number, key and task names of each line of an assignment file."""
    hint = f"use one of {', '.join(RULES)}, or the path of a file of lines KEY,TASK,TASK"
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel begins UTF-8 with a byte order mark
    except FileNotFoundError:
        raise UserError("is not a rule, and no such file exists", file=path, key="assignment", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read ({error})", file=path, key="assignment", hint=hint) from error
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = [word for word in re.split(r"[,\s]+", line.partition("#")[0]) if word]
        if words:
            lines.append((number, words[0], words[1:]))
    return lines
