"""The result of an evaluated run: ``result.json``, from which tables and reports are made::

{"experiment": "ummt-ps", "dataset": "nyudv2", "seed": 0, "inputs": ["rgb"], "tasks": ["semseg", "depth"],
 "metrics": {"semseg": {"miou": 0.31, "iou": [0.7, 0.2]}}, "asked": {"split": "val"}}
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.assignment import NESTED
from shards.atomic import read_json
from shards.errors import UserError
from shards.schema import from_json, not_stored, omit_default, to_json
from trainer.parsing import parse_size

NAME = "result.json"
Metrics = Mapping[str, Mapping[str, Any]]
"""By task and name: scalars, and lists by class."""
_HINT = "delete it and evaluate again: `tutelage evaluate CONFIG`"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions that determine a result: if any of them changes, the run is evaluated again.

    Args:
        checkpoints: hashes of the networks, by ``last`` and ``best``.
        manifest: hash of the data set's manifest; empty if it was not recorded.
        checkpoint: the checkpoint whose metrics the result has; None if it was not recorded.
        split: the split of the frames, ``val`` or ``dev``; None if it was not recorded.
        val: the number of validation frames; None for all.
        val_seed: the seed that drew them; None, and left out, if none were drawn, or by each run's own seed.
        resolution, range, crop: see :class:`trainer.measurement.Measurement`; the defaults are those of versions
            without these options.
    """

    checkpoints: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""
    checkpoint: str | None = None
    split: str | None = None
    val: int | None = None
    val_seed: int | None = omit_default(None)
    resolution: str = "network"
    range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    crop: str | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One evaluated run. Fields with a default are missing from files of some versions; None means unknown.

    Args:
        budget: the configured number of frames whose label of each task is visible.
        assignment: the rule that decides which frames show labels.
        frames: the number of frames that the network trained on.
        labels, pseudo_labels: how many of them show each task's label, and have a pseudo-label.
        pretrained: the origin of the first weights (:func:`trainer.runs.folder.pretrained`); for old runs whether there
            were any.
        size, crop: height and width of the network's input, and of its training windows.
        samples_seen: steps × frames of a step.
        validation_frames, validation_set: the number of frames that were measured, and a hash of the selection.
        validation_labels: how many of them have the label of each task.
        metrics: those of the network of ``asked.checkpoint``.
        checkpoints: the metrics of the last and, if there is one, the best network.
        command: the command that reproduces the run.
        environment: versions, hardware, commit.
        options: the decisive options of the ``config.yaml`` beside it (:func:`trainer.setting.options_of`), which are
            not stored in the file.
    """

    experiment: str
    dataset: str
    seed: int
    inputs: list[str]
    tasks: list[str]
    budget: Mapping[str, int | None] | None = None
    assignment: str = NESTED
    frames: int | None = None
    labels: Mapping[str, int]
    pseudo_labels: Mapping[str, int]
    normalise: str
    backbone: str | None = None
    pretrained: str | bool | None = None
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    steps: int | None = None
    samples_seen: int | None = None
    validation_frames: int | None = None
    validation_set: str | None = None
    validation_labels: Mapping[str, int] | None = None
    metrics: Metrics
    checkpoints: Mapping[str, Metrics] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    environment: Mapping[str, Any] = field(default_factory=dict)
    asked: Conditions = field(default_factory=Conditions)
    options: Mapping[str, Any] = not_stored(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file."""
        return to_json(self)

    @classmethod
    def from_json(cls, entry: Any, file: str | Path | None = None) -> "Result":
        """Return the result that :meth:`to_json` or an older version stored.

        Raises:
            UserError: when the content is invalid, naming the key.
        """
        if isinstance(entry, Mapping):
            entry = {**entry, **{name: _sides(entry[name]) for name in ("size", "crop") if name in entry}}
        return from_json(cls, entry, "is not a result of a run", file, _HINT)

    @classmethod
    def read(cls, file: Path) -> "Result":
        """Read the result in a file.

        Raises:
            UserError: when it is missing or damaged.
        """
        return cls.from_json(read_json(file, _HINT), file)

    @property
    def partly_labelled(self) -> dict[str, int]:
        """The tasks that only some of the measured frames have a label of, with the number of those frames."""
        labels = self.validation_labels or {}
        return {task: count for task, count in labels.items() if count != self.validation_frames}

    def metric(self, task: str, name: str) -> Any:
        """Return a metric, or None where it was not measured."""
        return self.metrics.get(task, {}).get(name)


def describe_frames(result: Result) -> Iterator[str]:
    """Yield a line for each task whose label some of the measured frames lack."""
    for task, count in result.partly_labelled.items():
        yield f"{count} of {result.validation_frames} frames have {task}"


def _sides(size: Any) -> Any:
    """Return height and width, which old versions stored as text."""
    with suppress(UserError):  # invalid text is refused with the other values
        return parse_size(size, "size") if isinstance(size, str) else size
    return size
