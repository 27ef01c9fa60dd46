"""What an experiment labels as a teacher, and whether it has: from files alone, without importing torch."""

from functools import cached_property
from typing import Any

from trainer.experiment import Experiment
from trainer.parsing import parse_size
from trainer.pseudolabels.job import Teacher, is_finished, job_of
from trainer.pseudolabels.stored import check_store, is_stored, redacted_config
from trainer.runs import artifacts


class LabelPlan:
    """The arguments that an experiment gives the labelling pass (:func:`trainer.pseudolabels.labelling.label`).

    Args:
        experiment: the teacher's.

    Attributes:
        frames: the training split, with the labels that may be seen.
        options: the arguments that its labels follow from, besides the network.
        made: whether all label shards of its present network are in the run's folder.

    Raises:
        UserError: when it has nothing to label.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.frames, mask = experiment.frames_to_label()
        config = experiment.config
        self.options: dict[str, Any] = {
            "tasks": experiment.targets,
            "size": parse_size(config.data.size, "data.size"),
            "batch_size": config.label.batch_size,
            "flip": config.label.flip,
            "soft": config.label.soft,
            "soft_scale": config.label.soft_scale,
        }
        facts = artifacts.read_exported(experiment.exported)
        self.made = facts is not None and is_finished(
            experiment.labels, job_of(self.teacher(facts), self.frames, mask, **self.options)
        )

    def teacher(self, facts: dict[str, Any]) -> Teacher:
        """Return what identifies the network whose ``model.json`` has these facts."""
        return Teacher(facts["sha256"], redacted_config(self.experiment), facts["step"])

    @cached_property
    def stored(self) -> bool:
        """Whether ``label.store`` has the labels, or is not set.

        Raises:
            UserError: when it cannot take them (:func:`trainer.pseudolabels.stored.check_store`).
        """
        return check_store(self.experiment)

    @property
    def finished(self) -> bool:
        """Whether all labels exist, in the store too."""
        return self.made and self.stored


def is_labelled(experiment: Experiment) -> bool:
    """Whether all labels of an experiment's present network exist.

    Raises:
        UserError: when it has nothing to label.
    """
    return LabelPlan(experiment).made and is_stored(experiment)
