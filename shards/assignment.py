"""Which labels each training frame shows, before any budget: the protocols of partially annotated data.

========== ==========================================================================================================
rule       a frame shows
========== ==========================================================================================================
``nested`` every label that it carries; budgets alone hide labels
``one``    exactly one of its labels
``random`` a random part of its labels: at least one, and not all
a file     what its line says, ``KEY,TASK,TASK,...``; frames that it does not name show nothing
========== ==========================================================================================================

``one`` and ``random`` are the one-label and random-label settings of Li, Liu, Bilen: "Learning Multiple Dense
Prediction Tasks from Partially Annotated Data", CVPR 2022. Theirs were drawn once, and their code reads them from
files. Here they follow from the seed, and frames take turns along the queue of :mod:`shards.frames`: with three tasks,
of any six frames in a row that carry all labels each task is shown by two (``one``) or three (``random``). So every
task has as many frames, whatever the seed.
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
_ASSIGNMENT = 0xA551  # keeps this random stream apart from the queue's


def shown_in_turn(rule: str, seed: int, carried: Mapping[str, np.ndarray], queue: np.ndarray) -> dict[str, np.ndarray]:
    """The labels that frames show by ``one`` or ``random``.

    Frames that carry the same labels take turns along the queue, so a part of it from either end is as balanced as the
    whole. A frame that carries a single label shows it.

    Args:
        rule: ``one`` or ``random``.
        seed: of the run.
        carried: by task, which frames carry its label, bool ``(count,)``.
        queue: the frames in their order, int64 ``(count,)``.

    Returns:
        By task, which frames show its label, bool ``(count,)``.
    """
    shown = {task: np.zeros(len(queue), bool) for task in carried}
    pattern = np.zeros(len(queue), np.int64)
    for bit, has in enumerate(carried.values()):
        pattern |= has.astype(np.int64) << bit
    for labels in np.unique(pattern[pattern > 0]):
        tasks = [task for bit, task in enumerate(carried) if labels >> bit & 1]
        most = 1 if rule == ONE else max(len(tasks) - 1, 1)
        parts = list(chain.from_iterable(combinations(tasks, size) for size in range(1, most + 1)))
        turns = permutation(mix(seed, _ASSIGNMENT, int(labels)), len(parts))
        frames = queue[pattern[queue] == labels]
        for turn, part in enumerate(turns):
            for task in parts[int(part)]:
                shown[task][frames[turn :: len(parts)]] = True
    return shown


def shown_by_file(path: Path, carried: Mapping[str, np.ndarray], positions: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The labels that frames show by a file of lines ``KEY,TASK,TASK,...``. Blanks separate as commas do, ``#`` begins
    a comment, and a line with no task is a frame that shows nothing.

    Args:
        path: the file.
        carried: by task, which frames carry its label, bool ``(count,)``.
        positions: of every key of the split.

    Raises:
        UserError: when it cannot be read; and, with its line, for a frame or a task that is not there, a frame named
            twice, or a label that the frame does not carry.
    """
    shown = {task: np.zeros_like(has, dtype=bool) for task, has in carried.items()}
    seen: dict[str, int] = {}
    for number, key, tasks in _lines(path):

        def wrong(what: str, hint: str, key: str = key, number: int = number) -> UserError:
            return UserError(f"line {number}: {what}", file=path, key=key, hint=hint)

        if key not in positions:
            near = difflib.get_close_matches(key, positions, 1)
            hint = f"did you mean {near[0]}?" if near else "`tutelage inspect` shows the keys of a data set"
            raise wrong("is not the key of a training frame", hint)
        if key in seen:
            raise wrong(f"stands in line {seen[key]} already", "name all its tasks in one line")
        seen[key] = number
        for task in tasks:
            if task not in carried:
                raise wrong(f"{task!r} is not a task", f"use some of {', '.join(carried)}")
            if not carried[task][positions[key]]:
                raise wrong(f"does not carry the label {task}", f"leave {task} out of the line")
            shown[task][positions[key]] = True
    return shown


def check_tasks(rule: str, tasks: Sequence[str]) -> None:
    """Make sure that there is something to assign.

    Raises:
        UserError: when fewer than two tasks take part.
    """
    if len(tasks) < 2:
        what = f"{rule!r} shares labels out among tasks, and {' and '.join(tasks) or 'no task'} alone takes part"
        hint = "set assignment=nested, or give other tasks a budget over 0 (labels.TASK)"
        raise UserError(what, key="assignment", hint=hint)


def _lines(path: Path) -> list[tuple[int, str, list[str]]]:
    hint = f"use one of {', '.join(RULES)}, or the path of a file of lines KEY,TASK,TASK"
    try:
        text = path.read_text(encoding="utf-8")
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
