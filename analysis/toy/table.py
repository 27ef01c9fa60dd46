"""What the toy example gave: errors, and which differences between networks are beyond chance."""

from collections.abc import Sequence

from analysis.results.comparison import verdict
from analysis.results.headlines import plus_minus
from analysis.results.interval import LEVEL, Interval, interval, paired
from analysis.results.table import Results
from analysis.toy.example import Measured
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
"""What is compared, seed by seed: the paper's claims, and what else might explain them."""


def tabulate(pair: Pair, found: Sequence[Measured]) -> Results:
    """A row for each network of each protocol and budget: its squared error of f2 at fresh points, over seeds."""
    titles = ["z in", "trained for", "network", "steps", "error of f2", f"{LEVEL:.0%} interval of the mean"]
    rows = []
    for each in found:
        values = list(each.errors.values())
        row = [str(each.protocol), each.budget, each.network, str(each.steps)]
        row += [plus_minus(values, 5), _span(interval(values))]
        if pair.printed:
            mean, deviation = pair.printed.get(each.network, (None, None))
            row.append(f"{mean:.4f} ± {deviation:.4f}" if mean else "–")
        rows.append(row)
    return Results([*titles, *["paper, Table 2"] * bool(pair.printed)], rows)


def compare(found: Sequence[Measured]) -> Results:
    """A row for each pair of ``PAIRS`` under each protocol and budget that has both."""
    by_name = {(each.protocol, each.budget, each.network): each for each in found}
    rows = []
    for protocol, budget in dict.fromkeys((each.protocol, each.budget) for each in found):
        for pair in PAIRS:
            if not all((protocol, budget, network) in by_name for network in pair):
                continue
            one, other = (by_name[protocol, budget, network] for network in pair)
            difference = paired(one.errors, other.errors)
            mean = f"{difference.mean:+.5f}".replace("-", "−")
            word = verdict(difference, smaller_is_better=True)
            spelt = [mean, _span(difference, signed=True), word]
            rows.append([str(protocol), budget, f"{one.network} − {other.network}", *spelt])
    return Results(["z in", "trained for", "comparison", "difference", f"{LEVEL:.0%} interval", "verdict"], rows)


def _span(found: Interval, *, signed: bool = False) -> str:
    if found.count == 1:
        return "–"
    sign = "+" if signed else ""
    return f"{found.low:{sign}.5f} … {found.high:{sign}.5f}".replace("-", "−")
