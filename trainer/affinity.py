"""What ``tutelage affinity`` leaves: ``affinity.json``, which says which task's labels help which other task.

:mod:`analysis.affinity.study` writes it, :mod:`trainer.recommendation` and reports read it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from shards.atomic import read_json
from shards.errors import UserError
from shards.schema import from_json, to_json
from trainer.renamed import renewed

NAME = "affinity.json"
BEFORE = "relation.json"
"""What the file was called before 0.2."""
_CURE = "measure it again: `tutelage affinity CONFIG`"


@dataclass(frozen=True)
class MeasuredTask:
    """One of the tasks.

    Args:
        metric: what networks are compared by, of which ``better`` is ``higher`` or ``lower``.
        labels: how many training frames show its label.
    """

    kind: str = ""
    metric: str = ""
    better: Literal["higher", "lower"] = "higher"
    labels: int = 0


@dataclass(frozen=True)
class Score:
    """What the networks with some inputs reach in a task, by seed."""

    inputs: list[str]
    task: str
    seeds: Mapping[str, float]


@dataclass(frozen=True)
class Bounds:
    """A mean over seeds with its interval; None where one seed tells nothing of it."""

    mean: float
    low: float | None
    high: float | None
    deviation: float | None = None
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a source's label, as an input beside RGB, brings a target.

    Args:
        helps: None where that is undetermined.
        p: two-sided, adjusted for all pairs that were tested together.
        seeds_needed: that a new study takes to determine it; None where it is not known.
        absolute, relative: better − worse in the metric's unit, and as a part of what RGB alone reaches.
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
        one, other: their names; empty in the oldest files.
        condition: the paper's 1 or 3; ``one way`` for its Condition 2 and that one's mirror, of which ``words`` say
            which task helps; old files have names for these two that depended on the order of tasks.
        words: the same in words.
        seeds_needed: that a new study takes to settle what is undetermined, were mean and deviation to stay; 0 where
            nothing is, None for more than a thousand, or where one seed tells nothing of the deviation.
    """

    one: str = ""
    other: str = ""
    condition: str
    words: str
    seeds_needed: int | None = None


@dataclass(frozen=True)
class Recommendation:
    """Where a task's pseudo-labels should come from.

    Args:
        inputs: what the teacher sees; None for no pseudo-labels.
        keep: as ``pseudo.TASK.keep``.
        why: in words.
    """

    inputs: list[str] | None
    keep: float | str
    why: str

    @property
    def origin(self) -> str:
        """The teacher, and why."""
        how = f"from a teacher that sees {' + '.join(self.inputs)}" if self.inputs else "none"
        return f"{how} ({self.why})"


@dataclass(frozen=True, kw_only=True)
class Affinity:
    """One file. Of what was measured only ``recommended`` must be there; what has a default is not in the files of all
    versions.

    Args:
        config, overrides: the call.
        manifest: its hash.
        backbone, pretrained, size, crop, steps, samples_seen, validation_frames: as :class:`trainer.runs.result.Result`
            has them.
        samples: frames that the networks trained on.
        split: what they were judged on: training frames set aside, or validation frames as in all files that do not
            say.
        level: confidence of the intervals and of all verdicts together.
        least: the smallest relative gain that counts as help.
        scores, gains, verdicts: of every network and task, ordered pair of tasks, pair of tasks.
        recommended: by task.
        looks: with how many seeds the same was judged before; None in files that are older than this note.
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
        """What the file holds."""
        return to_json(self)

    @classmethod
    def from_json(cls, entry: Any, file: str | Path | None = None, hint: str = _CURE) -> "Affinity":
        """What :meth:`to_json` gave, or an older version wrote.

        Raises:
            UserError: when it is something else, naming the key.
        """
        if isinstance(entry, Mapping) and isinstance(entry.get("recommended"), Mapping):
            entry = {**entry, "recommended": {task: _renewed(each) for task, each in entry["recommended"].items()}}
        return from_json(cls, entry, "is not a task affinity", file, hint)

    @classmethod
    def read(cls, file: str | Path, hint: str = _CURE) -> "Affinity":
        """The affinity in a file.

        Raises:
            UserError: when it is missing or damaged.
        """
        return cls.from_json(read_json(file, hint), file, hint)


def located(folder: Path) -> Path:
    """The file of a folder: that of before where there is no newer one."""
    before = folder / BEFORE
    return before if before.exists() and not (folder / NAME).exists() else folder / NAME


def _renewed(recommendation: Any) -> Any:
    """With ``keep``, where a threshold stood once."""
    with suppress(TypeError, ValueError, UserError):  # of another form, which is refused with the rest
        return renewed({"pseudo": {"": {**recommendation}}})["pseudo"][""]
    return recommendation
