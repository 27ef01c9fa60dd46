"""The mean of what a network says of a frame and of its mirror image, and how far the two agree.

A network that is sure of what it says says the same of both. So the mean is a better label than either (test-time
augmentation), and their agreement is a confidence for quantities and vectors, which have none of their own.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from shards.tasks import Task

Outputs = dict[str, Tensor]


def mirrored(inputs: Mapping[str, Tensor], tasks: Sequence[Task]) -> Outputs:
    """A batch as a mirror shows it.

    Args:
        inputs: by modality, in the forms of :mod:`trainer.augment` with a batch before them.
        tasks: those that are among the inputs.
    """
    vectors = {task.name for task in tasks if task.kind == "unit_vector"}
    return {name: _mirrored(x, name in vectors) for name, x in inputs.items()}


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
        By task: outputs in the form of a network's (for classes the logarithm of the mean probability, for quantities
        the mean, for vectors the sum of the two directions); and for quantities and vectors the agreement in 0..1,
        ``(B, H, W)``: the smaller value over the larger, and (1 + cosine) / 2.
    """
    one, other = network(inputs), network(mirrored(inputs, input_tasks))
    outputs, agreement = {}, {}
    for task in tasks:
        a, b = one[task.name].float(), _mirrored(other[task.name].float(), task.kind == "unit_vector")
        if task.kind == "classes":
            # not log(softmax(a) + softmax(b)), which is minus infinity where both round to 0
            outputs[task.name] = torch.logaddexp(a.log_softmax(1), b.log_softmax(1))
        elif task.kind == "metric":
            outputs[task.name] = (a + b) / 2
            a, b = a.clamp(min=0)[:, 0], b.clamp(min=0)[:, 0]
            agreement[task.name] = torch.minimum(a, b) / torch.maximum(a, b).clamp(min=1e-6)
        else:
            a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
            outputs[task.name] = a + b
            agreement[task.name] = (1 + (a * b).sum(1)) / 2
    return outputs, agreement


def _mirrored(x: Tensor, vectors: bool) -> Tensor:
    x = x.flip(-1)
    return x * x.new_tensor([-1, 1, 1])[:, None, None] if vectors else x
