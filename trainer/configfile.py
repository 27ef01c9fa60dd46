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
from trainer.recommendation import AUTO, FILE, pseudo_labels, relation_folder

COMMAND_LINE = "command line"
"""What errors name as the file of an override."""
CHOICES = {
    "model.fusion": ("add", "early"),
    "loss.normalise": ("labelled", "all"),
    "train.optimizer": ("adam", "adamw"),
    "train.schedule": ("polynomial", "cosine", "constant"),
    "model.norm": ("batch", "sync", "frozen"),
    "train.precision": ("fp32", "bf16", "fp16"),
    "evaluate.checkpoint": ("last", "best"),
    "evaluate.split": ("val", "dev"),
}
_LEAST = {
    "seed": 0,
    "frames": 1,
    "val": 1,
    "dev": 0,
    "data.workers": 0,
    "data.window": 1,
    "train.epochs": 1,
    "train.steps": 1,
    "train.global_batch": 1,
    "train.accumulation": 1,
    "train.lr": 0,
    "train.weight_decay": 0,
    "train.warmup": 0,
    "train.log_every": 1,
    "train.timeout": 30,
    "evaluate.every": 0,
    "evaluate.batch": 1,
    "label.batch": 1,
    "checkpoint.keep": 1,
}
"""The smallest value of a number, where it is one."""
_OF_THE_STUDENT = (
    "experiment",
    "inputs",
    "tasks",
    "pseudo",
    "relation",
    "run.path",
    "loss",
    "model.fusion",
    "evaluate.split",
)
"""Overrides that a student's command does not hand on to its teacher."""
NO_PSEUDO = "pseudo=null"
"""The override that takes away a file's pseudo-labels."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration file and apply overrides.

    Args:
        path: the YAML file.
        overrides: ``key=value`` with dotted keys; values are YAML.

    Returns:
        A resolved, read-only ``DictConfig`` in the form of :class:`trainer.config.Config`.

    Raises:
        UserError: a missing file, an unknown key (with the nearest right one), a value that is missing, of the wrong
            type or out of range.
    """
    path = Path(path)
    config = OmegaConf.structured(Config)
    layers: list[tuple[str | Path, DictConfig]] = [*_chain(path, ())]
    layers += [(COMMAND_LINE, _parse(override)) for override in overrides]
    labels = [(file, content.pop("pseudo", {})) for file, content in layers]
    for file, content in layers:
        config = _merge(config, content, file)
    if OmegaConf.is_missing(config, "experiment"):
        config.experiment = path.stem
    try:
        config = _merge_pseudo(config, labels, path)
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        cure = "correct the interpolation ${...}"
        raise UserError(_first_line(error), file=path, key=error.full_key, cure=cure) from error
    _check(config, path, overrides)
    OmegaConf.set_readonly(config, True)
    return config  # a DictConfig, which looks like the dataclass


def teacher_call(config: Config, task: str, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The configuration file and overrides of the teacher for one task's pseudo-labels.

    The student's overrides hold for its teacher too, except those that make it another experiment.
    """
    file, inputs, overrides = config.pseudo[task].teacher, config.pseudo[task].inputs, shared(overrides)
    if inputs:  # the student's own file
        name = "-".join([load(file, [*overrides, NO_PSEUDO]).experiment, *inputs])
        overrides += [f"experiment={name}", f"inputs=[{', '.join(inputs)}]", NO_PSEUDO]
    return file, overrides


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


def parse_every(value: int | str) -> tuple[int | None, float | None]:
    """``checkpoint.every`` as steps, or as seconds: ``500`` → (500, None), ``"30m"`` → (None, 1800.0).

    Raises:
        UserError: when it is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(value))
    if not match or not float(match[1]) or not (match[2] or match[1].isdigit()):
        cure = "give a number of steps from 1 up, or minutes such as 30m"
        raise UserError(f"{value!r} is no interval", key="checkpoint.every", cure=cure)
    return (None, 60 * float(match[1])) if match[2] else (int(match[1]), None)


def read_yaml(path: Path, cure: str) -> Any:
    """What a configuration file says, as it stands there.

    Raises:
        FileNotFoundError: when there is none.
        UserError: when it is no YAML, with the given cure.
    """
    try:
        return OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, OSError, UnicodeDecodeError, OmegaConfBaseException) as error:
        raise UserError(f"is no configuration ({_first_line(error)})", file=path, cure=cure) from error


def _chain(path: Path, heirs: tuple[Path, ...]) -> list[tuple[Path, DictConfig]]:
    """A file's ancestors and itself, the oldest first."""
    if path.resolve() in heirs:
        raise UserError("inherits itself", file=path, key="inherits", cure="break the circle")
    try:
        content = read_yaml(path, "correct it")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], 1)
        cure = (
            f"did you mean {path.parent / near[0]}?" if near else "give the path of a configuration (configs/…/*.yaml)"
        )
        raise UserError("does not exist", file=path, cure=cure) from None
    if not isinstance(content, dict):
        raise UserError("holds no keys", file=path, cure="write `key: value` lines")
    inherits = content.pop("inherits", [])
    ancestors = inherits if isinstance(inherits, list) else [inherits]
    if not all(isinstance(name, str) for name in ancestors):
        raise UserError(f"{inherits!r} names no file", file=path, key="inherits", cure="name one file or a list")
    chain = []
    for name in ancestors:
        chain += _chain(path.parent / name, (*heirs, path.resolve()))
    pseudo = content.get("pseudo")
    for entry in pseudo.values() if isinstance(pseudo, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("teacher"), str):
            entry["teacher"] = str(path.parent / entry["teacher"])  # relative to the file that names it
    return [*chain, (path, OmegaConf.create(content))]


