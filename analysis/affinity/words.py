"""What an ``affinity.json`` says, in lines for people."""

from collections.abc import Iterator

from analysis.results.interval import FIXED
from trainer.affinity import Affinity


def judged(affinity: Affinity) -> Iterator[str]:
    """A line for every pair: what is known of it in words, and its Condition where both tasks have the same part in
    it."""
    for each in affinity.verdicts:
        name = {"1": "Condition 1: ", "3": "Condition 3: ", "undetermined": "undetermined: "}.get(each.condition, "")
        yield f"{each.one} and {each.other}: {name}{each.words}"


def caveats(affinity: Affinity) -> Iterator[str]:
    """How verdicts are to be taken."""
    yield (
        f"verdicts: Holm's method over the {len(affinity.gains)} pairs, all right together with "
        f"{affinity.level:.0%} confidence; intervals: {affinity.level:.0%} each; {FIXED}"
    )
    if affinity.looks:
        counts = ", ".join(map(str, affinity.looks))
        yield f"looked at with {counts} seeds before: verdicts on another number are less sure than they say"
    if affinity.split == "val":
        yield "judged on validation frames: what a student is then measured at on the same frames is too good"
