"""The paper's toy example: one function has labels at many points, a second one at few.

A network learns f2(z) from 160 points: alone; together with f1(z); or as the student of a teacher h(z, f1(z)), which is
trained on both functions and labels the 480 points where only f1 is known. (Erkent, "Multi-Task Learning for Robot
Perception with Imbalanced Data", section "Toy Example", Table 2 and Figure 3.) The student is single-task in the
paper's text, and "MTL T-S" in its table and figure: both are trained here. Either keeps the true f2 where that is
known, as in the paper's section "Method".

All seeds train at once: their networks are stacked along a first dimension and are independent of each other.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from analysis.toy.functions import (
    CONTROL,
    LONGER,
    MULTI,
    NETWORKS,
    SINGLE,
    STUDENT,
    STUDENT_SINGLE,
    TEACHER,
    Pair,
    Protocol,
)

POINTS, LABELLED, FRESH = 640, 160, 1000
"""Number of points with f1, of those among them with f2, and of further points to measure on."""
HIDDEN, WIDTH = 4, 128
BATCH, RATE = 32, 1e-3
STEPS, EPOCHS = "equal steps", "equal epochs"
BUDGETS = (STEPS, EPOCHS)
"""Networks that see all 640 points train for the same steps as the others, or for the same epochs, hence four times the
steps."""


def steps_by_budget(protocol: Protocol) -> dict[str, dict[str, int]]:
    """Return the training steps of every network by budget; ``LONGER`` is the multi-task network, trained as long as
    the student under equal epochs."""
    few, many = (protocol.epochs * points // BATCH for points in (LABELLED, POINTS))
    with_few, with_all = {STEPS: few, EPOCHS: few}, {STEPS: few, EPOCHS: many}
    sees_all = (CONTROL, STUDENT, STUDENT_SINGLE)
    steps = {network: with_all if network in sees_all else with_few for network in NETWORKS}
    return steps | {LONGER: {EPOCHS: many}}


def total_steps(protocol: Protocol) -> int:
    """Return the steps of all networks together; ``LONGER`` continues from the multi-task network."""
    by_network = {network: max(steps.values()) for network, steps in steps_by_budget(protocol).items()}
    return sum(by_network.values()) - by_network[MULTI]


@dataclass
class NetworkErrors:
    """The errors of one network of a protocol, for every seed.

    Args:
        budget: one of ``BUDGETS``.
        steps: its training steps.
        errors: mean squared error of f2 at points that no network has seen, by seed.
        curve: the first seed's f2 along the interval, ``(200,)``.
    """

    protocol: Protocol
    network: str
    budget: str
    steps: int
    errors: dict[int, float]
    curve: Tensor


class Stack:
    """Networks of ``HIDDEN`` layers of ``WIDTH`` rectified units, one per seed.

    Args:
        generators: one per seed; initial weights are drawn as ``torch.nn.Linear`` draws them.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        widths = [inputs, *[WIDTH] * HIDDEN, outputs]
        self.layers = []
        for rows, columns in pairwise(widths):
            samples = torch.stack([torch.rand(rows + 1, columns, generator=generator) for generator in generators])
            uniform = (2 * samples - 1) / math.sqrt(rows)
            self.layers.append((uniform[:, 1:].clone().requires_grad_(), uniform[:, :1].clone().requires_grad_()))

    def __call__(self, x: Tensor) -> Tensor:
        """``(seeds, points, inputs)`` → ``(seeds, points, outputs)``."""
        for number, (weight, bias) in enumerate(self.layers):
            x = torch.baddbmm(bias, torch.relu(x) if number else x, weight)
        return x

    def parameters(self) -> list[Tensor]:
        return [tensor for layer in self.layers for tensor in layer]


