"""The labelling stage: an experiment's exported network labels the frames that its budgets leave without a label."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shards.dataset import ShardDataset
from trainer.experiment import TRAIN, Experiment
from trainer.optionerrors import name_options
from trainer.pseudolabels import labelling
from trainer.pseudolabels.plan import LabelPlan
from trainer.pseudolabels.stored import store_labels
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.runs.status import mark_finished, new_launch, record_stage
from trainer.runtime import accelerator, broadcast, inference_precision


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
            full; or labelling was begun on another kind of device.
    """
    plan = plan or LabelPlan(experiment)
    config, stored = experiment.config, plan.stored
    exported = None if plan.made else checkpoint.load_exported(experiment.exported, config.model.name)
    claim(experiment)
    process = accelerator(inference_precision(config.train.precision), config.train.timeout)
    launch = broadcast(process, new_launch())
    began = False

    @contextmanager
    def recorded() -> Iterator[None]:
        nonlocal began
        began = True
        with record_stage(experiment.folder, "label", launch):
            yield

    if exported is None:
        kept = labelling.finished(experiment.labels, experiment.targets, TRAIN, config.label.threshold)
    else:
        network, facts = exported
        kept = labelling.label(
            network,
            ShardDataset.of(plan.frames),
            experiment.labels,
            frames=config.label.frames,
            inputs=config.inputs,
            threshold=config.label.threshold,
            teacher=plan.teacher(facts),
            replace=True,
            during=recorded(),
            process=process,
            title=f"{config.experiment}: label",
            **plan.options,
        )
    if not began:
        mark_finished(experiment.folder, "label")
    if not (plan.made and stored):
        store_labels(experiment)
    return kept
