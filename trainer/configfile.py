"""Configuration files: inheritance, ``key=value`` overrides, and errors that name the key and its hint.

A file is YAML in the form of :class:`trainer.config.Config`, with one key more: ``inherits: FILE`` (or a list of
files, later ones win), relative to itself, or by the name of a shipped one (:mod:`trainer.shipped`).
"""

import copy
import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from shards.errors import UserError
from trainer.affinity import located
from trainer.config import Config
from trainer.configdocs import documentation, meaning
from trainer.configtext import as_written, expand_home, home
from trainer.configtext import override as typed_override
from trainer.configvalues import COMMAND_LINE, check
from trainer.definition import first_networks
from trainer.option import is_in, names
from trainer.parsing import parse_keep
from trainer.recommendation import AUTO, affinity_folder, pseudo_labels
from trainer.renamed import new_spelling, renewed
from trainer.shipped import find, resolve

_OF_THE_STUDENT = names(Config, lambda facts: not facts.inherited)
"""Options that a student's command does not hand on to its teacher."""
_RESOLVED = {"experiment", "seed", "model", "frames", "val", "dev", "evaluate", "checkpoint", "run"}
"""Keys that tell a run's resolved ``config.yaml``, which names all options of its time. One without ``val_seed`` is of
a run whose own seed drew its validation frames, one without ``model.version`` of a network of version 1."""
_TEXT = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Gives scalars as they are written."""
NO_PSEUDO = "pseudo=null"
"""The override that takes away a file's pseudo-labels."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply overrides.

    Args:
        path: the YAML file, or the name of a shipped one.
        overrides: ``key=value`` with dotted keys; values are YAML, or the text itself where an option is text.

    Returns:
        A resolved, read-only ``DictConfig`` in the form of :class:`trainer.config.Config`.

    Raises:
        UserError: a missing file, an unknown key (with the nearest right one), a value that is missing, of the wrong
            type or out of range.
    """
    path = find(path)
    config = copy.deepcopy(defaults())
    layers: list[tuple[str | Path, DictConfig]] = [*_chain(path, ())]
    layers += [(COMMAND_LINE, _parse(override)) for override in overrides]
    for _, content in layers:
        if content.keys() >= _RESOLVED:
            renewed(content)
            content.setdefault("val_seed", None)
            content.model.setdefault("version", 1)
    given = {key for _, content in layers for key in flat(OmegaConf.to_container(content))}
    labels = [(file, content.pop("pseudo", {})) for file, content in layers]
    for file, content in layers:
        _merge(config, content, file)
    if OmegaConf.is_missing(config, "experiment"):
        config.experiment = path.stem
    if config.model.version == 1:
        for key, value in first_version(config.tasks).items():
            if key not in given:
                OmegaConf.update(config, key, value)
    try:
        _merge_pseudo(config, labels, path)
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        hint = "correct the interpolation ${...}"
        raise UserError(_first_line(error), file=path, key=error.full_key, hint=hint) from error
    expand_home(config, path)
    check(config, path, overrides)
    for task, entry in config.pseudo.items():
        entry.keep = parse_keep(entry.keep, f"pseudo.{task}.keep")
    OmegaConf.set_readonly(config, True)
    return config  # a DictConfig, which looks like the dataclass


def first_version(tasks: Sequence[str]) -> dict[str, Any]:
    """What runs of networks of version 1 did, by options that came later and whose defaults do something else."""
    return {"loss.deep_cells": 1} | flat({"model": first_networks(len(tasks))})


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a nested mapping by their dotted keys."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for name, of in value.items() for k, v in flat(of, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def teacher_call(config: Config, task: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The configuration file and overrides of the teacher for one task's pseudo-labels.

    The student's overrides hold for its teacher too, except those that make it another experiment.
    """
    file, inputs, overrides = config.pseudo[task].teacher, config.pseudo[task].inputs, shared(overrides)
    if any(entry.holes for entry in config.pseudo.values()):
        overrides.append("label.frames=all")
    if inputs:  # the student's own file
        name = "-".join([load(file, [*overrides, NO_PSEUDO]).experiment, *inputs])
        overrides += [f"experiment={name}", f"inputs=[{', '.join(inputs)}]", NO_PSEUDO]
    return file, overrides


def shared(overrides: Iterable[str]) -> list[str]:
    """The overrides that a teacher takes over from its student's command."""
    return [override for override in overrides if not is_in(override.partition("=")[0], _OF_THE_STUDENT)]


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML."""
    return OmegaConf.to_yaml(config, resolve=True)


def to_dict(config: Config) -> dict[str, Any]:
    """The resolved configuration as JSON values."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def read_yaml(path: Path, hint: str) -> Any:
    """What a configuration file says, as it stands there.

    Raises:
        FileNotFoundError: when there is none.
        UserError: when it is no YAML, with the given hint.
    """
    try:
        value = OmegaConf.to_container(OmegaConf.load(path))
        with path.open(encoding="utf-8") as file:
            return as_written(value, yaml.load(file, _TEXT))
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, OSError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise UserError(f"is not a configuration ({_first_line(error)})", file=path, hint=hint) from error


