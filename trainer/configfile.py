"""Configuration files: inheritance, ``key=value`` overrides, and errors that name the key and its cure.

A file is YAML in the form of :class:`trainer.config.Config`, with one key more: ``inherits: FILE`` (or a list of
files, later ones win), relative to itself.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from shards.errors import UserError
from trainer.config import Config
from trainer.configdocs import documentation

CHOICES = {
    "model.fusion": ("add", "early"),
    "loss.normalise": ("labelled", "all"),
    "train.optimizer": ("adam", "adamw"),
    "train.schedule": ("polynomial", "cosine", "constant"),
    "train.precision": ("fp32", "bf16", "fp16"),
    "evaluate.checkpoint": ("last", "best"),
    "evaluate.split": ("val", "dev"),
}
_POSITIVE = (
    "train.epochs",
    "train.global_batch",
    "train.accumulation",
    "train.log_every",
    "evaluate.batch",
    "label.batch",
    "checkpoint.every",
    "checkpoint.keep",
    "data.window",
)
_OF_THE_STUDENT = ("experiment", "inputs", "tasks", "pseudo", "run.path", "loss", "model.fusion", "evaluate.split")
"""Overrides that a student's command does not hand on to its teacher."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply overrides.

    Args:
        path: the YAML file.
        overrides: ``key=value`` with dotted keys; values are YAML.

    Returns:
        A resolved, read-only ``DictConfig`` in the form of :class:`trainer.config.Config`.

    Raises:
        UserError: a missing file, an unknown key (with the nearest right one), a value of the wrong type.
    """
    path = Path(path)
    config = OmegaConf.structured(Config)
    for file, content in _chain(path, ()):
        config = _merge(config, content, file)
    for override in overrides:
        config = _merge(config, _parse(override), "command line")
    if OmegaConf.is_missing(config, "experiment"):
        config.experiment = path.stem
    _check(config, path)
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        raise UserError(_first_line(error), file=path, cure="correct the interpolation ${...}") from error
    OmegaConf.set_readonly(config, True)
    return config  # a DictConfig, which looks like the dataclass


def load_teacher(config: Config, task: str, overrides: Sequence[str]) -> Config:
    """The teacher's configuration for one task's pseudo-labels.

    The student's overrides hold for its teacher too, except those that make it another experiment.
    """
    return load(config.pseudo[task].teacher, shared(overrides))


def shared(overrides: Iterable[str]) -> list[str]:
    """The overrides that a teacher takes over from its student's command."""
    return [
        override
        for override in overrides
        if not any(override.partition("=")[0] == key or override.startswith(f"{key}.") for key in _OF_THE_STUDENT)
    ]


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML."""
    return OmegaConf.to_yaml(config, resolve=True)


def to_dict(config: Config) -> dict[str, Any]:
    """The resolved configuration as JSON values."""
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def parse_size(text: str | None, key: str) -> tuple[int, int] | None:
    """``"96x128"`` → (96, 128), height first.

    Raises:
        UserError: when it is no size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not match or not all(int(side) for side in match.groups()):
        raise UserError(f"{text!r} is no size", key=key, cure="write HEIGHTxWIDTH, such as 480x640")
    return int(match[1]), int(match[2])


def _chain(path: Path, heirs: tuple[Path, ...]) -> list[tuple[Path, DictConfig]]:
    """A file's ancestors and itself, the oldest first."""
    if path.resolve() in heirs:
        raise UserError("inherits itself", file=path, key="inherits", cure="break the circle")
    try:
        content = OmegaConf.load(path)
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], 1)
        cure = (
            f"did you mean {path.parent / near[0]}?" if near else "give the path of a configuration (configs/…/*.yaml)"
        )
        raise UserError("does not exist", file=path, cure=cure) from None
    except (yaml.YAMLError, OSError) as error:
        raise UserError(f"is no YAML ({_first_line(error)})", file=path, cure="correct it") from error
    if not isinstance(content, DictConfig):
        raise UserError("holds no keys", file=path, cure="write `key: value` lines")
    ancestors = OmegaConf.to_container(content).get("inherits", [])  # type: ignore[union-attr]
    content.pop("inherits", None)
    chain = []
    for name in [ancestors] if isinstance(ancestors, str) else ancestors:
        chain += _chain(path.parent / name, (*heirs, path.resolve()))
    for task in content.get("pseudo") or {}:  # a teacher's file stands relative to the file that names it
        entry = content.pseudo[task]
        if isinstance(entry, DictConfig) and "teacher" in entry:
            entry.teacher = str(path.parent / entry.teacher)
    return [*chain, (path, content)]


def _parse(override: str) -> DictConfig:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is no override", file="command line", cure="write key=value")
    try:
        return OmegaConf.from_dotlist([override])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        cure = "write a YAML value, quoted if need be"
        raise UserError(_first_line(error), file="command line", key=key, cure=cure) from error


def _merge(config: Any, content: DictConfig, file: str | Path) -> Any:
    try:
        return OmegaConf.merge(config, content)
    except ConfigKeyError as error:
        key = str(error.full_key or error.key)
        near = difflib.get_close_matches(key, _known_keys(config), 1, cutoff=0.3)
        cure = f"did you mean {near[0]}?" if near else "see `tutelage config --help-keys`"
        raise UserError("is no such option", file=file, key=key, cure=cure) from None
    except OmegaConfBaseException as error:
        meaning = documentation().get(str(error.full_key), "")
        cure = f"it means: {meaning}" if meaning else "correct the value"
        raise UserError(_first_line(error), file=file, key=str(error.full_key), cure=cure) from None


def _known_keys(config: Any) -> list[str]:
    keys = list(documentation())
    for task in config.pseudo:
        keys += [key.replace("TASK", str(task)) for key in keys if "TASK" in key]
    return keys + sorted({key.rpartition(".")[0] for key in keys} - {""})


def _check(config: Any, path: Path) -> None:
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value not in choices:
            raise UserError(f"{value!r} is unknown", file=path, key=key, cure=f"use one of {', '.join(choices)}")
    for key in _POSITIVE:
        if OmegaConf.select(config, key) < 1:
            raise UserError(
                f"{OmegaConf.select(config, key)} is less than 1", file=path, key=key, cure="give 1 or more"
            )
    for key in ("inputs", "tasks"):
        names = list(config[key])
        if not names or len(set(names)) < len(names):
            raise UserError(f"{names} is empty or names one twice", file=path, key=key, cure="name each one once")
    for key in ("data.size", "data.crop"):
        parse_size(OmegaConf.select(config, key), key)
    for task, budget in config.labels.items():
        if budget < 0:
            raise UserError(f"{budget} frames", file=path, key=f"labels.{task}", cure="give 0 or more")
    for task, entry in config.pseudo.items():
        if task not in config.tasks:
            what = f"pseudo-labels of {task}, which is none of the tasks {list(config.tasks)}"
            raise UserError(what, file=path, key=f"pseudo.{task}", cure="name one of the tasks")
        if entry.threshold is not None and not 0 <= entry.threshold < 1:
            cure = "give a confidence of at least 0 and less than 1, or null"
            raise UserError(f"{entry.threshold} is no threshold", file=path, key=f"pseudo.{task}.threshold", cure=cure)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