class Scale:
    """Standardisation with the mean and deviation of the training values, separately for each seed."""

    def __init__(self, values: Tensor) -> None:
        self.mean = values.mean(1, keepdim=True)
        self.deviation = values.std(1, keepdim=True)

    def apply(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation

    def undo(self, values: Tensor) -> Tensor:
        return values * self.deviation + self.mean


def train(stack: Stack, inputs: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Iterator[int]:
    """Train with Adam on the sum of the outputs' mean squared errors; yield the number of each step, without an end.

    Args:
        inputs: ``(seeds, points, inputs)``, standardised.
        targets: ``(seeds, points, outputs)``, standardised; NaN where there is no label.
        generators: one per seed, for the order of the points.
    """
    optimizer = torch.optim.Adam(stack.parameters(), RATE, fused=True)
    step = 0
    while True:
        order = torch.stack([torch.randperm(inputs.shape[1], generator=generator) for generator in generators])
        for rows in order.split(BATCH, 1):
            seed = torch.arange(len(rows))[:, None]
            truth = targets[seed, rows]
            has_label = ~truth.isnan()
            squares = (stack(inputs[seed, rows]) - truth.nan_to_num()).square() * has_label
            optimizer.zero_grad()
            (squares.sum(1) / has_label.sum(1).clamp(min=1)).sum().backward()
            optimizer.step()
            step += 1
            yield step


class Toy:
    """The points of a protocol, and the networks that learn from them.

    Args:
        seeds: each determines all of its random numbers, so its errors do not depend on the other seeds.
        report: called with the number of steps done since the last call, and the name of the network.
    """

    def __init__(
        self,
        pair: Pair,
        protocol: Protocol,
        seeds: Sequence[int],
        report: Callable[[int, str], None] = lambda steps, network: None,
    ) -> None:
        self.pair, self.protocol, self.seeds, self.report = pair, protocol, list(seeds), report
        draws = torch.stack(
            [torch.rand(POINTS + FRESH, 1, generator=generator) for generator in self.generators("points")]
        )
        points = protocol.low + (protocol.high - protocol.low) * draws
        self.z, self.fresh = points[:, :POINTS], points[:, POINTS:]
        self.line = torch.linspace(protocol.low, protocol.high, 200)[None, :, None].expand(len(self.seeds), -1, -1)
        self.f1, self.f2 = pair.f1(self.z), pair.f2(self.z)
        self.scales = Scale(self.z), Scale(self.f1), Scale(self.f2[:, :LABELLED])

    def generators(self, purpose: str) -> list[torch.Generator]:
        """Return a random stream for each seed, separate from those of other purposes."""
        number = ("points", *NETWORKS).index(purpose)
        return [torch.Generator().manual_seed((len(NETWORKS) + 1) * seed + number) for seed in self.seeds]

    def run(self) -> list[NetworkErrors]:
        """Train every network under every budget."""
        labelled, unlabelled = slice(0, LABELLED), slice(LABELLED, POINTS)
        z, f1, f2 = (scale.apply(values) for scale, values in zip(self.scales, (self.z, self.f1, self.f2), strict=True))
        z_and_f1, f1_and_f2 = torch.cat([z, f1], 2), torch.cat([f1, f2], 2)
        unknown = torch.full_like(f2[:, unlabelled], math.nan)
        _, single = self.fit([SINGLE], z[:, labelled], f2[:, labelled])
        _, multi = self.fit([MULTI, LONGER], z[:, labelled], f1_and_f2[:, labelled])
        _, control = self.fit([CONTROL], z, torch.cat([f1, torch.cat([f2[:, labelled], unknown], 1)], 2))
        teacher_network, teacher = self.fit([TEACHER], z_and_f1[:, labelled], f1_and_f2[:, labelled])
        with torch.no_grad():
            pseudo = torch.cat([f2[:, labelled], teacher_network(z_and_f1[:, unlabelled])[..., -1:]], 1)
        _, student = self.fit([STUDENT], z, torch.cat([f1, pseudo], 2))
        _, student_single = self.fit([STUDENT_SINGLE], z, pseudo)
        results = [*single, *multi, *control, *teacher, *student, *student_single]
        return sorted(results, key=lambda result: (BUDGETS.index(result.budget), NETWORKS.index(result.network)))

    def fit(self, networks: Sequence[str], inputs: Tensor, targets: Tensor) -> tuple[Stack, list[NetworkErrors]]:
        """Train a network, and measure it at the end of each budget.

        Args:
            networks: its name, and its name when trained for longer. The learning rate is constant, so the longer
                training simply continues the shorter one.
        """
        generators = self.generators(networks[0])
        stack = Stack(inputs.shape[2], targets.shape[2], generators)
        steps = steps_by_budget(self.protocol)
        ends = {(network, budget): end for network in networks for budget, end in steps[network].items()}
        results = []
        for step in train(stack, inputs, targets, generators):
            self.report(1, networks[0])
            results += [self.measure(*key, step, stack) for key, end in ends.items() if end == step]
            if step == max(ends.values()):
                break
        return stack, results

    @torch.no_grad()
    def measure(self, network: str, budget: str, step: int, stack: Stack) -> NetworkErrors:
        def predict(z: Tensor) -> Tensor:
            inputs = self.scales[0].apply(z)
            if network == TEACHER:
                inputs = torch.cat([inputs, self.scales[1].apply(self.pair.f1(z))], 2)
            return self.scales[2].undo(stack(inputs)[..., -1:])

        errors = (predict(self.fresh) - self.pair.f2(self.fresh)).square().mean((1, 2)).tolist()
        by_seed = dict(zip(self.seeds, errors, strict=True))
        return NetworkErrors(self.protocol, network, budget, step, by_seed, predict(self.line)[0, :, 0])
