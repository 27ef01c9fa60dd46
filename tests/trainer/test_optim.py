"""Learning rates and optimizers."""

import pytest
import torch

from shards.errors import UserError
from trainer.optim import check_optimizer, learning_rate, make_optimizer, set_learning_rate
from trainer.sections import Train


def rates(steps: int = 10, **options) -> list[float]:
    return [learning_rate(step, steps, Train(lr=2.0, **options)) for step in range(steps)]


def test_schedules_by_their_formulas():
    assert rates(schedule="polynomial") == pytest.approx([2 * (1 - s / 10) ** 0.9 for s in range(10)])
    assert rates(schedule="constant") == [2.0] * 10
    cosine = rates(schedule="cosine")
    assert cosine[0] == 2.0 and cosine[5] == pytest.approx(1.0) and cosine == sorted(cosine, reverse=True)
    assert 0 < cosine[9] < 0.06


@pytest.mark.parametrize("schedule", ["polynomial", "cosine", "constant"])
def test_warmup_rises_to_the_schedule(schedule):
    warm, plain = rates(schedule=schedule, warmup_steps=4), rates(schedule=schedule)
    assert warm[4:] == plain[4:] and warm[3] == plain[3]
    assert warm[:4] == pytest.approx([plain[s] * (s + 1) / 4 for s in range(4)])
    assert warm[0] < warm[1] < warm[2]


def test_weight_decay_is_coupled_in_adam_and_decoupled_in_adamw():
    """Without a gradient AdamW shrinks a weight by lr × decay; Adam takes the decay for a gradient: a step of lr."""
    moved = {}
    for name in ("adam", "adamw"):
        layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(layer.weight, 1.0)
        optimizer = make_optimizer(layer, Train(optimizer=name, lr=0.1, weight_decay=0.01))
        layer.weight.grad = torch.zeros_like(layer.weight)
        optimizer.step()
        moved[name] = 1 - layer.weight.item()
    assert moved["adamw"] == pytest.approx(0.1 * 0.01, rel=1e-3)
    assert moved["adam"] == pytest.approx(0.1, rel=1e-3)


def test_set_learning_rate_reaches_every_group():
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam([{"params": [layer.weight]}, {"params": [layer.bias], "lr": 1.0}])
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_optimizers_of_ones_own_are_adams_of_all_parameters():
    network, other = torch.nn.Linear(2, 2), torch.nn.Linear(1, 1)
    parameters = [*network.parameters()]
    check_optimizer(torch.optim.AdamW(parameters, lr=1.0, betas=(0.8, 0.99)), network)
    for optimizer, message in {
        torch.optim.SGD(parameters, lr=1.0): "optimizer: is SGD; use torch.optim.Adam or AdamW",
        torch.optim.Adam(parameters, amsgrad=True): "optimizer: is Adam with amsgrad; leave",
        torch.optim.Adam(parameters[:1]): "optimizer: lacks the parameter bias; create it from",
        torch.optim.Adam([*parameters, *other.parameters()]): "optimizer: has parameters that are not the model's",
        torch.optim.Adam([{"params": [parameter]} for parameter in parameters]): "optimizer: has 2 parameter groups",
    }.items():
        with pytest.raises(UserError, match=message):
            check_optimizer(optimizer, network)
