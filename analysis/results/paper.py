"""The paper's tables, read from the shipped ``configs/paper.yaml``."""

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
    """The paper's tables, with its figures as text exactly as printed.

    Args:
        tables: by data set: ``title``, ``rows`` (by experiment, task and metric) and ``not_comparable`` (by task and
            metric: the reason).
        comparisons: pairs of experiments whose difference matters, the first minus the second.
    """

    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    comparisons: tuple[tuple[str, str], ...] = ()

    @classmethod
    def load(cls, path: Path = FILE) -> "Paper":
        """Read a file.

        Raises:
            UserError: when it is missing or malformed.
        """
        try:
            entry = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # reads every scalar as text
            pairs = tuple((first, second) for first, second in entry.pop("comparisons", ()))
            return cls({name: {**table, "rows": dict(table["rows"])} for name, table in entry.items()}, pairs)
        except (OSError, yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
            hint = "restore it: `git checkout configs/paper.yaml`, or install Tutelage again"
            raise UserError(f"holds no tables ({type(error).__name__})", file=path, hint=hint) from error

    def rows(self, dataset: str) -> list[str]:
        """Return the experiments of a data set's table, in its order."""
        return list(self.tables.get(dataset, {}).get("rows", ()))

    def figure(self, dataset: str, experiment: str, task: str, metric: str) -> str | None:
        """Return the printed figure, if there is one."""
        return self.tables.get(dataset, {}).get("rows", {}).get(experiment, {}).get(task, {}).get(metric)

    def why_not_comparable(self, dataset: str, task: str, metric: str) -> str | None:
        """Return the reason why a column is not comparable with our measurements, or None if it is."""
        return self.tables.get(dataset, {}).get("not_comparable", {}).get(task, {}).get(metric)
