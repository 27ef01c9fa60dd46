"""The toy example as a picture: the paper's Figure 3, and our errors beside its Table 2."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.toy.example import BUDGETS, LABELLED, NetworkErrors, Toy
from analysis.toy.functions import NETWORKS, TEACHER
from shards.atomic import atomic_file

_LEGEND_BELOW: dict[str, Any] = {"loc": "outside lower center", "ncols": 5}
_LEAST = 1e-6
"""Errors below this are drawn at this value."""


def picture(toys: Sequence[Toy], results: Sequence[NetworkErrors], path: str | Path) -> None:
    """Draw a row for each protocol: the functions, f2 as learnt by the first seed's networks under each budget, and the
    errors of all seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 3.9 * len(toys)), layout="constrained")
    axes = figure.subplots(len(toys), 2 + len(BUDGETS), squeeze=False, width_ratios=[1, 1, 1, 1.1])
    for toy, (functions_axis, *curve_axes, errors_axis) in zip(toys, axes, strict=True):
        toy_results = [result for result in results if result.protocol == toy.protocol]
        _functions(functions_axis, toy)
        for axis, budget in zip(curve_axes, BUDGETS, strict=True):
            _curves(axis, toy, [result for result in toy_results if result.budget == budget])
            axis.set(title=f"f2 as learnt, {budget}", xlabel="z")
        _errors(errors_axis, toy, toy_results)
    legends = [axes[0][column].get_legend_handles_labels() for column in (0, len(BUDGETS))]
    entries = ([entry for part in parts for entry in part] for parts in zip(*legends, strict=True))
    figure.legend(*entries, **_LEGEND_BELOW)
    with atomic_file(Path(path)) as file:
        figure.savefig(file, format="png", dpi=100)


def _functions(axis: Any, toy: Toy) -> None:
    line, z = toy.line[0, :, 0], toy.z[0, :LABELLED, 0]
    axis.plot(line, toy.pair.f1(line), color="0.6", label="f1")
    axis.plot(line, toy.pair.f2(line), color="black", label="f2")
    axis.plot(z, toy.pair.f2(z), ".", color="black", markersize=3, label=f"{LABELLED} points of f2")
    axis.set(title=f"functions: {toy.pair.name}, z in {toy.protocol}", xlabel="z")


def _curves(axis: Any, toy: Toy, results: Sequence[NetworkErrors]) -> None:
    line = toy.line[0, :, 0]
    axis.plot(line, toy.pair.f2(line), color="black", linewidth=3, alpha=0.25)
    for result in results:
        if result.network != TEACHER:
            colour = f"C{NETWORKS.index(result.network)}"
            axis.plot(line, result.curve, label=f"f2 as learnt: {result.network}", linewidth=1.2, color=colour)


def _errors(axis: Any, toy: Toy, results: Sequence[NetworkErrors]) -> None:
    """Draw mean and deviation over seeds, on a logarithmic scale, beside those of the paper."""
    marks = {budget: {"fmt": mark} for budget, mark in zip(BUDGETS, "os", strict=True)}
    for shift, (budget, mark) in enumerate(marks.items()):
        rows = [result for result in results if result.budget == budget]
        values = [(statistics.fmean(result.errors.values()), _deviation(result)) for result in rows]
        places = [NETWORKS.index(result.network) + 0.22 * shift for result in rows]
        _bars(axis, values, places, label=budget, **mark)
    if printed := toy.pair.printed:
        places = [NETWORKS.index(network) - 0.22 for network in printed]
        _bars(axis, list(printed.values()), places, label="paper, Table 2", fmt="D", color="0.5")
    axis.set(xscale="log", title="error of f2 (mean ± deviation over seeds)", xlabel="mean squared error")
    axis.set_yticks(range(len(NETWORKS)), [name.replace(", four", ",\nfour") for name in NETWORKS])
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize="small")


def _bars(axis: Any, values: Sequence[tuple[float, float]], places: Sequence[float], **options: Any) -> None:
    below = [min(deviation, mean - _LEAST) for mean, deviation in values]
    above = [deviation for _, deviation in values]
    means = [mean for mean, _ in values]
    axis.errorbar(means, places, xerr=[below, above], markersize=5, linewidth=1.2, capsize=2, **options)


def _deviation(result: NetworkErrors) -> float:
    values = list(result.errors.values())
    return statistics.stdev(values) if values[1:] else 0.0
