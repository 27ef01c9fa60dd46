"""The mean of a network's outputs for a frame and for its mirror image, and how far the two agree.

A network that is certain predicts the same for both. So the mean is a better label than either output (test-time
augmentation), and the agreement serves as a confidence for quantities and vectors, which have none of their own.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from shards.tasks import Task
from trainer.kinds import learning

Outputs = dict[str, Tensor]


def mirror_inputs(inputs: Mapping[str, Tensor], tasks: Sequence[Task]) -> Outputs:
    """Return the mirror image of a batch.

    Args:
        inputs: by modality, in the forms of :mod:`trainer.augment` with a batch dimension.
        tasks: the tasks whose labels are among the inputs.
    """
    by_name = {task.name: task for task in tasks}
    return {name: learning(by_name[name]).mirrored(x) if name in by_name else x.flip(-1) for name, x in inputs.items()}


def outputs_of(
    network: Callable[[Mapping[str, Tensor]], Outputs],
    inputs: Mapping[str, Tensor],
    tasks: Sequence[Task],
    input_tasks: Sequence[Task] = (),
    *,
    flip: bool,
) -> tuple[Outputs, Outputs]:
    """Return a teacher's outputs for a batch: those of :func:`predict_with_flip`, or of one pass without agreement."""
    if flip:
        return predict_with_flip(network, inputs, tasks, input_tasks)
    outputs = network(inputs)
    return {task.name: outputs[task.name] for task in tasks}, {}


def predict_with_flip(
    network: Callable[[Mapping[str, Tensor]], Outputs],
    inputs: Mapping[str, Tensor],
    tasks: Sequence[Task],
    input_tasks: Sequence[Task] = (),
) -> tuple[Outputs, Outputs]:
    """Run a network on a batch and on its mirror image, and average the outputs.

    Args:
        network: maps inputs to outputs by task, ``(B, task.channels, H, W)``.
        inputs: a batch.
        tasks: the tasks whose outputs are wanted.
        input_tasks: the tasks whose labels are among the inputs.

    Returns:
        By task: outputs in the form of the network's; and for kinds without a confidence of their own, the agreement
        in 0..1, ``(B, H, W)`` (:meth:`trainer.kinds.base.Learning.mean_of_two`).
    """
    plain, flipped = network(inputs), network(mirror_inputs(inputs, input_tasks))
    outputs, agreements = {}, {}
    for task in tasks:
        name, kind = task.name, learning(task)
        outputs[name], agreement = kind.mean_of_two(plain[name].float(), kind.mirrored(flipped[name].float()))
        if agreement is not None:
            agreements[name] = agreement
    return outputs, agreements
