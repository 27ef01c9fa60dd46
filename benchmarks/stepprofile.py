"""The time of a training step by its parts and by torch's operators."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from trainer.trainer import Trainer

OPERATORS = 12
"""Number of operators that are listed."""


class Parts:
    """Seconds spent in some methods of a trainer during its steps, including their work on the device."""

    def __init__(self, trainer: Trainer) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        updater = trainer.updater
        self.time_method(updater, "predict", "forward pass")
        self.time_method(updater.criterion, "terms", "losses")
        self.time_method(updater.engine, "backward", "backward pass")
        self.time_method(updater.engine, "step", "optimizer")

    def time_method(self, owner: Any, method: str, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, method)

        def call(*arguments: Any, **keywords: Any) -> Any:
            with self.part(name):
                return original(*arguments, **keywords)

        setattr(owner, method, call)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        synchronize()
        start = time.perf_counter()
        yield
        synchronize()
        self.seconds[name] += time.perf_counter() - start


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def report(trainer: Trainer, steps: int) -> list[str]:
    """Return a Markdown table of the parts of a step and one of its operators, from ``steps`` steps each after three
    warm-up steps. Operators are measured in separate steps, since the profiler takes time."""
    run = trainer.iterate()
    for _ in range(3):
        next(run)
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            next(run)
        synchronize()
    parts = Parts(trainer)
    with parts.part("whole"):
        for _ in range(steps):
            next(run)
    run.close()
    total = parts.seconds.pop("whole")
    parts.seconds["waiting for data, reduction, records and the rest"] = total - sum(parts.seconds.values())
    lines = [f"{1000 * total / steps:.1f} ms a step, mean of {steps}:", "", "| part | ms | share |", "|---|---|---|"]
    lines += [f"| {name} | {1000 * s / steps:.1f} | {100 * s / total:.1f} % |" for name, s in parts.seconds.items()]
    return [*lines, "", *operators(profiler, steps)]


def operators(profiler: profile, steps: int) -> list[str]:
    """Return a table of the operators with the longest self time, on the device if there is one."""
    device = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    averages = profiler.key_averages()
    total = sum(getattr(operator, device) for operator in averages)
    largest = sorted(averages, key=lambda operator: getattr(operator, device), reverse=True)[:OPERATORS]
    lines = ["| operator | calls a step | ms | share |", "|---|---|---|---|"]
    for operator in largest:
        time_spent = getattr(operator, device)
        times = f"{time_spent / 1000 / steps:.1f} | {100 * time_spent / total:.1f} %"
        lines.append(f"| `{operator.key}` | {operator.count / steps:.0f} | {times} |")
    return lines
