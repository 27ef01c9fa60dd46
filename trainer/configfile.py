"""Configurations from files and from Python: inheritance, overrides, and errors that name the key and give a hint.

A file is YAML in the form of :class:`trainer.config.Config`, with one additional key: ``inherits: FILE`` (or a list of
files, of which later ones win), relative to itself, or by the name of a shipped one (:mod:`trainer.shipped`).
"""

import copy
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from shards.errors import UserError
from trainer.affinity import affinity_file
from trainer.config import Config
from trainer.configdocs import meaning
from trainer.configerrors import first_line, in_plain_words, meant_instead, replaced_section
from trainer.configtext import expand_home, expand_user, parse_override, restore_text
from trainer.configvalues import COMMAND_LINE, check
from trainer.definition import unused_options
from trainer.option import is_in, names
from trainer.origins import Origins
from trainer.parsing import parse_keep
from trainer.recommendation import AUTO, affinity_folder, pseudo_labels
from trainer.renamed import new_spelling, remove_version, rename_old_options
from trainer.shipped import find, resolve

_STUDENT_ONLY = names(Config, lambda facts: not facts.inherited)
"""Options that a teacher does not take over from its student's command."""
_RESOLVED = {"experiment", "seed", "model", "frames", "val", "dev", "evaluate", "checkpoint", "run"}
"""Keys by which a run's resolved ``config.yaml``, which names all options of its time, is recognised."""
IN_PYTHON = "Config"
"""Stands for the file in errors of a configuration that was made in Python."""
_TEXT = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Loads all scalars as text, as they are written."""
NO_PSEUDO = "pseudo=null"
"""The override that removes a file's pseudo-labels."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply overrides.

    Args:
        path: the YAML file, or the name of a shipped one.
        overrides: ``key=value`` with dotted keys; values are YAML, or the text itself where an option is text.

    Returns:
        A resolved, read-only ``DictConfig`` in the form of :class:`trainer.config.Config`.

    Raises:
        UserError: a missing file, an unknown key (with the closest valid one), a value that is missing, of the wrong
            type or out of range.
    """
    path = find(path)
    return _resolve(_chain(path, ()), overrides, path, path.stem)


def from_python(config: Config, overrides: Sequence[str] = ()) -> Config:
    """Resolve a configuration that was made in Python, as a file with all of its values would be.

    Args:
        config: a :class:`trainer.config.Config`, or what this function returns. It names its ``experiment``, and paths
            are relative to the working directory.
        overrides: ``key=value``, as for :func:`load`.

    Returns:
        A resolved, read-only ``DictConfig`` in the form of :class:`trainer.config.Config`; the argument is unchanged.

    Raises:
        UserError: as :func:`load` does, and for ``pseudo: auto``, whose teachers are described by the student's file.
    """
    values: Any = OmegaConf.to_container(config) if OmegaConf.is_config(config) else asdict(config)
    _locate_teachers(values, IN_PYTHON, Path.cwd())  # whole paths: the run's folder keeps a copy of the configuration
    try:
        content = OmegaConf.create(values)
    except OmegaConfBaseException as error:
        raise UserError(first_line(error), file=IN_PYTHON, key=error.full_key, hint=meaning(error.full_key)) from None
    if any(layer.get("pseudo") == AUTO for layer in (content, *map(_parse, overrides))):
        hint = "give each task's trainer.sections.Pseudo, or write the configuration to a file"
        raise UserError("the teacher is described by its student's file", file=IN_PYTHON, key="pseudo", hint=hint)
    return _resolve([(Path(IN_PYTHON), content)], overrides, Path(IN_PYTHON))


def _resolve(
    chain: list[tuple[Path, DictConfig]], overrides: Sequence[str], path: Path, name: str | None = None
) -> Config:
    """Return the defaults with the contents of files and overrides merged into them, resolved, checked and read-only.

    Args:
        chain: the contents, of which later ones win, with their files.
        overrides: ``key=value``.
        path: the file that errors name where no file wrote the value.
        name: of the experiment, if none of them names it.

    Raises:
        UserError: as :func:`load` does.
    """
    config = copy.deepcopy(defaults())
    layers: list[tuple[str | Path, DictConfig]] = [*chain]
    layers += [(COMMAND_LINE, _parse(override)) for override in overrides]
    for file, content in layers:
        if content.keys() >= _RESOLVED:
            remove_version(rename_old_options(content), file)
    origins = Origins([(file, flatten(OmegaConf.to_container(content))) for file, content in layers], path)
    labels = [(file, content.pop("pseudo", {})) for file, content in layers]
    for file, content in layers:
        _merge(config, content, file)
    if OmegaConf.is_missing(config, "experiment"):
        if name is None:
            raise UserError("is not set", file=path, key="experiment", hint=meaning("experiment"))
        config.experiment = name
    for name, value in unused_options(config.model.name).items():
        if origins.is_later("model.name", f"model.{name}"):  # it was written for the network that this one replaces
            config.model[name] = value
    try:
        _merge_pseudo(config, labels, path)
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        hint = "correct the interpolation ${...}"
        file = origins.file(error.full_key or "")
        raise UserError(first_line(error), file=file, key=error.full_key, hint=hint) from error
    expand_home(config, origins.file)
    check(config, origins)
    for task, entry in config.pseudo.items():
        entry.keep = parse_keep(entry.keep, f"pseudo.{task}.keep")
    OmegaConf.set_readonly(config, True)
    return config  # a DictConfig, which looks like the dataclass


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of a nested mapping by dotted key."""
    if not isinstance(value, dict):
        return {prefix: value}
    nested = (flatten(item, f"{prefix}.{name}" if prefix else str(name)) for name, item in value.items())
    return {key: item for mapping in nested for key, item in mapping.items()}


