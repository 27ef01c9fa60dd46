"""The pseudo-labels that ``tutelage affinity`` recommends, and how ``pseudo: auto`` applies them.

``affinity.json`` contains under ``split`` the frames it was judged on, and under ``recommended``, for every task, which
inputs its teacher should have, or none::

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
_HINT = "run `tutelage affinity CONFIG` first, or set affinity to the affinity.json of another data set"


def affinity_folder(config: Config) -> Path:
    """Return the default folder where ``tutelage affinity`` writes and ``pseudo: auto`` reads: ``affinity``, or
    ``relate``, its name before 0.2, where only that one exists."""
    folder = Path(config.run.root) / config.data.name
    old = folder / "relate"
    return old if old.exists() and not (folder / "affinity").exists() else folder / "affinity"


def read_recommendations(file: str | Path) -> Mapping[str, Recommendation]:
    """Return the recommendations of an ``affinity.json``, by task.

    Raises:
        UserError: when the file is missing, or contains no recommendation.
    """
    return Affinity.read(file, _HINT).recommended


def pseudo_labels(file: str | Path, student: Path, tasks: list[str], split: str) -> dict[str, dict[str, Any]]:
    """Return the options that ``pseudo: auto`` stands for in the configuration of a student that predicts ``tasks``.

    Args:
        file: the ``affinity.json``.
        student: the student's configuration file.
        tasks: names of the predicted tasks.
        split: the frames that the affinity may have been judged on: ``dev``, or ``val`` for any frames.

    Raises:
        UserError: when it was judged on frames that the student is evaluated on, and that is not allowed.
    """
    affinity = Affinity.read(file, _HINT)
    if split == "dev" and affinity.split != "dev":
        message = "was judged on validation frames, which would then judge the student that it chose a teacher for"
        hint = "run `tutelage affinity CONFIG` again, or set affinity_split=val to follow it all the same"
        raise UserError(message, file=file, key="split", hint=hint)
    return {
        task: {"teacher": str(student), "inputs": recommendation.inputs, "keep": recommendation.keep}
        for task, recommendation in affinity.recommended.items()
        if task in tasks and recommendation.inputs
    }


def reasons(recommended: Mapping[str, Recommendation]) -> Iterator[str]:
    """Yield a line with each recommendation and its reason."""
    for task, recommendation in recommended.items():
        yield f"pseudo-labels of {task}: {recommendation.origin}"
