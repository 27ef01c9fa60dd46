"""Checks of a configuration's values beyond their types: of each as declared, and of all in combination."""

from typing import Any

from omegaconf import OmegaConf

from shards.errors import UserError
from trainer.config import Config
from trainer.configdocs import meaning
from trainer.definition import MTINET, find_unsupported_option
from trainer.option import values
from trainer.origins import Origins

COMMAND_LINE = "command line"
"""Stands for the file in errors of an override."""


def check(config: Any, origins: Origins) -> None:
    """Check the values of a merged configuration, and that none is missing.

    Args:
        config: the ``DictConfig``.
        origins: the files that its values come from, which errors name.

    Raises:
        UserError: naming the first wrong key, and the valid values.
    """

    def error_at(key: str, message: str, hint: str) -> UserError:
        return UserError(message, file=origins.file(key), key=key, hint=hint)

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
    epochs, steps = "train.epochs", "train.steps"
    if config.train.steps is not None:  # which decides; an option that was written in vain is a mistake
        if origins.file(epochs) == COMMAND_LINE:
            raise error_at(epochs, f"{steps}={config.train.steps} decides", f"set {steps}=null too")
        if origins.is_later(epochs, steps):
            message = f"{steps}={config.train.steps} of {origins.file(steps)} decides"
            raise error_at(epochs, message, "write steps: null next to it")
    if unsupported := find_unsupported_option(config.model.name, config.model):
        key, message, neutral = unsupported
        value = list(neutral) if isinstance(neutral, tuple) else neutral
        raise error_at(f"model.{key}", message, f"set model.{key}={value}, its neutral value, or model.name={MTINET}")
    for task in config.pseudo:
        if task not in config.tasks:
            message = f"pseudo-labels of {task}, which is none of the tasks {list(config.tasks)}"
            raise error_at(f"pseudo.{task}", message, "name one of the tasks")
