"""Calls a network and checks its predictions: those of a wrong shape might be learnt and measured unnoticed."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from shards.errors import UserError
from shards.owncode import name_of, own_code
from shards.tasks import Task
from trainer.backenderrors import is_backend_error
from trainer.model.base import Network, Predictions, TaskTensors

KEY = "model"


def predictions_of(network: nn.Module, inputs: Mapping[str, torch.Tensor], tasks: Sequence[Task]) -> Predictions:
    """Return ``network(inputs)`` after checking its form.

    Args:
        network: as :func:`trainer.model.create.create_model` describes it, wrapped by an engine or not.
        inputs: a batch.
        tasks: the tasks that it has to predict.

    Raises:
        UserError: when it returns something else, or a class that is not part of Tutelage raises any error.
    """
    plain = _unwrap(network)
    with own_code(plain, KEY, foreign=is_backend_error):
        output: Any = network(inputs)
    if not isinstance(output, Predictions):
        message = f"{name_of(plain)} gives a {type(output).__name__}, expected Predictions"
        raise UserError(message, key=KEY, hint="return self.predictions(final) from forward (trainer.model.base)")
    first = next(iter(inputs.values()))
    batch, (height, width) = len(first), first.shape[-2:]
    with own_code(plain, KEY):
        for task in tasks:
            _check(plain, "", output.final, task, (batch, task.channels, height, width))
            for number, scale in enumerate(output.initial):
                _check(plain, f"at scale {number} ", scale, task, (batch, task.channels, *scale[task.name].shape[-2:]))
    predictions: Predictions = output
    return predictions


def _check(network: nn.Module, where: str, outputs: TaskTensors, task: Task, shape: tuple[int, ...]) -> None:
    tensor = outputs.get(task.name)
    if tensor is None:
        names = ", ".join(outputs) or "an empty mapping"
        message = f"{name_of(network)} gives nothing {where}for {task.name}, only {names}"
        raise UserError(message, key=KEY, hint="give an entry for each of architecture.tasks")
    if tuple(tensor.shape) != shape:
        message = f"{name_of(network)} gives {task.name} {where}as {tuple(tensor.shape)}, expected {shape}"
        hint = "give task.channels channels, at the size of the inputs (trainer.model.base.to_full_size)"
        raise UserError(message, key=KEY, hint=hint)


def check_tasks(tasks: Sequence[Task], available: Sequence[Task], file: object) -> None:
    """Check that a data set's tasks are those of a network: different ones may have the same number of classes.

    Args:
        tasks: the network's tasks.
        available: the data set's tasks; those that the network lacks are ignored.
        file: the data set's file, named in errors.

    Raises:
        UserError: for another kind, classes or unit under the same name.
    """
    by_name = {task.name: task for task in available}
    for task in tasks:
        candidate = by_name.get(task.name)
        if candidate is None:
            hint = f"it has {', '.join(by_name) or 'none'}"
            raise UserError("no such task in the data set", file=str(file), key=task.name, hint=hint)
        if part := difference(task, candidate):
            expected, actual = getattr(task, part), getattr(candidate, part)
            message = f"has the {part} {_abbreviate(actual)}, where the network knows {_abbreviate(expected)}"
            raise UserError(message, file=str(file), key=task.name, hint="give data of the same tasks")


def difference(one: Task, other: Task) -> str | None:
    """Return the first of kind, classes and unit in which two tasks of a name differ, so that a network for one cannot
    be used for the other; None where it can."""
    return next((part for part in ("kind", "classes", "unit") if getattr(one, part) != getattr(other, part)), None)


def _abbreviate(value: object) -> str:
    return f"{len(value)} ({', '.join(value[:3])}, ...)" if isinstance(value, tuple) else str(value)


def _unwrap(network: nn.Module) -> nn.Module:
    """Return the network itself, without the wrappers of an engine or a compiler."""
    while not isinstance(network, Network):
        inner = getattr(network, "_orig_mod", None) or getattr(network, "module", None)
        if not isinstance(inner, nn.Module):
            break
        network = inner
    return network
