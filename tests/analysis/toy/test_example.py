"""The toy example: stacked networks learn as single ones do; its training data, errors and tables."""

import math
from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch import nn

from analysis.toy import example as toy
from analysis.toy import functions
from analysis.toy.example import BATCH, EPOCHS, STEPS, NetworkErrors, Stack, Toy, steps_by_budget, total_steps
from analysis.toy.functions import (
    CONTROL,
    LONGER,
    MULTI,
    NESTED,
    NETWORKS,
    PAPER,
    SINGLE,
    STUDENT,
    STUDENT_SINGLE,
    TEACHER,
    Pair,
    Protocol,
)
from analysis.toy.table import compare, tabulate
from launchers.cli import main

SHORT = Protocol(0, 5, 2)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_a_stack_learns_as_each_of_its_networks_would_alone():
    """Compared with torch's own layers, loss and loop, where half of one output is unknown."""
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
        labelled = rows < 32
        loss = nn.functional.mse_loss(predicted[:, 0], truth[:, 0])
        if labelled.any():
            loss = loss + nn.functional.mse_loss(predicted[labelled, 1], truth[labelled, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(stack(inputs)[1], alone(inputs[1]), rtol=1e-4, atol=1e-5)


def test_the_papers_functions_are_those_of_its_section_toy_example():
    """f1(z) = sin z + √z/300 + 2 + 3 sin 5z · cos 2z and f2(z) = cos(z/3) + √z/200 + 1 − sin 3z · cos 4z."""
    assert functions.PAIRS["paper"] is PAPER and PAPER.protocols == (Protocol(0, 1, 12),)
    for z in (0.0, 0.3, 1.0):
        first = math.sin(z) + math.sqrt(z) / 300.0 + 2 + 3 * math.sin(5 * z) * math.cos(2 * z)
        second = math.cos(z / 3) + math.sqrt(z) / 200.0 + 1 - math.sin(3 * z) * math.cos(4 * z)
        assert PAPER.f1(torch.tensor(z)).item() == pytest.approx(first, rel=1e-5)
        assert PAPER.f2(torch.tensor(z)).item() == pytest.approx(second, rel=1e-5)
    printed = {SINGLE: (0.0149, 0.0111), MULTI: (0.0101, 0.0068), STUDENT_SINGLE: (0.0072, 0.0062)}
    assert PAPER.printed == printed and not NESTED.printed


def test_a_seeds_figures_do_not_depend_on_the_others():
    several, one = Toy(PAPER, SHORT, [0, 1, 2]).run(), Toy(PAPER, SHORT, [2]).run()
    for left, right in zip(several, one, strict=True):
        assert left.errors[2] == pytest.approx(right.errors[2], rel=1e-3)
        assert left.errors[2] != pytest.approx(left.errors[1], rel=1e-3)


def test_budgets():
    step_counts: list[int] = []
    results = Toy(PAPER, SHORT, [0], lambda steps, network: step_counts.append(steps)).run()
    steps = {
        budget: {result.network: result.steps for result in results if result.budget == budget}
        for budget in toy.BUDGETS
    }
    assert sum(step_counts) == total_steps(SHORT) == 10 + 40 + 40 + 10 + 40 + 40
    assert steps[STEPS] == dict.fromkeys([name for name in NETWORKS if name != LONGER], 10)
    longer = dict.fromkeys([LONGER, CONTROL, STUDENT, STUDENT_SINGLE], 40)
    assert steps[EPOCHS] == dict.fromkeys([SINGLE, MULTI, TEACHER], 10) | longer
    assert steps_by_budget(PAPER.protocols[0])[STUDENT] == {STEPS: 60, EPOCHS: 240}


def test_what_each_network_is_trained_on(monkeypatch):
    """The control has no f2 where only f1 is known. There, students have the f2 that their teacher predicts beside f1,
    and elsewhere the true one."""
    training_data = {}
    fit = Toy.fit

    def spy(instance, networks, inputs, targets):
        stack, errors = fit(instance, networks, inputs, targets)
        training_data[networks[0]] = inputs, targets, stack
        return stack, errors

    monkeypatch.setattr(Toy, "fit", spy)
    Toy(PAPER, SHORT, [0, 1]).run()
    shapes = {name: (inputs.shape[1:], targets.shape[2]) for name, (inputs, targets, _) in training_data.items()}
    assert shapes == {
        SINGLE: ((160, 1), 1),
        MULTI: ((160, 1), 2),
        CONTROL: ((640, 1), 2),
        TEACHER: ((160, 2), 2),
        STUDENT: ((640, 1), 2),
        STUDENT_SINGLE: ((640, 1), 1),
    }
    true_f2, control = training_data[SINGLE][1], training_data[CONTROL][1]
    assert torch.equal(control[:, :160, 1:], true_f2) and control[:, 160:, 1].isnan().all()
    teacher_inputs, labels, teacher = training_data[TEACHER]
    assert torch.equal(labels[..., 1:], true_f2) and torch.equal(teacher_inputs[..., 1:], labels[..., :1]), "it sees f1"
    student, single_task = training_data[STUDENT][1], training_data[STUDENT_SINGLE][1]
    assert torch.equal(student[..., :1], control[..., :1]) and torch.equal(student[..., 1:], single_task)
    assert torch.equal(single_task[:, :160], true_f2)
    with torch.no_grad():
        pseudo = teacher(torch.cat([training_data[STUDENT][0], student[..., :1]], 2))[..., 1:]
    torch.testing.assert_close(single_task[:, 160:], pseudo[:, 160:])


def test_the_students_lead_is_its_steps():
    """What docs/results/toy.md concludes, with 6 of its 50 seeds: with as many steps as the multi-task network no
    student is ahead of it. With four times as many steps both students are, and networks with as many steps and
    without pseudo-labels are ahead by more."""
    results = Toy(PAPER, PAPER.protocols[0], range(6)).run()
    errors = {(result.budget, result.network): math.fsum(result.errors.values()) / 6 for result in results}
    multi = errors[STEPS, MULTI]
    assert multi < errors[STEPS, SINGLE]
    for student in (STUDENT, STUDENT_SINGLE):
        assert errors[STEPS, student] > multi > 2 * errors[EPOCHS, student]
        assert errors[EPOCHS, student] > 4 * max(errors[EPOCHS, CONTROL], errors[EPOCHS, LONGER])


def test_nested_f2_is_hard_from_z_and_easy_from_z_and_f1():
    errors = {result.network: result.errors for result in Toy(NESTED, Protocol(0, 5, 20), [0, 1]).run()}
    for seed in (0, 1):
        assert errors[TEACHER][seed] < errors[SINGLE][seed] / 2


def network_errors(network: str, *errors: float) -> NetworkErrors:
    return NetworkErrors(SHORT, network, EPOCHS, 10, dict(enumerate(errors)), torch.zeros(1))


ERRORS = [
    network_errors(SINGLE, 0.3, 0.5, 0.4),
    network_errors(MULTI, 0.2, 0.4, 0.31),
    network_errors(CONTROL, 0.1, 0.6, 0.2),
    network_errors(TEACHER, 0.1, 0.1, 0.1),
    network_errors(STUDENT_SINGLE, 0.21, 0.41, 0.322),
]


def test_the_table_has_the_papers_errors_beside_ours():
    table = tabulate(PAPER, ERRORS)
    rows = {row[2]: row for row in table.rows}
    assert table.titles[-1] == "paper, Table 2"
    assert rows[SINGLE][3:] == ["10", "0.40000 ± 0.10000", "0.15159 … 0.64841", "0.0149 ± 0.0111"]
    assert rows[MULTI][-1] == "0.0101 ± 0.0068" and rows[STUDENT_SINGLE][-1] == "0.0072 ± 0.0062"
    assert rows[CONTROL][-1] == rows[TEACHER][-1] == "–"
    other = tabulate(NESTED, ERRORS)
    assert other.titles == table.titles[:-1] and all(len(row) == len(other.titles) for row in other.rows)


def test_the_comparisons_say_what_is_better_and_how_sure():
    table = compare(ERRORS)
    rows = {row[2]: row for row in table.rows}
    assert list(rows) == [
        f"{MULTI} − {SINGLE}",
        f"{STUDENT_SINGLE} − {MULTI}",
        f"{STUDENT_SINGLE} − {CONTROL}",
        f"{STUDENT_SINGLE} − {TEACHER}",
    ]
    better = rows[f"{MULTI} − {SINGLE}"]
    assert better[3] == "−0.09667" and better[4].startswith("−0.1") and better[5] == "better"
    worse = rows[f"{STUDENT_SINGLE} − {MULTI}"]
    assert worse[3] == "+0.01067" and worse[5] == "worse"
    assert rows[f"{STUDENT_SINGLE} − {CONTROL}"][5].startswith("undetermined")
    one = compare([network_errors(SINGLE, 0.3), network_errors(MULTI, 0.2)]).rows[0]
    assert one[4:] == ["–", "undetermined: one seed"]


def test_the_command_prints_and_draws(monkeypatch, capsys, tmp_path):
    short = (Protocol(0, 1, 1), Protocol(0, 5, 1))
    pairs = {pair.name: Pair(pair.name, pair.f1, pair.f2, short, pair.printed) for pair in (PAPER, NESTED)}
    monkeypatch.setattr(functions, "PAIRS", pairs)
    assert main(["toy", "--seeds", "2", "--picture", str(tmp_path / "toy.png")]) == 0
    output = capsys.readouterr().out
    assert "toy 180/180" in output and "0.0072 ± 0.0062" in output and f"{STUDENT} − {CONTROL}" in output
    assert Image.open(tmp_path / "toy.png").width > 1000
    assert main(["toy", "--seeds", "1", "--format", "md", "--functions", "nested"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("| z in | ") and "| comparison |" in output and "Table 2" not in output
    assert main(["toy", "--seeds", "0"]) == 1
