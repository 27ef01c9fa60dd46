"""What an experiment labels as a teacher, and whether it has: from files alone, without importing torch."""

from functools import cached_property
from typing import Any

from shards.errors import UserError
from shards.manifest import NAME, Manifest
from trainer.experiment import Experiment
from trainer.parsing import parse_size
from trainer.pseudolabels.job import Teacher, is_finished, job_of
from trainer.pseudolabels.stored import HINT, is_of_job, redacted_config, stored_labels
from trainer.runs import artifacts


class LabelPlan:
    """The arguments that an experiment gives the labelling pass (:func:`trainer.pseudolabels.labelling.label`).

    Args:
        experiment: the teacher's.

    Attributes:
        frames: the training split, with the labels that may be seen.
        options: the arguments that its labels follow from, besides the network.
        job: all that its labels follow from; its ``checkpoint`` is None before the network is trained.
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
        self._facts = artifacts.read_exported(experiment.exported)
        network = self.teacher(self._facts) if self._facts else Teacher(None, {})
        self.job = job_of(network, self.frames, mask, **self.options)
        self.made = self._facts is not None and is_finished(experiment.labels, self.job)

    def teacher(self, facts: dict[str, Any]) -> Teacher:
        """Return what identifies the network whose ``model.json`` has these facts."""
        return Teacher(facts["sha256"], redacted_config(self.experiment), facts["step"])

    @cached_property
    def stored(self) -> Manifest | None:
        """The manifest of the labels in ``label.store``, whichever these are; None where there are none, or it is not
        set."""
        return stored_labels(self.experiment)

    @cached_property
    def _matches(self) -> bool | None:
        """Whether these are the labels of this plan; None where there are none, or that is not known yet."""
        if self.stored is None:
            return None
        if self.made:
            return self.stored.identity == Manifest.load(self.experiment.labels, kind="labels").identity
        return is_of_job(self.stored, self.job)

    @property
    def finished(self) -> bool:
        """Whether all labels exist: in the run's folder and, where it is set, in ``label.store``; or there alone, where
        students find them."""
        if self._facts is None or self.experiment.label_store is None:
            return self.made
        return self._matches is True and (self.made or not (self.experiment.labels / NAME).exists())

    def check_store(self) -> None:
        """Check that ``label.store``, if it is set, has the labels or can take them.

        Raises:
            UserError: when it cannot be read, is of a kind that is never written, or holds other labels.
        """
        store = self.experiment.label_store
        if store is None:
            return
        store.check_writable()
        if self._matches is False:
            hint = HINT if self.made else "set another label.store"  # what is there may be the only copy
            raise UserError("holds other labels", file=store, key="label.store", hint=hint)


def is_labelled(experiment: Experiment) -> bool:
    """Whether all labels of an experiment's present network exist.

    Raises:
        UserError: when it has nothing to label.
    """
    return LabelPlan(experiment).finished
