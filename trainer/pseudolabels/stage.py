"""The labelling stage: an experiment's exported network labels the frames that its budgets leave without a label."""

from typing import Any

from accelerate import Accelerator

from shards.dataset import ShardDataset
from trainer.experiment import TRAIN, Experiment
from trainer.model.base import Network
from trainer.optionerrors import name_options
from trainer.pseudolabels import labelling
from trainer.pseudolabels.kept import summary
from trainer.pseudolabels.plan import LabelPlan
from trainer.pseudolabels.stored import store_labels
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.runs.status import mark_finished, new_launch, record_stage
from trainer.runtime import broadcast, inference_precision, make_accelerator


@name_options()
def label(experiment: Experiment, plan: LabelPlan | None = None) -> dict[str, Any]:
    """Label with an experiment's network, together with other processes, unless its labels exist already.

    Args:
        experiment: the teacher's.
        plan: its plan, where there is one already.

    Returns:
        The content of ``kept.json`` beside the shards (:mod:`trainer.pseudolabels.kept`).

    Raises:
        UserError: when the network is not trained, or with another configuration, has nothing to label, or a disk is
            full; labelling was begun on another kind of device; or ``label.store`` cannot be written, or holds other
            labels.
    """
    plan = plan or LabelPlan(experiment)
    config, finished = experiment.config, plan.finished
    exported = None if finished or plan.made else checkpoint.load_exported(experiment.exported, config.model.name)
    claim(experiment)
    accelerator = make_accelerator(inference_precision(config.train.precision), config.train.timeout)
    launch = broadcast(accelerator, new_launch())
    if finished:
        mark_finished(experiment.folder, "label")
        return _kept(plan)
    with record_stage(experiment.folder, "label", launch):
        plan.check_store()
        kept = _kept(plan) if exported is None else _label(plan, *exported, accelerator)
        store_labels(experiment)
    return kept


def _kept(plan: LabelPlan) -> dict[str, Any]:
    """Return what :func:`label` returns of labels that exist."""
    experiment, threshold = plan.experiment, plan.experiment.config.label.threshold
    if plan.made:
        return labelling.finished(experiment.labels, experiment.targets, TRAIN, threshold)
    assert plan.stored
    statistics = plan.stored.statistics[TRAIN]
    return {task.name: summary(task, statistics[task.name], threshold) for task in experiment.targets}


def _label(plan: LabelPlan, network: Network, facts: dict[str, Any], accelerator: Accelerator) -> dict[str, Any]:
    config = plan.experiment.config
    return labelling.label(
        network,
        ShardDataset.of(plan.frames),
        plan.experiment.labels,
        frames=config.label.frames,
        inputs=config.inputs,
        threshold=config.label.threshold,
        teacher=plan.teacher(facts),
        replace=True,
        accelerator=accelerator,
        title=f"{config.experiment}: label",
        **plan.options,
    )
