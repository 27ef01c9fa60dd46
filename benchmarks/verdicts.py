"""How often verdicts over seeds are false: one by one, together, and where seeds are added until there is one.

    python -m benchmarks.verdicts [--trials N] [--tasks N]

Everything is drawn where nothing helps: gains of a normal distribution around zero, with the means, tests and Holm's
method of :mod:`analysis.results.interval` and :mod:`analysis.affinity.gains`. Deviations of a gain stand in units
of LEAST, the smallest gain that counts, since its other question is whether a gain is less than that.
"""

import argparse
from itertools import permutations

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from analysis.affinity.gains import LEAST, Gain, together
from analysis.results.interval import LEVEL, interval


def until_it_helps(trials: int, first: int, last: int) -> float:
    """Share of pairs of networks, as good as each other, of which one is called better after some number of seeds
    from ``first`` to ``last``, if one looks after each."""
    draws = np.random.default_rng(0).normal(size=(trials, last))
    better = np.zeros(trials, bool)
    for count in range(first, last + 1):
        seen = draws[:, :count]
        better |= seen.mean(1) / seen.std(1, ddof=1) * count**0.5 > t.ppf((1 + LEVEL) / 2, count - 1)
    return float(better.mean())


def families(trials: int, tasks: int, seeds: int, deviation: float) -> tuple[float, float]:
    """Share of affinities of some tasks in which a source is said to help though none does: each pair tested alone, and
    all together."""
    pairs = list(permutations([f"task{number}" for number in range(tasks)], 2))
    random = np.random.default_rng(0)
    wrong = np.zeros((trials, 2), bool)
    for trial in range(trials):
        draws = random.normal(0, deviation, (len(pairs), seeds)).tolist()
        gains = [Gain(*pair, interval(logs), interval(logs)) for pair, logs in zip(pairs, draws, strict=True)]
        wrong[trial] = [any(each.helps for each in every) for every in (gains, together(gains).values())]
    alone, held = wrong.mean(0)
    return float(alone), float(held)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000, help="of one difference (default: 100,000)")
    parser.add_argument("--tasks", type=int, default=3, help="of which none helps another (default: 3)")
    options = parser.parse_args()
    looks = Table("seeds", "looked at after", "called better", title="One difference of two equal networks")
    for first, last in ((3, 3), (3, 4), (3, 5), (3, 10), (3, 20), (3, 50)):
        when = "the last" if first == last else "each from the third on"
        looks.add_row(str(last), when, f"{until_it_helps(options.trials, first, last):.1%}")
    together_ = Table("seeds", "deviation of a gain", "each alone", "Holm", title=f"{options.tasks} unrelated tasks")
    for seeds in (3, 5, 10):
        for deviation in (0.5, 2.0, 10.0):
            found = families(options.trials // 50, options.tasks, seeds, deviation * LEAST)
            together_.add_row(str(seeds), f"{deviation:g} × {LEAST:.0%}", *(f"{share:.1%}" for share in found))
    console = Console()
    console.print(looks)
    console.print(together_)


if __name__ == "__main__":
    main()
