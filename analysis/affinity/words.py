"""The contents of an ``affinity.json`` as text."""

from collections.abc import Iterator

from analysis.results.interval import FIXED_SEEDS_NOTE
from trainer.affinity import Affinity


def verdict_lines(affinity: Affinity) -> Iterator[str]:
    """Yield a line for every pair: the verdict in words, and the paper's Condition where it is symmetric in the two
    tasks."""
    for verdict in affinity.verdicts:
        name = {"1": "Condition 1: ", "3": "Condition 3: ", "undetermined": "undetermined: "}.get(verdict.condition, "")
        yield f"{verdict.one} and {verdict.other}: {name}{verdict.words}"


def caveats(affinity: Affinity) -> Iterator[str]:
    """Yield notes on how to interpret the verdicts."""
    yield (
        f"verdicts: Holm's method over the {len(affinity.gains)} pairs, all right together with "
        f"{affinity.level:.0%} confidence; intervals: {affinity.level:.0%} each; {FIXED_SEEDS_NOTE}"
    )
    if affinity.looks:
        counts = ", ".join(map(str, affinity.looks))
        yield f"evaluated with {counts} seeds before: repeated looks make these verdicts less reliable than their level"
    if affinity.split == "val":
        yield "judged on validation frames: a student's results on the same frames are then too optimistic"
