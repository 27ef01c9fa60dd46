"""What an evaluated run says of itself: ``result.json``, the row that tables and reports are made of::

{"experiment": "ummt-ps", "dataset": "nyudv2", "seed": 0, "inputs": ["rgb"], "tasks": ["semseg", "depth"],
 "metrics": {"semseg": {"miou": 0.31, "iou": [0.7, 0.2]}}, "asked": {"split": "val"}}
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.assignment import NESTED
from shards.atomic import read_json
from shards.errors import UserError
from shards.schema import beside, from_json, to_json, unless
from trainer.parsing import parse_size

NAME = "result.json"
Metrics = Mapping[str, Mapping[str, Any]]
"""By task and name: scalars, and lists by class."""
_CURE = "delete it and evaluate again: `tutelage evaluate CONFIG`"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a result follows from: another of any of these is evaluated again.

    Args:
        checkpoints: hashes of the networks, by ``last`` and ``best``.
        manifest: hash of the data set's manifest; empty where it was not noted.
        checkpoint: whose metrics the result has; None where it was not noted.
        split: which frames measured: ``val`` or ``dev``; None where it was not noted.
        val: how many validation frames; None for all.
        val_seed: what drew them; None, and left out, where nothing was drawn, or each run's own seed drew.
        resolution, range, crop: as :class:`trainer.measurement.Measurement` has them; by default how all was measured
            before there was a choice.
    """

    checkpoints: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""
    checkpoint: str | None = None
    split: str | None = None
    val: int | None = None
    val_seed: int | None = unless(None)
    resolution: str = "network"
    range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    crop: str | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """One evaluated run. What has a default is not in the files of all versions; None means that it is not known.

    Args:
        budget: how many frames may show each task's label, as it was configured.
        assignment: the rule by which frames show labels.
        frames: how many the network trained on.
        labels, pseudo_labels: how many of them show each task's label, and have a pseudo-label.
        pretrained: where the first weights came from, as :func:`trainer.runs.folder.pretrained` says; of old runs
            whether there were any.
        size, crop: height and width of what the network sees, and of its training windows.
        samples_seen: steps × frames of a step.
        validation_frames, validation_set: how many frames measured, and a hash of which.
        metrics: of the network of ``asked.checkpoint``.
        checkpoints: the metrics of the last and, if there is one, the best network.
        command: to type to get it again.
        environment: versions, hardware, commit.
        options: the decisive options of the ``config.yaml`` beside it (:func:`trainer.setting.options_of`), which the
            file does not hold.
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
    metrics: Metrics
    checkpoints: Mapping[str, Metrics] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    environment: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked = field(default_factory=Asked)
    options: Mapping[str, Any] = beside(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What the file holds."""
        return to_json(self)

    @classmethod
    def from_json(cls, entry: Any, file: str | Path | None = None) -> "Result":
        """What :meth:`to_json` gave, or an older version wrote.

        Raises:
            UserError: when it is something else, naming the key.
        """
        if isinstance(entry, Mapping):
            entry = {**entry, **{name: _sides(entry[name]) for name in ("size", "crop") if name in entry}}
        return from_json(cls, entry, "is not a result of a run", file, _CURE)

    @classmethod
    def read(cls, file: Path) -> "Result":
        """The result in a file.

        Raises:
            UserError: when it is missing or damaged.
        """
        return cls.from_json(read_json(file, _CURE), file)

    def metric(self, task: str, name: str) -> Any:
        """A metric; None where it was not measured."""
        return self.metrics.get(task, {}).get(name)


def _sides(size: Any) -> Any:
    """Height and width, which were text once."""
    with suppress(UserError):  # of other text, which is refused with the rest
        return parse_size(size, "size") if isinstance(size, str) else size
    return size
