"""The labelling pass: a network's predictions for frames that lack a label, as label shards.

Any number of processes label together (:mod:`trainer.pseudolabels.sharing`): the ranks of one launch, and whole jobs
that join or die at any time. A shard that is whole is not labelled again.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from shards.arguments import check_size
from shards.atomic import read_json, sweep
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.frames import Frames
from shards.labels import label_manifest
from shards.manifest import NAME, Manifest, statistics_of
from shards.store import on_disk
from shards.tasks import Task
from shards.write import shard_info
from trainer.components import inputs_and_tasks
from trainer.engine.base import ready_to_infer
from trainer.model.checked import check_tasks
from trainer.model.network import Architecture, architecture_of
from trainer.option import check_values
from trainer.pseudolabels.claim import check_job, claim_folder, use_threads
from trainer.pseudolabels.job import Teacher, is_finished, job_of, soft_labels_of
from trainer.pseudolabels.kept import write_kept
from trainer.pseudolabels.labeller import Labeller
from trainer.pseudolabels.sharing import SharedShards, tidy
from trainer.runs.checkpoint import sha256_of_weights
from trainer.runtime import device_name, inference_accelerator
from trainer.sections import Label
from trainer.weighting import without_weighting


def label(
    model: torch.nn.Module,
    data: ShardDataset,
    out: str | Path,
    *,
    frames: str = "missing",
    inputs: Sequence[str] | None = None,
    tasks: Sequence[Task] | None = None,
    size: tuple[int, int] | None = None,
    batch_size: int = 8,
    flip: bool = False,
    soft: int = 4,
    soft_scale: int = 2,
    threshold: float = 0.9,
    teacher: Teacher | None = None,
    replace: bool = False,
    accelerator: Accelerator | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Write a network's predictions as label shards, which :class:`shards.pseudolabels.PseudoLabels` reads; by default
    for samples that lack a label.

    All ranks of a launch may call this function, with whole weights (for a network that its engine shards, pass
    :meth:`trainer.trainer.Trainer.whole`), and so may other launches, at any time and with the same ``out``: they share
    the shards, and write the bytes that a single process writes. A pass that was interrupted is continued, and finished
    labels are left as they are. The network computes in fp32 and in evaluation mode, like an exported network, on the
    device of the accelerator; it is left there, in the mode that it had, its weights in ``channels_last`` layout.

    Args:
        model: its forward is described at :func:`trainer.model.create.create_model`.
        data: the samples; those that lack an input are left out. :meth:`shards.dataset.ShardDataset.select` chooses
            some of them.
        out: folder of the label shards: a new one, or one with labels of the same call.
        frames: ``"missing"`` labels samples that do not show the label of some task, ``"all"`` all samples.
        inputs: names of the network's inputs; by default those of its ``architecture``.
        tasks: the labelled tasks; by default those of its ``architecture`` that are not inputs.
        size: height and width that samples are resized to, and which the labels have; None for those of the data set.
        batch_size: samples of a forward pass. It may change the last bits of a label.
        flip: whether to label with the mean of the outputs for a sample and for its mirror image. Quantities and
            vectors then have a confidence.
        soft: number of classes of each pixel's distribution that are stored; 0 stores none.
        soft_scale: soft labels have this fraction of the height and width.
        threshold: the confidence for which the returned summary counts pixels; all labels are stored.
        teacher: what identifies the network; None for the hash of its weights, its class and its ``architecture``.
        replace: whether labels of another network or of other options in ``out`` are deleted; otherwise they are an
            error.
        accelerator: accelerate's view of this rank; None creates one for this launch.
        title: title of a progress bar; None shows none.

    Returns:
        The content of ``kept.json`` beside the shards: by task, the number of ``frames`` and ``pixels`` labelled and,
        with a confidence, the fraction of pixels that are ``kept`` above the threshold
        (:func:`trainer.pseudolabels.kept.summary`).

    Raises:
        UserError: when there is nothing to label, or a sample cannot be read; ``out`` holds anything else, or labels
            that were begun on another kind of device; an option is out of its range; or the disk is full.
    """
    folder = on_disk(out, "out")
    options = {
        "frames": frames,
        "batch_size": batch_size,
        "soft": soft,
        "soft_scale": soft_scale,
        "threshold": threshold,
    }
    check_values(Label, options)
    check_size("size", size)
    inputs, targets = _described(model, data, inputs, tasks)
    size = size or data.size
    mask = data.frames.to_label(inputs, [task.name for task in targets], shown=frames == "all")
    if not mask.any():
        message, hint = "no sample to label", "give samples that carry the inputs"
        if frames != "all" and data.frames.to_label(inputs, (), shown=True).any():
            message, hint = "all samples show their labels", 'label them nevertheless with frames="all"'
        raise UserError(message, file=data.manifest.path, key=data.split, hint=hint)
    inputs_read = [name for name in inputs if name != "rgb"]
    teacher = teacher or _identify(model, data.split, inputs, targets)
    job = job_of(
        teacher,
        data.frames,
        mask,
        tasks=targets,
        size=size,
        batch_size=batch_size,
        flip=flip,
        soft=soft,
        soft_scale=soft_scale,
    )
    if not is_finished(folder, job):
        with inference_accelerator(accelerator) as accelerator:
            made = claim_folder(folder, job, device_name(accelerator.device), replace)
            with use_threads(made["threads"]), ready_to_infer(model, accelerator.device) as network:
                soft_labels = soft_labels_of(targets, soft, soft_scale)
                labeller = Labeller(
                    network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
                    accelerator.device,
                    ShardDataset.of(data.frames.restrict(mask), inputs_read, size or data.manifest.size),
                    inputs=inputs,
                    tasks=targets,
                    batch_size=batch_size,
                    flip=flip,
                    soft=soft_labels,
                )
                origin = {
                    "checkpoint_sha256": teacher.sha256,
                    "step": teacher.step,
                    "threads": made["threads"],
                    "job": job,
                    "config": dict(teacher.config),
                }
                names = [shard.file for shard in data.frames.readers.shards]
                with SharedShards(folder, names, partial(check_job, folder, job)) as shared:
                    labeller.run(shared, title or "", show=title is not None and accelerator.is_main_process)
                    finish = partial(_finish, folder, data.frames, targets, origin, soft_labels, threshold)
                    shared.run_once(NAME, lambda: (folder / NAME).exists(), finish)
    return finished(folder, targets, data.split, threshold)