def teacher_call(config: Config, task: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Return the configuration file and overrides of the teacher for one task's pseudo-labels.

    The student's overrides also apply to its teacher, except those that would make it another experiment.
    """
    file, inputs, overrides = config.pseudo[task].teacher, config.pseudo[task].inputs, shared_overrides(overrides)
    if any(entry.holes for entry in config.pseudo.values()):
        overrides.append("label.frames=all")
    if inputs:  # the student's own file
        name = "-".join([load(file, [*overrides, NO_PSEUDO]).experiment, *inputs])
        overrides += [f"experiment={name}", f"inputs=[{', '.join(inputs)}]", NO_PSEUDO]
    return file, overrides


def shared_overrides(overrides: Iterable[str]) -> list[str]:
    """Return the overrides that a teacher takes over from its student's command."""
    return [override for override in overrides if not is_in(override.partition("=")[0], _STUDENT_ONLY)]


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML."""
    return OmegaConf.to_yaml(config, resolve=True)


def to_file(config: Config) -> str:
    """Return the resolved configuration as the YAML of a file to start from. It is that of :func:`to_yaml`, but a
    default ``run.path`` is written as its template, so that a later change of seed or name moves the run."""
    content: Any = OmegaConf.create(to_dict(config))
    default = flatten(OmegaConf.to_container(defaults()))["run.path"]
    content.run.path = default
    if content.run.path != config.run.path:
        return to_yaml(config)
    return OmegaConf.to_yaml(content).replace(default, f"{default}  # {config.run.path}")


def to_dict(config: Config) -> dict[str, Any]:
    """Return the resolved configuration as JSON values."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def read_yaml(path: Path, hint: str) -> Any:
    """Read a configuration file, unmerged and with text as it is written.

    Raises:
        FileNotFoundError: when it does not exist.
        UserError: when it is not valid YAML, with the given hint; or for a number with a leading zero.
    """
    try:
        return copy.deepcopy(_parse_text(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except UserError as error:
        raise UserError(error.what, file=path, key=error.key, hint=error.hint) from None
    except (yaml.YAMLError, OSError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise UserError(f"is not a configuration ({first_line(error)})", file=path, hint=hint) from error


@lru_cache(maxsize=64)
def _parse_text(text: str) -> Any:
    """Return the values of a YAML document. Callers must not change them: the networks of a grid share their files."""
    return restore_text(OmegaConf.to_container(OmegaConf.load(io.StringIO(text))), yaml.load(text, _TEXT))


def _chain(path: Path, descendants: tuple[Path, ...]) -> list[tuple[Path, DictConfig]]:
    """Return a file's ancestors and the file itself, the oldest first."""
    if path.resolve() in descendants:
        raise UserError("inherits itself", file=path, key="inherits", hint="remove the cycle")
    content = read_yaml(path, "correct it")
    if not isinstance(content, dict):
        raise UserError("holds no keys", file=path, hint="write `key: value` lines")
    inherits = content.pop("inherits", [])
    ancestors = inherits if isinstance(inherits, list) else [inherits]
    if not all(isinstance(name, str) for name in ancestors):
        raise UserError(f"{inherits!r} names no file", file=path, key="inherits", hint="name one file or a list")
    chain = []
    for name in ancestors:
        chain += _chain(find(name, path.parent), (*descendants, path.resolve()))
    _locate_teachers(content, path, path.parent)
    return [*chain, (path, OmegaConf.create(content))]


def _locate_teachers(content: dict[str, Any], path: str | Path, folder: Path) -> None:
    """Replace the teachers' files in a content by their paths from the working directory.

    Args:
        content: the content of a file.
        path: the file, for errors.
        folder: the folder that the teachers' files are relative to.
    """
    pseudo = content.get("pseudo")
    for entry in pseudo.values() if isinstance(pseudo, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("teacher"), str) and entry["teacher"] != MISSING:
            teacher = expand_user(entry["teacher"], path, "pseudo")
            entry["teacher"] = str(resolve(teacher, folder))


def _parse(override: str) -> DictConfig:
    key, equals, written = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is not an override", file=COMMAND_LINE, hint="write key=value")
    try:
        return parse_override(key, written)
    except UserError as error:
        raise UserError(error.what, file=COMMAND_LINE, key=error.key, hint=error.hint) from None
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        hint = "write a YAML value, quoted if need be"
        raise UserError(first_line(error), file=COMMAND_LINE, key=key, hint=hint) from error


@cache
def defaults() -> Any:
    """Return every option's default. Callers must not change it; copying it is faster than building it."""
    return OmegaConf.structured(Config)


def _merge(config: Any, content: DictConfig, file: str | Path) -> None:
    """Merge the content of a file into a configuration."""
    try:
        config.merge_with(content)
    except ConfigKeyError as error:
        name = str(error.full_key or error.key)
        hint = new_spelling(name, content, "=" if file == COMMAND_LINE else ": ") or meant_instead(name)
        raise UserError("is not an option", file=file, key=name, hint=hint) from None
    except (OmegaConfBaseException, TypeError) as error:  # a TypeError where a list stands in place of a mapping
        key = getattr(error, "full_key", None) or replaced_section(content)
        if key and "is not a ListConfig" in str(error):
            hint = f"write {key}{'=' if file == COMMAND_LINE else ': '}[{OmegaConf.select(content, key)}]"
            raise UserError("is not a list", file=file, key=key, hint=hint) from None
        message, hint = in_plain_words(error), meaning(key) or "correct the value"
        if key and key.startswith("pseudo.") and "not a section" in message:
            hint = f"write {key}: {{teacher: FILE}}"
        raise UserError(message, file=file, key=key, hint=hint) from None


def _merge_pseudo(config: Any, layers: list[tuple[str | Path, Any]], path: Path) -> None:
    """Merge the ``pseudo`` sections, after all others since ``auto`` depends on them. Later layers change what ``auto``
    stands for; null discards all earlier layers."""
    affinity = config.affinity
    discarding = [number for number, (_, labels) in enumerate(layers) if labels is None]
    if discarding:
        affinity, config.affinity, layers = None, None, layers[discarding[-1] + 1 :]
    for file, labels in layers:
        if labels == AUTO:
            config.pseudo, config.affinity = {}, affinity or str(affinity_file(affinity_folder(config)))
            labels = pseudo_labels(config.affinity, path, list(config.tasks), config.affinity_split)
        _merge(config, OmegaConf.create({"pseudo": labels}), file)
