"""Sums whose gradient is taken at once, against autograd's own."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shards.tasks import Task, palette
from trainer.earlygradient import with_gradients
from trainer.losses import MultiTaskLoss, loss_sums
from trainer.model.network import Predictions

SIDE = 64
TASKS = (Task("semseg", "classes", tuple("abcde"), palette(5)), Task("depth", "scalar", scale=0.001, unit="m"))


def sums_of(values: list[Tensor]) -> Tensor:
    """Return two sums over values of any size, interpolated to full size."""
    full = [F.interpolate(value, (SIDE, SIDE), mode="bilinear") for value in values]
    return torch.stack([full[0].square().sum(), full[1].sin().sum()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_and_gradients_are_those_of_autograd(dtype):
    values_early = [torch.randn(2, 3, 8, 8).to(dtype).requires_grad_() for _ in range(2)]
    values_autograd = [value.detach().clone().requires_grad_() for value in values_early]
    factors = torch.tensor([4.0, -0.5])  # powers of two: another order of products rounds alike
    sums, expected = with_gradients(sums_of, values_early), sums_of([value.float() for value in values_autograd])
    assert torch.equal(sums, expected)
    (sums * factors).sum().backward()
    (expected * factors).sum().backward()
    for early, autograd in zip(values_early, values_autograd, strict=True):
        assert early.grad is not None and early.grad.dtype == dtype
        assert torch.equal(early.grad, autograd.grad)


def test_without_gradients_none_are_computed():
    grad_modes = []

    def spy(values: list[Tensor]) -> Tensor:
        grad_modes.append(torch.is_grad_enabled())
        return sums_of(values)

    with torch.no_grad():
        sums = with_gradients(spy, [torch.randn(2, 3, 8, 8, requires_grad=True) for _ in range(2)])
    assert grad_modes == [False] and not sums.requires_grad


def test_deep_supervision_keeps_nothing_of_full_size_for_the_backward_pass():
    targets = {"semseg": torch.randint(0, 5, (2, SIDE, SIDE), dtype=torch.uint8), "depth": torch.rand(2, 1, SIDE, SIDE)}

    def logits(side: int) -> dict[str, Tensor]:
        return {task.name: torch.randn(2, task.channels, side, side, requires_grad=True) for task in TASKS}

    predictions = Predictions(logits(SIDE), [logits(SIDE // 4), logits(SIDE // 8)])
    criterion = MultiTaskLoss(TASKS)

    def saved_bytes(deep: bool) -> int:
        """Return the bytes that autograd keeps once the loss is computed, each storage counted once."""
        saved: list[weakref.ref[Tensor]] = []

        def keep(tensor: Tensor) -> Tensor:
            wrapper = tensor.view_as(tensor)  # lives as long as the graph's node
            saved.append(weakref.ref(wrapper))
            return wrapper

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            if deep:
                terms = criterion.terms(predictions, targets, criterion.counts(targets))
            else:
                terms = loss_sums(predictions.final, targets, TASKS)
            storages = [tensor.untyped_storage() for ref in saved if (tensor := ref()) is not None]
        assert terms.requires_grad
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    scales = sum(x.numel() * x.element_size() for initial in predictions.initial for x in initial.values())
    full = 2 * 5 * SIDE * SIDE * 4
    assert saved_bytes(deep=True) - saved_bytes(deep=False) < 2 * scales < full
