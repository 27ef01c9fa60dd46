"""The pseudo-labels that ``tutelage affinity`` recommends, and how ``pseudo: auto`` follows it.

``affinity.json`` says under ``split`` what it was judged on, and under ``recommended``, for every task, which inputs
its teacher should see, or none::

    {"semseg": {"inputs": ["rgb", "depth"], "keep": 0.9, "why": "depth helps semseg by 31.0 % (12.1 to 49.9 %)"},
     "depth": {"inputs": null, "keep": "all", "why": "no frame lacks it"}}

The teacher is the student's own configuration with these inputs (:func:`trainer.configfile.teacher_call`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shards.errors import UserError
from trainer.affinity import Affinity, Recommendation
from trainer.config import Config

AUTO = "auto"
_CURE = "run `tutelage affinity CONFIG` first, or set affinity to the affinity.json of another data set"


def affinity_folder(config: Config) -> Path:
    """Where ``tutelage affinity`` writes, and ``pseudo: auto`` reads, unless they are told otherwise: ``affinity``, or
    ``relate`` with the finished runs of before 0.2 where that is there and the other is not."""
    folder = Path(config.run.root) / config.data.name
    before = folder / "relate"
    return before if before.exists() and not (folder / "affinity").exists() else folder / "affinity"


def recommended(file: str | Path) -> Mapping[str, Recommendation]:
    """What an ``affinity.json`` recommends, by task.

    Raises:
        UserError: when there is none, or it holds no recommendation.
    """
    return Affinity.read(file, _CURE).recommended


def pseudo_labels(file: str | Path, student: Path, tasks: list[str], split: str) -> dict[str, dict[str, Any]]:
    """What stands for ``pseudo: auto`` in the configuration of a student that predicts ``tasks``.

    Args:
        split: what the affinity may have been judged on: ``dev``, or ``val`` for any frames.

    Raises:
        UserError: when it was judged on frames that measure the student, and that is not allowed.
    """
    found = Affinity.read(file, _CURE)
    if split == "dev" and found.split != "dev":
        what = "was judged on validation frames, which would then judge the student that it chose a teacher for"
        hint = "run `tutelage affinity CONFIG` again, or set affinity_split=val to follow it all the same"
        raise UserError(what, file=file, key="split", hint=hint)
    return {
        task: {"teacher": str(student), "inputs": each.inputs, "keep": each.keep}
        for task, each in found.recommended.items()
        if task in tasks and each.inputs
    }


def reasons(recommended: Mapping[str, Recommendation]) -> Iterator[str]:
    """Lines that say what is recommended, and why."""
    for task, each in recommended.items():
        yield f"pseudo-labels of {task}: {each.origin}"
