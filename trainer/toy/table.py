"""What the toy example gave, as a table with verdicts, and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shards.atomic import atomic_file
from trainer.results.comparison import verdict
from trainer.results.headlines import plus_minus
from trainer.results.interval import Interval, interval, paired
from trainer.results.table import Results
from trainer.toy.example import (
    BUDGETS,
    CONTROL,
    LABELLED,
    MULTI,
    POINTS,
    SINGLE,
    STUDENT,
    TEACHER,
    Measured,
    Toy,
    f1,
    f2,
)

STAND_INS = (
    "f1 and f2 stand in for the paper's functions, whose formulas could not be obtained: its errors (Table 2: single "
    "task 0.0149 ± 0.0111, multi-task 0.0101 ± 0.0068, student 0.0072 ± 0.0062) compare in order, not in size."
)
_BELOW: dict[str, Any] = {"loc": "outside lower center", "ncols": 4}
AGAINST = {MULTI: (SINGLE,), CONTROL: (MULTI,), STUDENT: (MULTI, CONTROL)}
"""What a network's error is compared with, seed by seed."""


def tabulate(found: Sequence[Measured]) -> Results:
    """A row for each network of each protocol and budget: its error of f2, the interval of that at fresh points, and
    whether it is better there than others."""
    titles = ["z in", "trained for", "network", "steps", f"error at the {POINTS}", "at fresh points", "95% interval"]
    rows = []
    for each in found:
        others = {(other.protocol, other.budget, other.network): other for other in found}
        verdicts = [_against(each, others[each.protocol, each.budget, name]) for name in AGAINST.get(each.network, ())]
        mean = interval(list(each.fresh.values()))
        row = [str(each.protocol), each.budget, each.network, str(each.steps), _spelt(each.known), _spelt(each.fresh)]
        rows.append([*row, _span(mean), "; ".join(verdicts) or "–"])
    return Results([*titles, "verdict at fresh points"], rows, [STAND_INS])


def picture(toys: Sequence[Toy], found: Sequence[Measured], path: str | Path) -> None:
    """The functions, and what the first seed's networks made of f2: the paper's Figure 3 for every protocol."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2 * len(toys)), layout="constrained")
    axes = figure.subplots(len(toys), 1 + len(BUDGETS), squeeze=False)
    for toy, (left, *right) in zip(toys, axes, strict=True):
        line = toy.line[0, :, 0]
        left.plot(line, f1(line), color="0.6", label="f1")
        left.plot(line, f2(line), color="black", label="f2")
        z = toy.z[0, :LABELLED, 0]
        left.plot(z, f2(z), ".", color="black", markersize=3, label=f"{LABELLED} points of f2")
        left.set(title=f"z in {toy.protocol}", xlabel="z")
        for axis, budget in zip(right, BUDGETS, strict=True):
            axis.plot(line, f2(line), color="black", linewidth=3, alpha=0.25)
            for each in found:
                if (each.protocol, each.budget) == (toy.protocol, budget) and each.network != TEACHER:
                    axis.plot(line, each.curve, label=f"f2 as learnt: {each.network}", linewidth=1.2)
            axis.set(title=budget, xlabel="z")
    shown = [axes[0][column].get_legend_handles_labels() for column in (0, 1)]
    figure.legend(*([each for part in parts for each in part] for parts in zip(*shown, strict=True)), **_BELOW)
    with atomic_file(Path(path)) as file:
        figure.savefig(file, format="png", dpi=110)


def _against(one: Measured, other: Measured) -> str:
    found = paired(one.fresh, other.fresh)
    word, colon, more = verdict(found, smaller_is_better=True).partition(": ")
    than = "than" if found.sign else "against"
    return f"{word} {than} {other.network} ({_span(found, signed=True)}){colon}{more}"


def _spelt(errors: Mapping[int, float]) -> str:
    return plus_minus(list(errors.values()), 4)


def _span(found: Interval, *, signed: bool = False) -> str:
    if found.count == 1:
        return "–"
    sign = "+" if signed else ""
    return f"{found.low:{sign}.5f} … {found.high:{sign}.5f}".replace("-", "−")