def _parse(override: str) -> DictConfig:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is no override", file=COMMAND_LINE, cure="write key=value")
    try:
        return OmegaConf.from_dotlist([override])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        cure = "write a YAML value, quoted if need be"
        raise UserError(_first_line(error), file=COMMAND_LINE, key=key, cure=cure) from error


def _merge(config: Any, content: DictConfig, file: str | Path) -> Any:
    try:
        return OmegaConf.merge(config, content)
    except ConfigKeyError as error:
        key = str(error.full_key or error.key)
        near = difflib.get_close_matches(key, _known_keys(key), 1, cutoff=0.3)
        cure = f"did you mean {near[0]}?" if near else "see `tutelage config --keys`"
        raise UserError("is no such option", file=file, key=key, cure=cure) from None
    except (OmegaConfBaseException, TypeError) as error:  # it has no error of its own for a list in a mapping's place
        place = getattr(error, "full_key", None)
        if place and "is not a ListConfig" in str(error):
            cure = f"write {place}{'=' if file == COMMAND_LINE else ': '}[{OmegaConf.select(content, place)}]"
            raise UserError("is no list", file=file, key=place, cure=cure) from None
        raise UserError(_first_line(error), file=file, key=place, cure=_meaning(place) or "correct the value") from None


def _merge_pseudo(config: Any, layers: list[tuple[str | Path, Any]], path: Path) -> Any:
    """Pseudo-labels come last, since ``auto`` depends on the rest. What stands after it changes what it stands for;
    null takes away all that stands before."""
    named = config.relation
    gone = [number for number, (_, labels) in enumerate(layers) if labels is None]
    if gone:
        named, config.relation, layers = None, None, layers[gone[-1] + 1 :]
    for file, labels in layers:
        if labels == AUTO:
            config.pseudo, config.relation = {}, named or str(relation_folder(config) / FILE)
            labels = pseudo_labels(config.relation, path, list(config.tasks))
        config = _merge(config, OmegaConf.create({"pseudo": labels}), file)
    return config


def _known_keys(wrong: str) -> list[str]:
    """All options and the sections they stand in, for the task that a mistyped key names."""
    task = wrong.split(".")[1] if wrong.startswith("pseudo.") else "TASK"
    keys = [key.replace("TASK", task) for key in documentation()]
    return keys + sorted({key.rpartition(".")[0] for key in keys} - {""})


def _meaning(key: str | None) -> str:
    """What an option means, as an error's cure."""
    for known, meaning in documentation().items():
        if key and re.fullmatch(known.replace(".TASK", r"(\.\w+)?"), key):
            return f"it means: {meaning}"
    return ""


def _check(config: Any, path: Path, overrides: Sequence[str]) -> None:
    given = {override.partition("=")[0] for override in overrides}

    def wrong(what: str, key: str, cure: str) -> UserError:
        return UserError(what, file=COMMAND_LINE if key in given else path, key=key, cure=cure)

    for key in sorted(OmegaConf.missing_keys(config)):
        raise wrong("is not set", key, _meaning(key))
    for key, choices in CHOICES.items():
        value = OmegaConf.select(config, key)
        if value not in choices:
            raise wrong(f"{value!r} is unknown", key, f"use one of {', '.join(choices)}")
    for key, least in _LEAST.items():
        value = OmegaConf.select(config, key)
        if value is not None and not value >= least:
            raise wrong(f"{value} is less than {least}", key, f"give {least} or more")
    if not config.seed < 2**63:
        raise wrong(f"{config.seed} is too large", "seed", "give less than 2^63")
    if "train.epochs" in given and config.train.steps is not None:
        raise wrong(f"train.steps={config.train.steps} decides", "train.epochs", "set train.steps=null too")
    if config.train.clip is not None and not config.train.clip > 0:
        raise wrong(f"{config.train.clip} is no norm", "train.clip", "give more than 0, or null for no limit")
    for key in ("inputs", "tasks"):
        names = list(config[key])
        if not names or len(set(names)) < len(names):
            raise wrong(f"{names} is empty or names one twice", key, "name each one once")
    try:
        for key in ("data.size", "data.crop"):
            parse_size(OmegaConf.select(config, key), key)
        parse_every(config.checkpoint.every)
    except UserError as error:
        raise wrong(error.what, str(error.key), str(error.cure)) from None
    for task, budget in config.labels.items():
        if budget is not None and budget < 0:
            raise wrong(f"{budget} frames", f"labels.{task}", "give 0 or more")
    for task, entry in config.pseudo.items():
        key = f"pseudo.{task}.threshold"
        if task not in config.tasks:
            what = f"pseudo-labels of {task}, which is none of the tasks {list(config.tasks)}"
            raise wrong(what, f"pseudo.{task}", "name one of the tasks")
        if entry.threshold is not None and not 0 <= entry.threshold < 1:
            cure = "give a confidence of at least 0 and less than 1, or null"
            raise wrong(f"{entry.threshold} is no threshold", key, cure)
    if not 0 <= config.label.threshold < 1:
        cure = "give a confidence of at least 0 and less than 1"
        raise wrong(f"{config.label.threshold} is no threshold", "label.threshold", cure)


def _first_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
