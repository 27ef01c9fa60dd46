"""The paper's toy example: one function is known at many points, a second one at few.

A network learns f2(z) from 160 points: alone; together with f1(z); or as the student of a teacher h(z, f1(z)), which is
trained on both functions and labels the 480 points where only f1 is known. (Erkent, "Multi-Task Learning for Robot
Perception with Imbalanced Data", section "Toy Example", Table 2 and Figure 3.) The student is single-task in the
paper's text, and "MTL T-S" in its table and figure: here there are both. Either keeps the true f2 where that is known,
as the paper's section "Method" has it.

All seeds train at once: their networks are stacked along a first dimension, and none sees another's numbers.
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
"""Points of f1, how many of them are points of f2 too, and further points to measure on."""
HIDDEN, WIDTH = 4, 128
BATCH, RATE = 32, 1e-3
STEPS, EPOCHS = "equal steps", "equal epochs"
BUDGETS = (STEPS, EPOCHS)
"""Networks that see all 640 points make as many steps as the others, or as many passes over those, hence four times the
steps."""


def lengths(protocol: Protocol) -> dict[str, dict[str, int]]:
    """Steps of every network by budget; ``LONGER`` is the multi-task network, trained as long as the student is under
    equal epochs."""
    few, many = (protocol.epochs * points // BATCH for points in (LABELLED, POINTS))
    of_few, of_all = {STEPS: few, EPOCHS: few}, {STEPS: few, EPOCHS: many}
    sees_all = (CONTROL, STUDENT, STUDENT_SINGLE)
    found = {network: of_all if network in sees_all else of_few for network in NETWORKS}
    return found | {LONGER: {EPOCHS: many}}


def steps_of(protocol: Protocol) -> int:
    """Of all networks together; ``LONGER`` goes on where the multi-task network stops."""
    found = {network: max(steps.values()) for network, steps in lengths(protocol).items()}
    return sum(found.values()) - found[MULTI]


@dataclass
class Measured:
    """One network of a protocol, for every seed.

    Args:
        budget: of ``BUDGETS``.
        steps: that it was trained for.
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
    """Networks of ``HIDDEN`` layers of ``WIDTH`` rectified units, one a seed.

    Args:
        generators: one a seed; first weights are drawn as ``torch.nn.Linear`` draws them.
    """

    def __init__(self, inputs: int, outputs: int, generators: Sequence[torch.Generator]) -> None:
        widths = [inputs, *[WIDTH] * HIDDEN, outputs]
        self.layers = []
        for rows, columns in pairwise(widths):
            drawn = torch.stack([torch.rand(rows + 1, columns, generator=generator) for generator in generators])
            both = (2 * drawn - 1) / math.sqrt(rows)
            self.layers.append((both[:, 1:].clone().requires_grad_(), both[:, :1].clone().requires_grad_()))

    def __call__(self, x: Tensor) -> Tensor:
        """``(seeds, points, inputs)`` → ``(seeds, points, outputs)``."""
        for number, (weight, bias) in enumerate(self.layers):
            x = torch.baddbmm(bias, torch.relu(x) if number else x, weight)
        return x

    def parameters(self) -> list[Tensor]:
        return [each for layer in self.layers for each in layer]


