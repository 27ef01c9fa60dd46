"""False verdicts over seeds: of single tests, of families of tests, and when seeds are added until a verdict appears.

    python -m benchmarks.verdicts [--trials N] [--tasks N]

All simulations are of the null hypothesis: gains of a normal distribution around zero, with the means, tests and Holm's
method of :mod:`analysis.results.interval` and :mod:`analysis.affinity.gains`. Deviations of a gain are in units of
LEAST, the smallest gain that counts, since the other test is whether a gain is less than that.
"""

import argparse
from itertools import permutations

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from analysis.affinity.gains import LEAST, Gain, adjust_p_values
from analysis.results.interval import LEVEL, interval


def until_it_helps(trials: int, first: int, last: int) -> float:
    """Return the share of pairs of equal networks of which one is called better after some number of seeds from
    ``first`` to ``last``, if a test is made after each."""
    draws = np.random.default_rng(0).normal(size=(trials, last))
    better = np.zeros(trials, bool)
    for count in range(first, last + 1):
        observed = draws[:, :count]
        better |= observed.mean(1) / observed.std(1, ddof=1) * count**0.5 > t.ppf((1 + LEVEL) / 2, count - 1)
    return float(better.mean())


def families(trials: int, tasks: int, seeds: int, deviation: float) -> tuple[float, float]:
    """Return the share of affinities with a false verdict that a source helps: with each pair tested alone, and with
    all pairs tested together."""
    pairs = list(permutations([f"task{number}" for number in range(tasks)], 2))
    random = np.random.default_rng(0)
    wrong = np.zeros((trials, 2), bool)
    for trial in range(trials):
        draws = random.normal(0, deviation, (len(pairs), seeds)).tolist()
        gains = [Gain(*pair, interval(logs), interval(logs)) for pair, logs in zip(pairs, draws, strict=True)]
        wrong[trial] = [any(gain.helps for gain in tested) for tested in (gains, adjust_p_values(gains).values())]
    alone, adjusted = wrong.mean(0)
    return float(alone), float(adjusted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000, help="of one difference (default: 100,000)")
    parser.add_argument("--tasks", type=int, default=3, help="of which none helps another (default: 3)")
    options = parser.parse_args()
    sequential = Table("seeds", "looked at after", "called better", title="One difference of two equal networks")
    for first, last in ((3, 3), (3, 4), (3, 5), (3, 10), (3, 20), (3, 50)):
        looked_at = "the last" if first == last else "each from the third on"
        sequential.add_row(str(last), looked_at, f"{until_it_helps(options.trials, first, last):.1%}")
    family = Table("seeds", "deviation of a gain", "each alone", "Holm", title=f"{options.tasks} unrelated tasks")
    for seeds in (3, 5, 10):
        for deviation in (0.5, 2.0, 10.0):
            shares = families(options.trials // 50, options.tasks, seeds, deviation * LEAST)
            family.add_row(str(seeds), f"{deviation:g} × {LEAST:.0%}", *(f"{share:.1%}" for share in shares))
    console = Console()
    console.print(sequential)
    console.print(family)


if __name__ == "__main__":
    main()
