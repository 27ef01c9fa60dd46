"""The settings that decide a run's figures: runs that agree in them differ only in their seeds, and form one row of a
table."""

import json
import re
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from trainer.config import Config
from trainer.configfile import defaults, flatten, read_yaml
from trainer.option import facts as facts_by_name
from trainer.option import is_in, matches, names
from trainer.renamed import remove_version, rename_old_options
from trainer.runs.result import Result
from trainer.sections import Pseudo

MAY_CHANGE = names(Config, lambda facts: not facts.decides)
"""Options that do not change what a run computes, and so may change when a run is continued."""
OWN_SEED = "each run's"
"""Value of ``val_seed`` in the settings of runs whose own seed drew their validation frames."""
ROW_SETTINGS = tuple(facts.column or name for name, facts in facts_by_name(Config).items() if facts.row)
"""Settings in which rows of a table differ because they are different experiments."""
_NAMED = names(Config, lambda facts: facts.column)
"""Options that :func:`setting` returns under another name."""
_BY_NAME = names(Config, lambda facts: facts.by_name)


def decisive(config: Any) -> dict[str, Any]:
    """Return the options of a configuration that decide what is computed, by dotted key. The path of a teacher or an
    assignment is reduced to its name, since the rest depends on the working directory."""
    options = {key: value for key, value in flatten(config).items() if not is_in(key, MAY_CHANGE)}
    paths = {key for key in options if any(matches(key, name) for name in _BY_NAME)}
    return {key: Path(value).name if key in paths else value for key, value in options.items()}


def options_of(folder: Path, hint: str = "restore it, or delete it") -> dict[str, Any]:
    """Return the decisive options of the run in a folder; none where its ``config.yaml`` is missing. Options that are
    newer than the run have their default.

    Raises:
        UserError: when the file is not a configuration, or that of a network of another version.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    options = decisive(remove_version(rename_old_options(read_yaml(path, hint)), path))
    for task in {key.split(".")[1] for key in options if key.startswith("pseudo.")}:
        entry = {field.name: field.default for field in fields(Pseudo) if field.name != "teacher"}
        options = {f"pseudo.{task}.{name}": value for name, value in entry.items()} | options
    return _defaults() | options


@cache
def _defaults() -> dict[str, Any]:
    """Return the decisive options of the default configuration. Callers must not change the mapping."""
    return decisive(OmegaConf.to_container(defaults()))


def setting(result: Result) -> dict[str, Any]:
    """Return what decides the figures of a ``result.json``, by name: the fields of its row, how it was measured, and
    every other option by dotted key."""
    options, conditions = result.options, result.asked
    settings: dict[str, Any] = {key: getattr(result, key) for key in ("inputs", "tasks", "normalise", "budget")}
    settings |= {"backbone": result.backbone, "assignment": result.assignment}
    settings["pretrained"] = _pretrained(result.pretrained, options.get("model.pretrained"))
    settings |= {"size": result.size, "crop": result.crop}
    by_epochs = "train.epochs" in options and options.get("train.steps") is None
    settings |= {"steps": result.steps, "epochs": options["train.epochs"] if by_epochs else None}
    settings |= {"split": conditions.split, "checkpoint": conditions.checkpoint, "val": conditions.val}
    is_subset = conditions.split in (None, "val") and conditions.val is not None
    val_seed = OWN_SEED if conditions.val_seed is None else conditions.val_seed
    settings["val_seed"] = val_seed if is_subset else None
    ranges = ", ".join(f"{task} {least:g} to {most:g}" for task, (least, most) in conditions.range.items())
    settings |= {"evaluate.resolution": conditions.resolution, "evaluate.range": ranges or None}
    settings["evaluate.crop"] = conditions.crop
    settings["manifest"] = conditions.manifest[:8] or None
    settings |= {key: value for key, value in options.items() if not is_in(key, _NAMED)}
    if start := options.get("model.start"):
        settings["model.start"] = _start(start)
    return settings


def same(a: Any, b: Any) -> bool:
    """Whether two settings, or two values of a setting, are the same."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def format_value(value: Any) -> str:
    """Format a setting's value for a table."""
    if isinstance(value, dict):
        return " ".join(f"{key} {format_value(item)}" for key, item in value.items()) or "all"
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return {"True": "yes", "False": "no", "None": "–"}.get(str(value), str(value))


def _start(exported: str) -> str:
    """Return the network that a run started from. One of another run is that of its experiment, since runs may start
    from that of their own seed."""
    return re.sub(r"(^|/)seed-\d+(/checkpoints/[^/]+)$", r"\1seed-*\2", Path(exported).as_posix())


def _pretrained(recorded: Any, option: Any) -> Any:
    """Return the origin of the initial weights. Old runs recorded only that there were any; for them it is derived from
    the option."""
    if recorded is not True:
        return recorded
    if not isinstance(option, str):
        return "hub" if option is True else True
    path = Path(option)
    return path.parts[-5] if path.parts[-3:-2] == ("checkpoints",) and len(path.parts) > 4 else path.stem
