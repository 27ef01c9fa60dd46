"""What the values of a configuration may be, beyond their types: as each is declared, and all of them together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from shards.errors import UserError
from trainer.config import Config
from trainer.configdocs import meaning
from trainer.definition import MTINET, unsuited
from trainer.option import values

COMMAND_LINE = "command line"
"""What errors name as the file of an override."""


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
    for key, value, facts in values(Config, config):
        if found := facts.problem(value):
            what, hint = found
            raise wrong(what, key, hint)
        try:
            if facts.check:
                facts.check(value, key)
        except UserError as error:
            raise wrong(error.what, key, str(error.hint)) from None
    if "train.epochs" in given and config.train.steps is not None:
        raise wrong(f"train.steps={config.train.steps} decides", "train.epochs", "set train.steps=null too")
    if found := unsuited(config.model.name, config.model):
        key, what = found
        raise wrong(what, f"model.{key}", f"leave it out, or set model.name={MTINET}")
    for task in config.pseudo:
        if task not in config.tasks:
            what = f"pseudo-labels of {task}, which is none of the tasks {list(config.tasks)}"
            raise wrong(what, f"pseudo.{task}", "name one of the tasks")