def _chain(path: Path, heirs: tuple[Path, ...]) -> list[tuple[Path, DictConfig]]:
    """A file's ancestors and itself, the oldest first."""
    if path.resolve() in heirs:
        raise UserError("inherits itself", file=path, key="inherits", hint="break the circle")
    content = read_yaml(path, "correct it")
    if not isinstance(content, dict):
        raise UserError("holds no keys", file=path, hint="write `key: value` lines")
    inherits = content.pop("inherits", [])
    ancestors = inherits if isinstance(inherits, list) else [inherits]
    if not all(isinstance(name, str) for name in ancestors):
        raise UserError(f"{inherits!r} names no file", file=path, key="inherits", hint="name one file or a list")
    chain = []
    for name in ancestors:
        chain += _chain(find(name, path.parent), (*heirs, path.resolve()))
    pseudo = content.get("pseudo")
    for entry in pseudo.values() if isinstance(pseudo, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("teacher"), str):
            teacher = home(entry["teacher"], path, "pseudo")
            entry["teacher"] = str(resolve(teacher, path.parent))  # relative to the file that names it
    return [*chain, (path, OmegaConf.create(content))]


def _parse(override: str) -> DictConfig:
    key, equals, written = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is not an override", file=COMMAND_LINE, hint="write key=value")
    try:
        return typed_override(key, written)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        hint = "write a YAML value, quoted if need be"
        raise UserError(_first_line(error), file=COMMAND_LINE, key=key, hint=hint) from error


@cache
def defaults() -> Any:
    """Every option's default, which nobody changes: to copy it takes less time than to make it."""
    return OmegaConf.structured(Config)


def _merge(config: Any, content: DictConfig, file: str | Path) -> None:
    """Change a configuration by what a file says."""
    try:
        config.merge_with(content)
    except ConfigKeyError as error:
        key = str(error.full_key or error.key)
        near = _near(key)
        hint = f"did you mean {near[0]}?" if near else "see `tutelage config --keys`"
        hint = new_spelling(key, content, "=" if file == COMMAND_LINE else ": ") or hint
        raise UserError("is no such option", file=file, key=key, hint=hint) from None
    except (OmegaConfBaseException, TypeError) as error:  # it has no error of its own for a list in a mapping's place
        place = getattr(error, "full_key", None)
        if place and "is not a ListConfig" in str(error):
            hint = f"write {place}{'=' if file == COMMAND_LINE else ': '}[{OmegaConf.select(content, place)}]"
            raise UserError("is not a list", file=file, key=place, hint=hint) from None
        what, hint = _in_plain_words(error), meaning(place) or "correct the value"
        if place and place.startswith("pseudo.") and "not a section" in what:
            hint = f"write {place}: {{teacher: FILE}}"
        raise UserError(what, file=file, key=place, hint=hint) from None


def _merge_pseudo(config: Any, layers: list[tuple[str | Path, Any]], path: Path) -> None:
    """Pseudo-labels come last, since ``auto`` depends on the rest. What stands after it changes what it stands for;
    null takes away all that stands before."""
    named = config.affinity
    gone = [number for number, (_, labels) in enumerate(layers) if labels is None]
    if gone:
        named, config.affinity, layers = None, None, layers[gone[-1] + 1 :]
    for file, labels in layers:
        if labels == AUTO:
            config.pseudo, config.affinity = {}, named or str(located(affinity_folder(config)))
            labels = pseudo_labels(config.affinity, path, list(config.tasks), config.affinity_split)
        _merge(config, OmegaConf.create({"pseudo": labels}), file)


def _known_keys(wrong: str) -> list[str]:
    """All options and the sections they stand in, for the task that a mistyped key names."""
    task = wrong.split(".")[1] if wrong.startswith("pseudo.") else "TASK"
    keys = [key.replace("TASK", task) for key in documentation()]
    return keys + sorted({key.rpartition(".")[0] for key in keys} - {""})


def _near(wrong: str) -> list[str]:
    """The option that somebody may have meant: of a similar name, or called so in some section."""
    known, last = _known_keys(wrong), wrong.rpartition(".")[2]
    by_end = {key.rpartition(".")[2]: key for key in known}
    similar = difflib.get_close_matches(wrong, known, 1, cutoff=0.7)
    return similar or [by_end[end] for end in difflib.get_close_matches(last, by_end, 1, cutoff=0.7)]


def _in_plain_words(error: Exception) -> str:
    """What is wrong with a value, without the terms of omegaconf."""
    text = _first_line(error)
    if found := re.search(r"Value (.*) of type '.*' could not be converted to (\w+)", text):
        kinds = {"Integer": "an integer", "Float": "a number", "Boolean": "true or false"}
        return f"{found[1]} is not {kinds.get(found[2], found[2])}"
    if found := re.search(r"(\w+) is not a subclass of \w+\. value: (.*)", text):
        return f"{found[2]} is a {found[1]}, not a section of options"
    return text


def _first_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
