"""What the paper's tables print, read from the shipped ``configs/paper.yaml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shards.errors import UserError
from trainer.shipped import CONFIGS

FILE = CONFIGS / "paper.yaml"


@dataclass(frozen=True)
class Paper:
    """The paper's tables, with its figures as text, digit by digit.

    Args:
        tables: by data set: ``title``, ``rows`` (by experiment, task and metric) and ``not_comparable`` (by task and
            metric: why).
        comparisons: pairs of experiments whose difference matters, the first minus the second.
    """

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    comparisons: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, path: Path = FILE) -> "Paper":
        """Read a file.

        Raises:
            UserError: when it is missing, or has another form.
        """
        try:
            entry = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # every scalar as it is written
            pairs = tuple((one, other) for one, other in entry.pop("comparisons", ()))
            return cls({name: {**table, "rows": dict(table["rows"])} for name, table in entry.items()}, pairs)
        except (OSError, yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
            hint = "restore it: `git checkout configs/paper.yaml`, or install Tutelage again"
            raise UserError(f"holds no tables ({type(error).__name__})", file=path, hint=hint) from error

    def rows(self, dataset: str) -> list[str]:
        """The experiments of a data set's table, in its order."""
        return list(self.tables.get(dataset, {}).get("rows", ()))

    def figure(self, dataset: str, experiment: str, task: str, metric: str) -> str | None:
        """What is printed, where something is."""
        return self.tables.get(dataset, {}).get("rows", {}).get(experiment, {}).get(task, {}).get(metric)

    def why_not_comparable(self, dataset: str, task: str, metric: str) -> str | None:
        """Why a column cannot be compared with what is measured here, if so."""
        return self.tables.get(dataset, {}).get("not_comparable", {}).get(task, {}).get(metric)
