"""The mean of what a network says of a frame and of its mirror image, and how far the two agree.

A network that is sure of what it says says the same of both. So the mean is a better label than either (test-time
augmentation), and their agreement is a confidence for quantities and vectors, which have none of their own.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from shards.tasks import Task
from trainer.kinds import learning

Outputs = dict[str, Tensor]


def mirrored(inputs: Mapping[str, Tensor], tasks: Sequence[Task]) -> Outputs:
    """A batch as a mirror shows it.

    Args:
        inputs: by modality, in the forms of :mod:`trainer.augment` with a batch before them.
        tasks: those that are among the inputs.
    """
    known = {task.name: task for task in tasks}
    return {name: learning(known[name]).mirrored(x) if name in known else x.flip(-1) for name, x in inputs.items()}


def outputs_of(
    network: Callable[[Mapping[str, Tensor]], Outputs],
    inputs: Mapping[str, Tensor],
    tasks: Sequence[Task],
    input_tasks: Sequence[Task] = (),
    *,
    flip: bool,
) -> tuple[Outputs, Outputs]:
    """What a teacher says of a batch: with ``flip`` as :func:`averaged` has it, else once and without agreement."""
    if flip:
        return averaged(network, inputs, tasks, input_tasks)
    found = network(inputs)
    return {task.name: found[task.name] for task in tasks}, {}


def averaged(
    network: Callable[[Mapping[str, Tensor]], Outputs],
    inputs: Mapping[str, Tensor],
    tasks: Sequence[Task],
    input_tasks: Sequence[Task] = (),
) -> tuple[Outputs, Outputs]:
    """Run a network twice.

    Args:
        network: inputs to outputs by task, ``(B, task.channels, H, W)``.
        inputs: a batch.
        tasks: those of the outputs that are wanted.
        input_tasks: those tasks whose labels are among the inputs.

    Returns:
        By task: outputs in the form of a network's, and of kinds without a confidence of their own the agreement in
        0..1, ``(B, H, W)`` (:meth:`trainer.kinds.base.Learning.mean_of_two`).
    """
    one, other = network(inputs), network(mirrored(inputs, input_tasks))
    outputs, agreement = {}, {}
    for task in tasks:
        kind = learning(task)
        outputs[task.name], agrees = kind.mean_of_two(one[task.name].float(), kind.mirrored(other[task.name].float()))
        if agrees is not None:
            agreement[task.name] = agrees
    return outputs, agreement
