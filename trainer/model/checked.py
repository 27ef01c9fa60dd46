"""What a network says, called and checked: a prediction of the wrong form would be learnt and measured all the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shards.errors import UserError
from shards.owncode import name_of, own_code
from shards.tasks import Task
from trainer.model.base import Network, Predictions, TaskTensors

KEY = "model.name"


def predictions_of(network: nn.Module, inputs: Mapping[str, torch.Tensor], tasks: Sequence[Task]) -> Predictions:
    """``network(inputs)``.

    Args:
        network: as :func:`trainer.model.create.create_model` describes it, under an engine or not.
        inputs: a batch.
        tasks: what it has to predict.

    Raises:
        UserError: when it gives something else, or a class that is not of Tutelage raises anything.
    """
    plain = _plain(network)
    with own_code(plain, KEY):
        found: Any = network(inputs)
    if not isinstance(found, Predictions):
        what = f"{name_of(plain)} gives a {type(found).__name__}, where Predictions are due"
        raise UserError(what, key=KEY, hint="return self.predictions(final) from forward (trainer.model.base)")
    first = next(iter(inputs.values()))
    batch, (height, width) = len(first), first.shape[-2:]
    with own_code(plain, KEY):
        for task in tasks:
            _check(plain, "", found.final, task, (batch, task.channels, height, width))
            for number, scale in enumerate(found.initial):
                _check(plain, f"at scale {number} ", scale, task, (batch, task.channels, *scale[task.name].shape[-2:]))
    predictions: Predictions = found
    return predictions


def _check(network: nn.Module, where: str, found: TaskTensors, task: Task, due: tuple[int, ...]) -> None:
    tensor = found.get(task.name)
    if tensor is None:
        what = f"{name_of(network)} gives nothing {where}for {task.name}, only {', '.join(found) or 'an empty mapping'}"
        raise UserError(what, key=KEY, hint="give an entry for each of architecture.tasks")
    if tuple(tensor.shape) != due:
        what = f"{name_of(network)} gives {task.name} {where}as {tuple(tensor.shape)}, where {due} is due"
        hint = "give task.channels channels, at the size of the inputs (trainer.model.base.to_full_size)"
        raise UserError(what, key=KEY, hint=hint)


def check_tasks(known: Sequence[Task], given: Sequence[Task], file: object) -> None:
    """Make sure that a data set's tasks are those that a network knows: others may have as many classes.

    Args:
        known: the network's.
        given: the data set's; others than those of ``known`` are ignored.
        file: where the data set says so.

    Raises:
        UserError: for another kind, classes or unit under the same name.
    """
    by_name = {task.name: task for task in given}
    for task in known:
        other = by_name.get(task.name)
        if other is None:
            hint = f"it has {', '.join(by_name) or 'none'}"
            raise UserError("no such task in the data set", file=str(file), key=task.name, hint=hint)
        for part in ("kind", "classes", "unit"):
            one, two = getattr(task, part), getattr(other, part)
            if one != two:
                what = f"has the {part} {_short(two)}, where the network knows {_short(one)}"
                raise UserError(what, file=str(file), key=task.name, hint="give data of the same tasks")


def _short(value: object) -> str:
    return f"{len(value)} ({', '.join(value[:3])}, ...)" if isinstance(value, tuple) else str(value)


def _plain(network: nn.Module) -> nn.Module:
    """The network itself, out of what an engine or a compiler has wrapped around it."""
    while not isinstance(network, Network):
        inner = getattr(network, "_orig_mod", None) or getattr(network, "module", None)
        if not isinstance(inner, nn.Module):
            break
        network = inner
    return network
