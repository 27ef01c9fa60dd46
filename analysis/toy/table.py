"""The results of the toy example: errors, and which differences between networks are significant."""

from collections.abc import Sequence

from analysis.results.comparison import verdict
from analysis.results.headlines import plus_minus
from analysis.results.interval import LEVEL, Interval, interval, paired_interval
from analysis.results.table import Results
from analysis.toy.example import NetworkErrors
from analysis.toy.functions import CONTROL, LONGER, MULTI, SINGLE, STUDENT, STUDENT_SINGLE, TEACHER, Pair

PAIRS = (
    (MULTI, SINGLE),
    (STUDENT, MULTI),
    (STUDENT_SINGLE, MULTI),
    (STUDENT, CONTROL),
    (STUDENT_SINGLE, CONTROL),
    (STUDENT, LONGER),
    (STUDENT_SINGLE, LONGER),
    (STUDENT, TEACHER),
    (STUDENT_SINGLE, TEACHER),
)
"""Networks that are compared seed by seed: the paper's claims, and alternative explanations of them."""


def tabulate(pair: Pair, results: Sequence[NetworkErrors]) -> Results:
    """Return a row for each protocol, budget and network: its squared error of f2 at fresh points, over seeds."""
    titles = ["z in", "trained for", "network", "steps", "error of f2", f"{LEVEL:.0%} interval of the mean"]
    rows = []
    for result in results:
        values = list(result.errors.values())
        row = [str(result.protocol), result.budget, result.network, str(result.steps)]
        row += [plus_minus(values, 5), _span(interval(values))]
        if pair.printed:
            mean, deviation = pair.printed.get(result.network, (None, None))
            row.append(f"{mean:.4f} ± {deviation:.4f}" if mean else "–")
        rows.append(row)
    return Results([*titles, *["paper, Table 2"] * bool(pair.printed)], rows)


def compare(results: Sequence[NetworkErrors]) -> Results:
    """Return a row for each pair of ``PAIRS`` under each protocol and budget that has both networks."""
    by_name = {(result.protocol, result.budget, result.network): result for result in results}
    rows = []
    for protocol, budget in dict.fromkeys((result.protocol, result.budget) for result in results):
        for pair in PAIRS:
            if not all((protocol, budget, network) in by_name for network in pair):
                continue
            network, reference = (by_name[protocol, budget, network] for network in pair)
            difference = paired_interval(network.errors, reference.errors)
            mean = f"{difference.mean:+.5f}".replace("-", "−")
            answer = verdict(difference, smaller_is_better=True)
            cells = [mean, _span(difference, signed=True), answer]
            rows.append([str(protocol), budget, f"{network.network} − {reference.network}", *cells])
    return Results(["z in", "trained for", "comparison", "difference", f"{LEVEL:.0%} interval", "verdict"], rows)


def _span(interval: Interval, *, signed: bool = False) -> str:
    if interval.count == 1:
        return "–"
    sign = "+" if signed else ""
    return f"{interval.low:{sign}.5f} … {interval.high:{sign}.5f}".replace("-", "−")
