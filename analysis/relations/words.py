"""What a ``relation.json`` says, in lines for people."""

from collections.abc import Iterator

from analysis.results.interval import FIXED
from trainer.relation import Relation


def judged(relation: Relation) -> Iterator[str]:
    """A line for every pair: what is known of it in words, and its Condition where both tasks have the same part in
    it."""
    for each in relation.verdicts:
        name = {"1": "Condition 1: ", "3": "Condition 3: ", "undetermined": "undetermined: "}.get(each.condition, "")
        yield f"{each.one} and {each.other}: {name}{each.words}"


def caveats(relation: Relation) -> Iterator[str]:
    """How verdicts are to be taken."""
    yield (
        f"verdicts: Holm's method over the {len(relation.gains)} pairs, all right together with "
        f"{relation.level:.0%} confidence; intervals: {relation.level:.0%} each; {FIXED}"
    )
    if relation.looks:
        counts = ", ".join(map(str, relation.looks))
        yield f"looked at with {counts} seeds before: verdicts on another number are less sure than they say"
    if relation.split == "val":
        yield "judged on validation frames: what a student is then measured at on the same frames is too good"
