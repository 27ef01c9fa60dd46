"""The matrix of which task helps which, from an ``affinity.json`` of ``tutelage affinity``."""

from dataclasses import dataclass
from pathlib import Path

from analysis.affinity.words import caveats
from analysis.results.headlines import signed
from trainer.affinity import Affinity, Effect


@dataclass(frozen=True)
class Cell:
    """The effect of a source's label as an input on a target.

    Args:
        helps: None if undetermined.
        sign: of the whole interval; 0 if it contains zero.
    """

    gain: str
    interval: str
    helps: bool | None
    sign: int

    @property
    def answer(self) -> str:
        return {True: "helps", False: "harms" if self.sign < 0 else "does not help", None: "undetermined"}[self.helps]

    @property
    def style(self) -> str:
        """The class of its colour, which follows from the verdict, as all pairs are tested together."""
        return self.answer if self.answer in ("helps", "harms") else "open"


@dataclass(frozen=True)
class Matrix:
    """The affinity of all tasks: rows are sources, columns targets; None where a pair was not tried.

    Args:
        verdicts: for every pair of tasks: the paper's condition, if that does not depend on their order, and the
            verdict in words.
        recommended: by task, a sentence on where its pseudo-labels should come from.
        notes: on how to interpret the verdicts; none for files that are older than such notes.
    """

    file: Path
    tasks: list[str]
    cells: list[list[Cell | None]]
    seeds: int
    verdicts: list[tuple[str, str]]
    recommended: list[tuple[str, str]]
    notes: list[str]


def read(file: Path) -> Matrix:
    """Read the affinities in a file.

    Raises:
        UserError: when it is damaged.
    """
    affinity = Affinity.read(file)
    gains = {(effect.source, effect.target): _cell(effect) for effect in affinity.gains}
    tasks = list(dict.fromkeys(name for pair in gains for name in pair))
    return Matrix(
        file,
        tasks,
        [[gains.get((source, target)) for target in tasks] for source in tasks],
        len(affinity.seeds),
        [(_condition(verdict.condition), verdict.words) for verdict in affinity.verdicts],
        [(task, recommendation.origin) for task, recommendation in affinity.recommended.items()],
        [] if affinity.looks is None else [*caveats(affinity)],
    )


def _cell(effect: Effect) -> Cell:
    relative, helps = effect.relative, effect.helps
    low, high = relative.low, relative.high
    if low is None or high is None:  # infinite: a single seed has no deviation
        return Cell(_percent(relative.mean), "one seed", helps, 0)
    return Cell(_percent(relative.mean), f"{_percent(low)} to {_percent(high)}", helps, (low > 0) - (high < 0))


def _condition(name: str) -> str:
    """Return the paper's name where it is symmetric in the tasks; older files have numbers for the others, too, which
    depend on the order of the tasks."""
    return {"1": "Condition 1", "3": "Condition 3", "undetermined": "Undetermined"}.get(name, "One way")


def _percent(value: float) -> str:
    return f"{signed(100 * value, 1)} %"
