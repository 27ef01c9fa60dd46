"""The pseudo-labels that ``tutelage relate`` recommends, and how ``pseudo: auto`` follows it.

``relation.json`` says under ``split`` what it was judged on, and under ``recommended``, for every task, which inputs
its teacher should see, or none::

    {"semseg": {"inputs": ["rgb", "depth"], "keep": 0.9, "why": "depth helps semseg by 31.0 % (12.1 to 49.9 %)"},
     "depth": {"inputs": null, "keep": "all", "why": "no frame lacks it"}}

The teacher is the student's own configuration with these inputs (:func:`trainer.configfile.teacher_call`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shards.atomic import read_json
from shards.errors import UserError
from trainer.config import Config
from trainer.renamed import renewed

AUTO = "auto"
FILE = "relation.json"
_CURE = "run `tutelage relate CONFIG` first, or set relation to the relation.json of another data set"


def relation_folder(config: Config) -> Path:
    """Where ``tutelage relate`` writes, and ``pseudo: auto`` reads, unless they are told otherwise."""
    return Path(config.run.root) / config.data.name / "relate"


def recommended(file: str | Path) -> dict[str, dict[str, Any]]:
    """What a ``relation.json`` recommends, by task.

    Raises:
        UserError: when there is none, or it holds no recommendation.
    """
    relation = read_json(file, _CURE)
    try:
        entries = renewed({"pseudo": {task: {**entry} for task, entry in relation["recommended"].items()}})["pseudo"]
        if not all(entry.keys() == {"inputs", "keep", "why"} for entry in entries.values()):
            raise KeyError("inputs, keep, why")
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError("holds no recommendation", file=file, key="recommended", hint=_CURE) from error
    return entries


def pseudo_labels(file: str | Path, student: Path, tasks: list[str], split: str) -> dict[str, dict[str, Any]]:
    """What stands for ``pseudo: auto`` in the configuration of a student that predicts ``tasks``.

    Args:
        split: what the relation may have been judged on: ``dev``, or ``val`` for any frames.

    Raises:
        UserError: when it was judged on frames that measure the student, and that is not allowed.
    """
    found = recommended(file)
    if split == "dev" and read_json(file, _CURE).get("split") != "dev":  # older files do not say, and it was val
        what = "was judged on validation frames, which would then judge the student that it chose a teacher for"
        hint = "run `tutelage relate CONFIG` again, or set relation_split=val to follow it all the same"
        raise UserError(what, file=file, key="split", hint=hint)
    return {
        task: {"teacher": str(student), "inputs": entry["inputs"], "keep": entry["keep"]}
        for task, entry in found.items()
        if task in tasks and entry["inputs"]
    }


def reasons(entries: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Lines that say what is recommended, and why."""
    for task, entry in entries.items():
        yield f"pseudo-labels of {task}: {origin(entry)}"


def origin(entry: Mapping[str, Any]) -> str:
    """Where a task's pseudo-labels should come from, and why."""
    how = f"from a teacher that sees {' + '.join(entry['inputs'])}" if entry["inputs"] else "none"
    return f"{how} ({entry['why']})"
