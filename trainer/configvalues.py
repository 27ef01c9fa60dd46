"""Checks of a configuration's values beyond their types: of each as declared, and of all in combination."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from shards.errors import UserError
from trainer.config import Config
from trainer.configdocs import meaning
from trainer.definition import MTINET, find_unsupported_option
from trainer.option import values

COMMAND_LINE = "command line"
"""Stands for the file in errors of an override."""


def check(config: Any, path: Path, overrides: Sequence[str]) -> None:
    """Check the values of a merged configuration, and that none is missing.

    Args:
        config: the ``DictConfig``.
        path: the file it comes from, which an error names unless the key is one of the overrides.
        overrides: ``key=value``.

    Raises:
        UserError: naming the first wrong key, and the valid values.
    """
    overridden = {override.partition("=")[0] for override in overrides}

    def error_at(key: str, message: str, hint: str) -> UserError:
        return UserError(message, file=COMMAND_LINE if key in overridden else path, key=key, hint=hint)

    for key in sorted(OmegaConf.missing_keys(config)):
        raise error_at(key, "is not set", meaning(key))
    for key, value, facts in values(Config, config):
        if problem := facts.problem(value):
            message, hint = problem
            raise error_at(key, message, hint)
        try:
            if facts.check:
                facts.check(value, key)
        except UserError as error:
            raise error_at(key, error.what, str(error.hint)) from None
    if "train.epochs" in overridden and config.train.steps is not None:
        raise error_at("train.epochs", f"train.steps={config.train.steps} decides", "set train.steps=null too")
    if unsupported := find_unsupported_option(config.model.name, config.model):
        key, message = unsupported
        raise error_at(f"model.{key}", message, f"leave it out, or set model.name={MTINET}")
    for task in config.pseudo:
        if task not in config.tasks:
            message = f"pseudo-labels of {task}, which is none of the tasks {list(config.tasks)}"
            raise error_at(f"pseudo.{task}", message, "name one of the tasks")