class Scale:
    """Standardises values by those that a network is trained on, seed by seed."""

    def __init__(self, values: Tensor) -> None:
        self.mean = values.mean(1, keepdim=True)
        self.deviation = values.std(1, keepdim=True)

    def apply(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation

    def undo(self, values: Tensor) -> Tensor:
        return values * self.deviation + self.mean


def train(stack: Stack, inputs: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Iterator[int]:
    """Adam on the sum of each output's mean squared error, for as long as it is asked for the number of the next step.

    Args:
        inputs: ``(seeds, points, inputs)``, standardised.
        targets: ``(seeds, points, outputs)``, standardised; not a number where nothing is known.
        generators: one a seed, for the order of the points.
    """
    optimizer = torch.optim.Adam(stack.parameters(), RATE, fused=True)
    step = 0
    while True:
        order = torch.stack([torch.randperm(inputs.shape[1], generator=generator) for generator in generators])
        for rows in order.split(BATCH, 1):
            seed = torch.arange(len(rows))[:, None]
            truth = targets[seed, rows]
            known = ~truth.isnan()
            squares = (stack(inputs[seed, rows]) - truth.nan_to_num()).square() * known
            optimizer.zero_grad()
            (squares.sum(1) / known.sum(1).clamp(min=1)).sum().backward()
            optimizer.step()
            step += 1
            yield step


class Toy:
    """A protocol's points, and the networks that learn from them.

    Args:
        seeds: everything random follows from each; a seed's figures do not depend on which others there are.
        report: called with the number of steps that were done since the last call, and the network that made them.
    """

    def __init__(
        self,
        pair: Pair,
        protocol: Protocol,
        seeds: Sequence[int],
        report: Callable[[int, str], None] = lambda steps, network: None,
    ) -> None:
        self.pair, self.protocol, self.seeds, self.report = pair, protocol, list(seeds), report
        draws = torch.stack([torch.rand(POINTS + FRESH, 1, generator=each) for each in self.generators("points")])
        drawn = protocol.low + (protocol.high - protocol.low) * draws
        self.z, self.fresh = drawn[:, :POINTS], drawn[:, POINTS:]
        self.line = torch.linspace(protocol.low, protocol.high, 200)[None, :, None].expand(len(self.seeds), -1, -1)
        self.f1, self.f2 = pair.f1(self.z), pair.f2(self.z)
        self.scales = Scale(self.z), Scale(self.f1), Scale(self.f2[:, :LABELLED])

    def generators(self, purpose: str) -> list[torch.Generator]:
        """A random stream for each seed that no other purpose shares."""
        number = ("points", *NETWORKS).index(purpose)
        return [torch.Generator().manual_seed((len(NETWORKS) + 1) * seed + number) for seed in self.seeds]

    def run(self) -> list[Measured]:
        """Train every network under every budget."""
        few, rest = slice(0, LABELLED), slice(LABELLED, POINTS)
        z, first, second = (
            scale.apply(values) for scale, values in zip(self.scales, (self.z, self.f1, self.f2), strict=True)
        )
        seen, both = torch.cat([z, first], 2), torch.cat([first, second], 2)
        unknown = torch.full_like(second[:, rest], math.nan)
        _, single = self.fit([SINGLE], z[:, few], second[:, few])
        _, multi = self.fit([MULTI, LONGER], z[:, few], both[:, few])
        _, control = self.fit([CONTROL], z, torch.cat([first, torch.cat([second[:, few], unknown], 1)], 2))
        teach, teacher = self.fit([TEACHER], seen[:, few], both[:, few])
        with torch.no_grad():
            pseudo = torch.cat([second[:, few], teach(seen[:, rest])[..., -1:]], 1)
        _, student = self.fit([STUDENT], z, torch.cat([first, pseudo], 2))
        _, alone = self.fit([STUDENT_SINGLE], z, pseudo)
        found = [*single, *multi, *control, *teacher, *student, *alone]
        return sorted(found, key=lambda each: (BUDGETS.index(each.budget), NETWORKS.index(each.network)))

    def fit(self, networks: Sequence[str], inputs: Tensor, targets: Tensor) -> tuple[Stack, list[Measured]]:
        """Train a network, and measure it where each budget ends.

        Args:
            networks: its name, and under what name it goes on. The rate is constant, so what is trained for longer is
                what was trained for less, on its way.
        """
        generators = self.generators(networks[0])
        stack = Stack(inputs.shape[2], targets.shape[2], generators)
        every = lengths(self.protocol)
        ends = {(network, budget): end for network in networks for budget, end in every[network].items()}
        found = []
        for step in train(stack, inputs, targets, generators):
            self.report(1, networks[0])
            found += [self.measure(*of, step, stack) for of, end in ends.items() if end == step]
            if step == max(ends.values()):
                break
        return stack, found

    @torch.no_grad()
    def measure(self, network: str, budget: str, step: int, stack: Stack) -> Measured:
        def predict(z: Tensor) -> Tensor:
            inputs = self.scales[0].apply(z)
            if network == TEACHER:
                inputs = torch.cat([inputs, self.scales[1].apply(self.pair.f1(z))], 2)
            return self.scales[2].undo(stack(inputs)[..., -1:])

        errors = (predict(self.fresh) - self.pair.f2(self.fresh)).square().mean((1, 2)).tolist()
        by_seed = dict(zip(self.seeds, errors, strict=True))
        return Measured(self.protocol, network, budget, step, by_seed, predict(self.line)[0, :, 0])
