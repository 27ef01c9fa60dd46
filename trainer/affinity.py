"""The result of ``tutelage affinity``: ``affinity.json``, which says which task's labels help which other task.

:mod:`analysis.affinity.study` writes the file; :mod:`trainer.recommendation` and reports read it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from shards.atomic import read_json
from shards.errors import UserError
from shards.schema import from_json, to_json
from trainer.renamed import rename_old_options

NAME = "affinity.json"
OLD_NAME = "relation.json"
"""Name of the file before 0.2."""
_HINT = "measure it again: `tutelage affinity CONFIG`"


@dataclass(frozen=True)
class MeasuredTask:
    """One of the tasks.

    Args:
        metric: the metric by which networks are compared.
        better: whether ``higher`` or ``lower`` values of the metric are better.
        labels: number of training frames that show its label.
    """

    kind: str = ""
    metric: str = ""
    better: Literal["higher", "lower"] = "higher"
    labels: int = 0


@dataclass(frozen=True)
class Score:
    """The scores of networks with certain inputs in a task, by seed."""

    inputs: list[str]
    task: str
    seeds: Mapping[str, float]


@dataclass(frozen=True)
class Bounds:
    """A mean over seeds with its confidence interval; None where a single seed does not determine it."""

    mean: float
    low: float | None
    high: float | None
    deviation: float | None = None
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of a source's label, as an input beside RGB, on a target.

    Args:
        helps: whether it helps; None where that is undetermined.
        p: two-sided p-value, adjusted for all pairs that were tested together.
        seeds_needed: number of seeds with which a new study would determine it; None where that is unknown.
        absolute, relative: better − worse in the metric's unit, and as a fraction of what RGB alone reaches.
    """

    source: str
    target: str
    helps: bool | None
    p: float | None = None
    seeds_needed: int | None = None
    absolute: Bounds | None = None
    relative: Bounds


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How two tasks help each other.

    Args:
        one, other: names of the two tasks; empty in the oldest files.
        condition: Condition 1 or 3 of the paper; ``one way`` for its Condition 2 and the mirror case, where ``words``
            say which task helps. Old files have names for these two that depended on the order of tasks.
        words: the same in words.
        seeds_needed: number of seeds with which a new study would determine the rest, given the same mean and
            deviation; 0 where all is determined, None for more than a thousand or an unknown deviation (one seed).
    """

    one: str = ""
    other: str = ""
    condition: str
    words: str
    seeds_needed: int | None = None


@dataclass(frozen=True)
class Recommendation:
    """The recommended source of a task's pseudo-labels.

    Args:
        inputs: inputs of the teacher; None for no pseudo-labels.
        keep: as ``pseudo.TASK.keep``.
        why: the reason, in words.
    """

    inputs: list[str] | None
    keep: float | str
    why: str

    @property
    def origin(self) -> str:
        """The teacher and the reason, in words."""
        source = f"from a teacher that sees {' + '.join(self.inputs)}" if self.inputs else "none"
        return f"{source} ({self.why})"


@dataclass(frozen=True, kw_only=True)
class Affinity:
    """The content of an ``affinity.json``. Only ``recommended`` is required; fields with a default are missing in the
    files of some versions.

    Args:
        config, overrides: configuration and overrides of the call.
        manifest: hash of the data set's manifest.
        backbone, pretrained, size, crop, steps, samples_seen, validation_frames: as in
            :class:`trainer.runs.result.Result`.
        samples: number of frames that the networks trained on.
        split: the frames they were evaluated on: ``dev``, training frames set aside, or ``val``, validation frames,
            as in all files without this field.
        level: confidence level of the intervals, and of all verdicts together.
        least: the smallest relative gain that counts as help.
        scores, gains, verdicts: one for each network and task, ordered pair of tasks, and pair of tasks.
        recommended: recommendations by task.
        looks: numbers of seeds with which the same study was judged before; None in files from before this field.
    """

    config: str = ""
    overrides: list[str] = field(default_factory=list)
    dataset: str = ""
    manifest: str = ""
    tasks: Mapping[str, MeasuredTask] = field(default_factory=dict)
    backbone: str | None = None
    pretrained: str | bool | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    steps: int | None = None
    samples_seen: int | None = None
    samples: int | None = None
    split: Literal["dev", "val"] = "val"
    validation_frames: int | None = None
    seeds: list[int] = field(default_factory=list)
    level: float = 0.95
    least: float = 0.01
    scores: list[Score] = field(default_factory=list)
    gains: list[Effect] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    recommended: Mapping[str, Recommendation]
    environment: Mapping[str, Any] = field(default_factory=dict)
    looks: list[int] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file as JSON values."""
        return to_json(self)

    @classmethod
    def from_json(cls, entry: Any, file: str | Path | None = None, hint: str = _HINT) -> "Affinity":
        """Read the output of :meth:`to_json`, also of an older version.

        Raises:
            UserError: when it is anything else, naming the key.
        """
        if isinstance(entry, Mapping) and isinstance(entry.get("recommended"), Mapping):
            recommended = {task: _rename_options(value) for task, value in entry["recommended"].items()}
            entry = {**entry, "recommended": recommended}
        return from_json(cls, entry, "is not a task affinity", file, hint)

    @classmethod
    def read(cls, file: str | Path, hint: str = _HINT) -> "Affinity":
        """Read the affinity in a file.

        Raises:
            UserError: when it is missing or damaged.
        """
        return cls.from_json(read_json(file, hint), file, hint)


def affinity_file(folder: Path) -> Path:
    """Return the path of a folder's affinity file: under its old name where only that one exists."""
    old = folder / OLD_NAME
    return old if old.exists() and not (folder / NAME).exists() else folder / NAME


def _rename_options(recommendation: Any) -> Any:
    """Return a recommendation with ``keep`` in place of the threshold that older versions wrote."""
    with suppress(TypeError, ValueError, UserError):  # a malformed entry is refused later, with the rest of the file
        return rename_old_options({"pseudo": {"": {**recommendation}}})["pseudo"][""]
    return recommendation
