"""What the values of a configuration may be, beyond their types."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from shards.errors import UserError
from shards.keep import Keep
from trainer.configdocs import meaning
from trainer.definition import DPT, FPN, MTINET, VERSION, unsuited

COMMAND_LINE = "command line"
"""What errors name as the file of an override."""
_CHOICES: dict[str, tuple[str | int | None, ...]] = {
    "model.fusion": ("add", "early"),
    "model.decoder": ("mti", "heads"),
    "model.version": tuple(range(1, VERSION + 1)),
    "loss.normalise": ("labelled", "all"),
    "augment.zoom_window": ("random", "centre"),
    "train.optimizer": ("adam", "adamw"),
    "train.schedule": ("polynomial", "cosine", "constant"),
    "model.norm": ("batch", "sync", "frozen"),
    "train.precision": ("fp32", "bf16", "fp16"),
    "evaluate.checkpoint": ("last", "best"),
    "evaluate.split": ("val", "dev"),
    "evaluate.resolution": ("network", "label"),
    "evaluate.crop": ("eigen", None),
    "relation_split": ("dev", "val"),
}
_LEAST = {
    "seed": 0,
    "frames": 1,
    "val": 1,
    "val_seed": 0,
    "dev": 0,
    "data.num_workers": 0,
    "data.shuffle_window": 1,
    "loss.deep": 0,
    "loss.logit_adjustment": 0,
    "loss.deep_cells": 1,
    "train.epochs": 1,
    "train.steps": 1,
    "train.global_batch_size": 1,
    "train.gradient_accumulation_steps": 1,
    "train.lr": 0,
    "train.weight_decay": 0,
    "train.warmup_steps": 0,
    "train.log_every": 1,
    "train.timeout": 30,
    "evaluate.every": 0,
    "evaluate.batch_size": 1,
    "label.batch_size": 1,
    "label.soft": 0,
    "label.soft_scale": 1,
    "checkpoint.keep": 1,
}
"""The smallest value of a number, where it is one."""


def check(config: Any, path: Path, overrides: Sequence[str]) -> None:
    """Check the values of a merged configuration, and that none is missing.

    Args:
        config: the ``DictConfig``.
        path: the file it comes from, which an error names unless the key stands among the overrides.
        overrides: ``key=value``.

    Raises:
        UserError: naming the first wrong key, and what may stand there.
    """
    given = {override.partition("=")[0] for override in overrides}

    def wrong(what: str, key: str, hint: str) -> UserError:
        return UserError(what, file=COMMAND_LINE if key in given else path, key=key, hint=hint)

    for key in sorted(OmegaConf.missing_keys(config)):
        raise wrong("is not set", key, meaning(key))
    for key, choices in _CHOICES.items():
        value = OmegaConf.select(config, key)
        if value not in choices:
            known = ", ".join("null" if choice is None else str(choice) for choice in choices)
            raise wrong(f"{value!r} is unknown", key, f"use one of {known}")
    for key, least in _LEAST.items():
        value = OmegaConf.select(config, key)
        if value is not None and not value >= least:
            raise wrong(f"{value} is less than {least}", key, f"give {least} or more")
    for key in ("seed", "val_seed"):
        if not (config[key] or 0) < 2**63:
            raise wrong(f"{config[key]} is too large", key, "give less than 2^63")
    if "train.epochs" in given and config.train.steps is not None:
        raise wrong(f"train.steps={config.train.steps} decides", "train.epochs", "set train.steps=null too")
    if config.train.max_grad_norm is not None and not config.train.max_grad_norm > 0:
        raise wrong(
            f"{config.train.max_grad_norm} is no norm", "train.max_grad_norm", "give more than 0, or null for no limit"
        )
    if config.train.ema is not None and not 0 < config.train.ema < 1:
        hint = "give more than 0 and less than 1, such as 0.999, or null for none"
        raise wrong(f"{config.train.ema} is not a decay", "train.ema", hint)
    _check_network(config.model, wrong)
    for key in ("inputs", "tasks", "model.pretrained_inputs"):
        names = OmegaConf.select(config, key)
        if names is not None and (not names or len(set(names)) < len(names)):
            raise wrong(f"{names} is empty or names one twice", key, "name each one once")
    try:
        for key in ("data.size", "data.crop"):
            parse_size(OmegaConf.select(config, key), key)
        parse_every(config.checkpoint.every)
    except UserError as error:
        raise wrong(error.what, str(error.key), str(error.hint)) from None
    for task, budget in config.labels.items():
        if budget is not None and budget < 0:
            raise wrong(f"{budget} frames", f"labels.{task}", "give 0 or more")
    for task, limits in config.evaluate.range.items():
        if len(limits) != 2 or not 0 <= limits[0] < limits[1]:
            hint = "give [least, greatest] from 0 up, such as [0.001, 10]"
            raise wrong(f"{list(limits)} is not a range", f"evaluate.range.{task}", hint)
    for task, entry in config.pseudo.items():
        if task not in config.tasks:
            what = f"pseudo-labels of {task}, which is none of the tasks {list(config.tasks)}"
            raise wrong(what, f"pseudo.{task}", "name one of the tasks")
        try:
            parse_keep(entry.keep)
        except UserError as error:
            raise wrong(error.what, f"pseudo.{task}.keep", str(error.hint)) from None
        for name, choices in (("target", ("hard", "soft")), ("weight", ("none", "confidence"))):
            if entry[name] not in choices:
                raise wrong(f"{entry[name]!r} is unknown", f"pseudo.{task}.{name}", f"use one of {', '.join(choices)}")
    if not config.augment.zoom or min(config.augment.zoom) < 1:
        raise wrong(f"{list(config.augment.zoom)} has no factor, or one below 1", "augment.zoom", "use [1.0] for none")
    for name in ("grey", "blur", "cutmix", "jitter"):
        if not 0 <= config.augment[name] <= 1:
            raise wrong(f"{config.augment[name]} is not a share", f"augment.{name}", "give 0 to 1")
    share = config.train.pseudo_share
    if share is not None and not 0 <= share <= 1:
        raise wrong(f"{share} is not a share", "train.pseudo_share", "give 0 to 1, or null")
    if not 0 <= config.label.threshold < 1:
        hint = "give a confidence of at least 0 and less than 1"
        raise wrong(f"{config.label.threshold} is no threshold", "label.threshold", hint)


def _check_network(model: Any, wrong: Callable[[str, str, str], UserError]) -> None:
    if model.name not in (MTINET, FPN, DPT) and ":" not in model.name:
        hint = f"use {MTINET}, {FPN}, {DPT}, or my.module:Name for a class of your own"
        raise wrong(f"{model.name!r} is unknown", "model.name", hint)
    if model.widths is not None and not (len(model.widths) == 4 and min(model.widths) > 0):
        hint = "give one for each of strides 4, 8, 16, 32, such as [18, 36, 72, 144], or null for the backbone's own"
        raise wrong(f"{list(model.widths)} is not four widths", "model.widths", hint)
    if found := unsuited(model.name, model):
        key, what = found
        raise wrong(what, f"model.{key}", f"leave it out, or set model.name={MTINET}")


def parse_size(text: str | None, key: str) -> tuple[int, int] | None:
    """``"96x128"`` → (96, 128), height first.

    Raises:
        UserError: when it is no size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not match or not all(int(side) for side in match.groups()):
        raise UserError(f"{text!r} is no size", key=key, hint="write HEIGHTxWIDTH, such as 480x640")
    return int(match[1]), int(match[2])


def parse_keep(value: float | str) -> float | str:
    """``pseudo.TASK.keep`` in the one way in which it is compared: a number, ``all``, ``50%``, or a filter's name.

    Raises:
        UserError: when it is none of them.
    """
    if isinstance(value, str) and ":" in value:
        return value
    kept = Keep.of(value).value
    assert kept is not None
    return kept


def parse_every(value: int | str) -> tuple[int | None, float | None]:
    """``checkpoint.every`` as steps, or as seconds: ``500`` → (500, None), ``"30m"`` → (None, 1800.0).

    Raises:
        UserError: when it is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(value))
    if not match or not float(match[1]) or not (match[2] or match[1].isdigit()):
        hint = "give a number of steps from 1 up, or minutes such as 30m"
        raise UserError(f"{value!r} is no interval", key="checkpoint.every", hint=hint)
    return (None, 60 * float(match[1])) if match[2] else (int(match[1]), None)
