"""Where the time of a training step goes: by its parts, and by torch's operators."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from trainer.trainer import Trainer

OPERATORS = 12
"""How many are listed."""


class Parts:
    """Seconds spent in some methods of a trainer while it steps, to the end of what they started on the device."""

    def __init__(self, trainer: Trainer) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        updater = trainer.updater
        self.timed(updater, "predict", "forward pass")
        self.timed(updater.criterion, "terms", "losses")
        self.timed(updater.engine, "backward", "backward pass")
        self.timed(updater.engine, "step", "optimizer")

    def timed(self, thing: Any, method: str, name: str) -> None:
        plain: Callable[..., Any] = getattr(thing, method)

        def call(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return plain(*arguments, **named)

        setattr(thing, method, call)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        wait()
        began = time.perf_counter()
        yield
        wait()
        self.seconds[name] += time.perf_counter() - began


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def report(trainer: Trainer, steps: int) -> list[str]:
    """A Markdown table of the parts of a step and one of its operators, from ``steps`` steps each after three that are
    not counted. Operators are measured in steps of their own, since the profiler takes time."""
    run = trainer.iterate()
    for _ in range(3):
        next(run)
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as profiler:
        for _ in range(steps):
            next(run)
        wait()
    parts = Parts(trainer)
    with parts.part("whole"):
        for _ in range(steps):
            next(run)
    run.close()
    whole = parts.seconds.pop("whole")
    parts.seconds["waiting for data, reduction, records and the rest"] = whole - sum(parts.seconds.values())
    lines = [f"{1000 * whole / steps:.1f} ms a step, mean of {steps}:", "", "| part | ms | share |", "|---|---|---|"]
    lines += [f"| {name} | {1000 * s / steps:.1f} | {100 * s / whole:.1f} % |" for name, s in parts.seconds.items()]
    return [*lines, "", *operators(profiler, steps)]


def operators(profiler: profile, steps: int) -> list[str]:
    """The operators that take longest, in time of their own: on the device where there is one."""
    device = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    averages = profiler.key_averages()
    total = sum(getattr(one, device) for one in averages)
    largest = sorted(averages, key=lambda one: getattr(one, device), reverse=True)[:OPERATORS]
    lines = ["| operator | calls a step | ms | share |", "|---|---|---|---|"]
    for one in largest:
        spent = getattr(one, device)
        times = f"{spent / 1000 / steps:.1f} | {100 * spent / total:.1f} %"
        lines.append(f"| `{one.key}` | {one.count / steps:.0f} | {times} |")
    return lines
