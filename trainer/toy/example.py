"""The paper's toy example: one function is known at many points, a second, harder one at few.

A network learns f2(z) from 160 points: alone; together with f1(z); or as the student of a teacher h(z, f1(z)) that
labels the 480 points where only f1 is known. (Erkent, "Multi-Task Learning for Robot Perception with Imbalanced Data",
Table 2 and Figure 3.)

**The paper's own formulas of f1 and f2 could not be obtained.** :func:`f1` and :func:`f2` stand in for them: smooth,
f2 hard to learn from z alone and easy from z and f1. Orders may be compared with the paper's, absolute errors may not.

All seeds train at once: their networks are stacked along a first dimension, and none sees another's numbers.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

POINTS, LABELLED, FRESH = 640, 160, 1000
"""Points of f1, how many of them are points of f2 too, and further points to measure on."""
HIDDEN, WIDTH = 4, 128
BATCH, RATE = 32, 1e-3
SINGLE, MULTI, CONTROL = "single task", "multi-task", "multi-task, all of f1"
TEACHER, STUDENT = "teacher h(z, f1)", "student"
NETWORKS = (SINGLE, MULTI, CONTROL, TEACHER, STUDENT)
EPOCHS, STEPS = "equal epochs", "equal steps"
BUDGETS = (EPOCHS, STEPS)


def f1(z: Tensor) -> Tensor:
    """Stands in for the paper's easier function."""
    return torch.sin(3 * z)


def f2(z: Tensor) -> Tensor:
    """Stands in for the paper's harder function: of z a tone whose frequency sways, of z and f1 a single wave."""
    return torch.sin(2 * f1(z) + z)


@dataclass(frozen=True)
class Protocol:
    """Fixed before anything was measured.

    Args:
        low, high: the interval that z is drawn from.
        epochs: passes over the 160 points. The networks that see all 640 points make as many passes over those (equal
            epochs, hence four times the steps), or as many steps as the others (equal steps).
    """

    low: float
    high: float
    epochs: int

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"

    @property
    def steps(self) -> int:
        """Of all its networks together: three see 160 points, two see 640."""
        return self.epochs * (3 * LABELLED + 2 * POINTS) // BATCH


PROTOCOLS = (Protocol(0, 1, 12), Protocol(0, 5, 200))
"""z as the paper prints it, stopped early, since a few hundred steps leave no error there; and in a wider interval."""


@dataclass
class Measured:
    """One network of a protocol, for every seed.

    Args:
        budget: of ``BUDGETS``.
        steps: that it was trained for.
        known: mean squared error of f2 at the 640 points, by seed.
        fresh: the same at points that no network has seen.
        curve: the first seed's f2 along the interval, ``(200,)``.
    """

    protocol: Protocol
    network: str
    budget: str
    steps: int
    known: dict[int, float]
    fresh: dict[int, float]
    curve: Tensor


class Stack:
    """Networks of ``HIDDEN`` layers of ``WIDTH`` rectified units, one a seed.

    Args:
        generators: one a seed; first weights are drawn as :class:`torch.nn.Linear` draws them.
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
        report: called with the number of steps that were done since the last call.
    """

    def __init__(
        self, protocol: Protocol, seeds: Sequence[int], report: Callable[[int], None] = lambda steps: None
    ) -> None:
        self.protocol, self.seeds, self.report = protocol, list(seeds), report
        draws = torch.stack([torch.rand(POINTS + FRESH, 1, generator=each) for each in self.generators("points")])
        drawn = protocol.low + (protocol.high - protocol.low) * draws
        self.z, self.fresh = drawn[:, :POINTS], drawn[:, POINTS:]
        self.line = torch.linspace(protocol.low, protocol.high, 200)[None, :, None].expand(len(self.seeds), -1, -1)
        self.f1, self.f2 = f1(self.z), f2(self.z)
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
        _, single = self.fit(SINGLE, z[:, few], second[:, few])
        _, multi = self.fit(MULTI, z[:, few], both[:, few])
        _, control = self.fit(CONTROL, z, torch.cat([first, torch.cat([second[:, few], unknown], 1)], 2))
        teach, teacher = self.fit(TEACHER, seen[:, few], second[:, few])
        with torch.no_grad():
            pseudo = teach(seen[:, rest])
        _, student = self.fit(STUDENT, z, torch.cat([first, torch.cat([second[:, few], pseudo], 1)], 2))
        found = [*single, *multi, *control, *teacher, *student]
        return sorted(found, key=lambda each: (BUDGETS.index(each.budget), NETWORKS.index(each.network)))

    def fit(self, network: str, inputs: Tensor, targets: Tensor) -> tuple[Stack, list[Measured]]:
        """Train a network, and measure it where each budget ends.

        The rate is constant, so the network of equal steps is that of equal epochs on its way.
        """
        generators = self.generators(network)
        stack = Stack(inputs.shape[2], targets.shape[2], generators)
        epochs = self.protocol.epochs
        ends = {STEPS: epochs * LABELLED // BATCH, EPOCHS: epochs * inputs.shape[1] // BATCH}
        found = []
        for step in train(stack, inputs, targets, generators):
            self.report(1)
            found += [self.measure(network, budget, step, stack) for budget, end in ends.items() if end == step]
            if step == ends[EPOCHS]:
                break
        return stack, found

    @torch.no_grad()
    def measure(self, network: str, budget: str, step: int, stack: Stack) -> Measured:
        def predict(z: Tensor) -> Tensor:
            inputs = self.scales[0].apply(z)
            if network == TEACHER:
                inputs = torch.cat([inputs, self.scales[1].apply(f1(z))], 2)
            return self.scales[2].undo(stack(inputs)[..., -1:])

        def error(z: Tensor) -> dict[int, float]:
            return dict(zip(self.seeds, (predict(z) - f2(z)).square().mean((1, 2)).tolist(), strict=True))

        curve = predict(self.line)[0, :, 0]
        return Measured(self.protocol, network, budget, step, error(self.z), error(self.fresh), curve)