def finished(folder: Path, tasks: Sequence[Task], split: str, threshold: float) -> dict[str, Any]:
    """Tidy up the folder of finished labels, and return the content of its ``kept.json`` for a threshold."""
    tidy(folder)
    return write_kept(folder, tasks, Manifest.load(folder, kind="labels").statistics[split], threshold)


def _described(
    model: torch.nn.Module, data: ShardDataset, inputs: Sequence[str] | None, tasks: Sequence[Task] | None
) -> tuple[list[str], tuple[Task, ...]]:
    """Return the names of a network's inputs, and the tasks to label as the data set stores them."""
    names, known = inputs_and_tasks(model, data, inputs, tasks)
    tasks = [task for task in known if task.name not in names] if tasks is None else known
    if not tasks:
        hint = "give a network with a task that is not an input"
        raise UserError("predicts nothing but its own inputs, so it can label nothing", key="model", hint=hint)
    check_tasks(tasks, data.manifest.tasks, data.manifest.path)
    for name in names:
        if name in data.frames.holes:
            hint = "give data without them"
            raise UserError("is an input, and pseudo-labels fill its holes", key=f"pseudo[{name!r}]", hint=hint)
    return names, tuple(data.manifest.task(task.name) for task in tasks)


def _identify(model: torch.nn.Module, split: str, inputs: Sequence[str], tasks: Sequence[Task]) -> Teacher:
    """Return what identifies a network that no run has exported: its weights and what they are used for."""
    architecture, kind = architecture_of(model), type(model)
    network = {
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "architecture": architecture.to_json() if isinstance(architecture, Architecture) else None,
        "inputs": list(inputs),
        "tasks": [task.name for task in tasks],
    }
    sha256 = sha256_of_weights(without_weighting(model.state_dict()))
    return Teacher(sha256, network, job={"network": network, "split": split})


def _finish(
    folder: Path,
    frames: Frames,
    tasks: tuple[Task, ...],
    teacher: dict[str, Any],
    soft: dict[str, dict[str, int]],
    threshold: float,
    check: Callable[[], None],
) -> None:
    """Write kept.json and the manifest: all shards are whole, so no temporary file is in use."""
    sweep(folder)
    infos, statistics = [], []
    for shard in frames.readers.shards:
        index = read_json(folder / shard.index_file, "label again")
        infos.append(shard_info(folder, index))
        statistics.append(index["statistics"])
    merged = statistics_of({frames.split: statistics}, tasks)[frames.split]
    manifest = label_manifest(folder, frames.manifest, frames.split, tasks, infos, merged, teacher, soft)
    check()
    write_kept(folder, tasks, merged, threshold)
    manifest.save()
