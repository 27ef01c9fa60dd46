"""``tutelage affinity CONFIG``: which task helps which, as a table, verdicts and recommendations."""

import argparse

from analysis.affinity.words import caveats, judged
from analysis.results.headlines import HEADLINES, signed
from analysis.results.table import Results, as_rich
from shards.extras import need
from trainer.affinity import NAME, Affinity
from trainer.progress import say, show
from trainer.ranks import rank
from trainer.recommendation import reasons


def affinity(options: argparse.Namespace) -> None:
    need("affinity", "matplotlib")  # it draws, after hours
    from analysis.affinity.study import measure

    folder, found = measure(
        options.config,
        options.overrides,
        seeds=options.seeds,
        samples=options.samples,
        out=options.out,
        split=options.split,
    )
    if rank() == 0:
        show(as_rich(tabulate(found)))
    for line in judged(found):
        say(line)
    for line in reasons(found.recommended):
        say(line)
    for line in caveats(found):
        say(line)
    say(f"written: {folder / NAME}, {folder / 'affinity.png'}")


def tabulate(affinity: Affinity) -> Results:
    """A row for every ordered pair: the target's figure without and with the source's label, and the gain."""
    scores = {(tuple(each.inputs), each.task): list(each.seeds.values()) for each in affinity.scores}
    rows = []
    for each in affinity.gains:
        source, target, relative = each.source, each.target, each.relative
        title, factor, digits = HEADLINES[affinity.tasks[target].metric]
        figures = [scores[inputs, target] for inputs in (("rgb",), ("rgb", source))]
        means = [f"{factor * sum(of) / len(of):.{digits}f}" for of in figures]
        bounds = ["–" if bound is None else signed(100 * bound, 1) for bound in (relative.low, relative.high)]
        helps = {True: "yes", False: "no", None: "undetermined"}[each.helps]
        gain = f"{signed(100 * relative.mean, 1)} % ({bounds[0]} to {bounds[1]})"
        rows.append([f"{source} → {target}", title, *means, gain, f"{each.p:.2g}", helps])
    return Results(["source → target", "metric", "RGB", "RGB + source", "gain", "p (Holm)", "helps"], rows)
