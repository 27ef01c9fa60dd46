"""The toy example: stacked networks learn as single ones do, and the table says what was found."""

import math
from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch import nn

from launchers.cli import main
from trainer.toy import example as toy
from trainer.toy.example import (
    BATCH,
    CONTROL,
    EPOCHS,
    MULTI,
    SINGLE,
    STEPS,
    STUDENT,
    TEACHER,
    Measured,
    Protocol,
    Stack,
    Toy,
)
from trainer.toy.table import tabulate

SHORT = Protocol(0, 5, 2)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_a_stack_learns_as_each_of_its_networks_would_alone():
    """Against torch's own layers, loss and loop, where half of one output is unknown."""
    inputs, targets = torch.rand(2, 64, 1), torch.rand(2, 64, 2)
    targets[:, 32:, 1] = math.nan
    stack = Stack(1, 2, generators(3, 4))
    widths = [1, 128, 128, 128, 128, 2]
    layers: list[nn.Module] = []
    for number, (rows, columns) in enumerate(pairwise(widths)):
        linear = nn.Linear(rows, columns)
        weight, bias = stack.layers[number]
        with torch.no_grad():
            linear.weight.copy_(weight[1].T)
            linear.bias.copy_(bias[1, 0])
        layers += [linear, nn.ReLU()]
    alone = nn.Sequential(*layers[:-1])
    steps = toy.train(stack, inputs, targets, generators(5, 6))
    for _ in range(7):
        next(steps)
    optimizer, order = torch.optim.Adam(alone.parameters(), 1e-3), generators(6)[0]
    epochs = [torch.randperm(64, generator=order) for _ in range(4)]
    for rows in torch.cat(epochs).split(BATCH)[:7]:
        truth, predicted = targets[1, rows], alone(inputs[1, rows])
        known = rows < 32
        loss = nn.functional.mse_loss(predicted[:, 0], truth[:, 0])
        if known.any():
            loss = loss + nn.functional.mse_loss(predicted[known, 1], truth[known, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(stack(inputs)[1], alone(inputs[1]), rtol=1e-4, atol=1e-5)


def test_a_seeds_figures_do_not_depend_on_the_others():
    many, one = Toy(SHORT, [0, 1, 2]).run(), Toy(SHORT, [2]).run()
    for left, right in zip(many, one, strict=True):
        assert left.fresh[2] == pytest.approx(right.fresh[2], rel=1e-3)
        assert left.fresh[2] != pytest.approx(left.fresh[1], rel=1e-3)


def test_budgets():
    done: list[int] = []
    steps = {(each.network, each.budget): each.steps for each in Toy(SHORT, [0], done.append).run()}
    assert sum(done) == SHORT.steps
    assert {network: steps[network, STEPS] for network in toy.NETWORKS} == dict.fromkeys(toy.NETWORKS, 10)
    more = {SINGLE: 10, MULTI: 10, TEACHER: 10, CONTROL: 40, STUDENT: 40}
    assert {network: steps[network, EPOCHS] for network in toy.NETWORKS} == more


def test_f2_is_hard_from_z_and_easy_from_z_and_f1():
    errors = {each.network: each.fresh for each in Toy(Protocol(0, 5, 20), [0, 1]).run() if each.budget == STEPS}
    for seed in (0, 1):
        assert errors[TEACHER][seed] < errors[SINGLE][seed] / 2


def measured(network: str, *errors: float) -> Measured:
    known, fresh = dict(enumerate(2 * error for error in errors)), dict(enumerate(errors))
    return Measured(SHORT, network, EPOCHS, 10, known, fresh, torch.zeros(1))


def test_the_table_says_what_is_better_and_how_sure():
    found = [measured(SINGLE, 0.3, 0.5, 0.4), measured(MULTI, 0.2, 0.4, 0.31), measured(CONTROL, 0.1, 0.6, 0.2)]
    found += [measured(STUDENT, 0.21, 0.41, 0.322), measured(TEACHER, 0.1, 0.1, 0.1)]
    table = tabulate(found)
    rows = {row[2]: row for row in table.rows}
    assert rows[SINGLE][4:6] == ["0.8000 ± 0.2000", "0.4000 ± 0.1000"] and rows[SINGLE][-1] == "–"
    assert rows[MULTI][-1].startswith("better than single task (−0.1")
    assert rows[CONTROL][-1].startswith("undetermined against multi-task (−0.")
    assert rows[CONTROL][-1].endswith("): about 1438 seeds would tell") or rows[CONTROL][-1].endswith(")")
    worse, open_ = rows[STUDENT][-1].split("; ")
    assert worse.startswith("worse than multi-task (+0.0") and open_.startswith("undetermined")
    assert "could not be obtained" in table.notes[0]


def test_the_command_prints_and_draws(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(toy, "PROTOCOLS", (Protocol(0, 1, 1), Protocol(0, 5, 1)))
    assert main(["toy", "--seeds", "2", "--picture", str(tmp_path / "toy.png")]) == 0
    said = capsys.readouterr().out
    assert said.count(STUDENT) == 4 + said.count("student 0.0072") and "stand in for the paper's" in said
    assert Image.open(tmp_path / "toy.png").width > 1000
    assert main(["toy", "--seeds", "1", "--format", "md"]) == 0
    assert capsys.readouterr().out.startswith("| z in | ")
    assert main(["toy", "--seeds", "0"]) == 1
