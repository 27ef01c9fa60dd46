"""``tutelage affinity CONFIG``: which task helps which, as a table, verdicts and recommendations."""

import argparse

from analysis.affinity.words import caveats, verdict_lines
from analysis.results.headlines import SHOWN, signed
from analysis.results.table import Results, as_rich
from launchers.console import print_line, print_table
from shards.extras import need
from trainer.affinity import NAME, Affinity
from trainer.ranks import rank
from trainer.recommendation import reasons


def affinity(options: argparse.Namespace) -> None:
    need("affinity", "matplotlib")  # fail now rather than when it draws, hours later
    from analysis.affinity.study import measure

    folder, result = measure(
        options.config,
        options.overrides,
        seeds=options.seeds,
        samples=options.samples,
        out=options.out,
        split=options.split,
    )
    if rank() == 0:
        print_table(as_rich(tabulate(result)))
    for line in verdict_lines(result):
        print_line(line)
    for line in reasons(result.recommended):
        print_line(line)
    for line in caveats(result):
        print_line(line)
    print_line(f"written: {folder / NAME}, {folder / 'affinity.png'}")


def tabulate(affinity: Affinity) -> Results:
    """Return a row for every ordered pair: the target's metric without and with the source's label, and the gain."""
    scores = {(tuple(score.inputs), score.task): list(score.seeds.values()) for score in affinity.scores}
    rows = []
    for effect in affinity.gains:
        source, target, relative = effect.source, effect.target, effect.relative
        title, factor, digits = SHOWN[affinity.tasks[target].metric]
        figures = [scores[inputs, target] for inputs in (("rgb",), ("rgb", source))]
        means = [f"{factor * sum(values) / len(values):.{digits}f}" for values in figures]
        bounds = ["–" if bound is None else signed(100 * bound, 1) for bound in (relative.low, relative.high)]
        helps = {True: "yes", False: "no", None: "undetermined"}[effect.helps]
        gain = f"{signed(100 * relative.mean, 1)} % ({bounds[0]} to {bounds[1]})"
        rows.append([f"{source} → {target}", title, *means, gain, f"{effect.p:.2g}", helps])
    return Results(["source → target", "metric", "RGB", "RGB + source", "gain", "p (Holm)", "helps"], rows)
