"""What decides a run's figures: runs that agree in it differ in their seeds alone, and are one row of a table."""

import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from trainer.config import Config, Pseudo
from trainer.configfile import defaults, first_version, flat, read_yaml
from trainer.option import facts as facts_by_name
from trainer.option import is_in, matches, names
from trainer.renamed import renewed
from trainer.runs.result import Result

MAY_CHANGE = names(Config, lambda facts: not facts.decides)
"""Options that do not change what a run computes, so a run may be continued with others."""
OWN_SEED = "each run's"
"""What drew the validation frames of a run where no ``val_seed`` did."""
OF_THE_ROW = tuple(facts.column or name for name, facts in facts_by_name(Config).items() if facts.row)
"""Settings in which a table's rows differ because they are other experiments."""
_NAMED = names(Config, lambda facts: facts.column)
"""Options that :func:`setting` has under another name."""
_BY_NAME = names(Config, lambda facts: facts.by_name)


def decisive(config: Any) -> dict[str, Any]:
    """The options of a configuration that decide what is computed, by dotted key. Of the path of a teacher or of an
    assignment it is the name, since the rest depends on the working directory."""
    options = {key: value for key, value in flat(config).items() if not is_in(key, MAY_CHANGE)}
    paths = {key for key in options if any(matches(key, name) for name in _BY_NAME)}
    return {key: Path(value).name if key in paths else value for key, value in options.items()}


def options_of(folder: Path, hint: str = "restore it, or delete it") -> dict[str, Any]:
    """The decisive options of the run in a folder; none where its ``config.yaml`` is gone. Options that are newer than
    the run have the value that says what it did, or their default.

    Raises:
        UserError: when that is not a configuration.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    own = decisive(renewed(read_yaml(path, hint)))
    for task in {key.split(".")[1] for key in own if key.startswith("pseudo.")}:
        entry = {field.name: field.default for field in fields(Pseudo) if field.name != "teacher"}
        own = {f"pseudo.{task}.{name}": value for name, value in entry.items()} | own
    older = {} if "model.version" in own else first_version(own.get("tasks", ()))
    return _defaults() | older | own


@cache
def _defaults() -> dict[str, Any]:
    """Nobody changes it."""
    return decisive(OmegaConf.to_container(defaults()))


def setting(result: Result) -> dict[str, Any]:
    """What decides the figures of a ``result.json``, by name: what the row itself says, how it was measured, and every
    further option by its dotted key."""
    options, asked = result.options, result.asked
    named: dict[str, Any] = {key: getattr(result, key) for key in ("inputs", "tasks", "normalise", "budget")}
    named |= {"backbone": result.backbone, "assignment": result.assignment}
    named["pretrained"] = _pretrained(result.pretrained, options.get("model.pretrained"))
    named |= {"size": result.size, "crop": result.crop}
    by_epochs = "train.epochs" in options and options.get("train.steps") is None
    named |= {"steps": result.steps, "epochs": options["train.epochs"] if by_epochs else None}
    named |= {"split": asked.split, "checkpoint": asked.checkpoint, "val": asked.val}
    drawn = asked.split in (None, "val") and asked.val is not None
    named["val_seed"] = (OWN_SEED if asked.val_seed is None else asked.val_seed) if drawn else None
    ranges = ", ".join(f"{task} {least:g} to {most:g}" for task, (least, most) in asked.range.items())
    named |= {"evaluate.resolution": asked.resolution, "evaluate.range": ranges or None}
    named["evaluate.crop"] = asked.crop
    named["manifest"] = asked.manifest[:8] or None
    return named | {key: value for key, value in options.items() if not is_in(key, _NAMED)}


def same(one: Any, other: Any) -> bool:
    """Whether two settings, or values of one, are the same."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def word(value: Any) -> str:
    """A setting's value as a table shows it."""
    if isinstance(value, dict):
        return " ".join(f"{key} {word(of)}" for key, of in value.items()) or "all"
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return {"True": "yes", "False": "no", "None": "–"}.get(str(value), str(value))


def _pretrained(noted: Any, option: Any) -> Any:
    """Where the first weights came from. Runs of before that was noted say no more than that they had some; then the
    file's name has to do."""
    if noted is not True:
        return noted
    if not isinstance(option, str):
        return "hub" if option is True else True
    path = Path(option)
    return path.parts[-5] if path.parts[-3:-2] == ("checkpoints",) and len(path.parts) > 4 else path.stem
