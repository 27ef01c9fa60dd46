"""The matrix of which task helps which, from an ``affinity.json`` that ``tutelage affinity`` wrote."""

from dataclasses import dataclass
from pathlib import Path

from analysis.affinity.words import caveats
from analysis.results.headlines import signed
from trainer.affinity import Affinity, Effect


@dataclass(frozen=True)
class Cell:
    """What a source's label as an input does to a target.

    Args:
        helps: None where that is undetermined.
        sign: of the whole interval; 0 where it holds zero.
    """

    gain: str
    interval: str
    helps: bool | None
    sign: int

    @property
    def answer(self) -> str:
        return {True: "helps", False: "harms" if self.sign < 0 else "does not help", None: "undetermined"}[self.helps]


@dataclass(frozen=True)
class Matrix:
    """Rows are sources, columns targets; None where a pair was not tried.

    Args:
        verdicts: on every pair of tasks: the paper's condition, where the order of tasks is none of it, and what it is
            in words.
        recommended: by task, a sentence on where its pseudo-labels should come from.
        notes: how verdicts are to be taken; of files that are older than such notes, none.
    """

    file: Path
    tasks: list[str]
    cells: list[list[Cell | None]]
    seeds: int
    verdicts: list[tuple[str, str]]
    recommended: list[tuple[str, str]]
    notes: list[str]


def read(file: Path) -> Matrix:
    """The affinities in a file.

    Raises:
        UserError: when it is damaged.
    """
    affinity = Affinity.read(file)
    gains = {(each.source, each.target): _cell(each) for each in affinity.gains}
    tasks = list(dict.fromkeys(name for pair in gains for name in pair))
    return Matrix(
        file,
        tasks,
        [[gains.get((source, target)) for target in tasks] for source in tasks],
        len(affinity.seeds),
        [(_condition(each.condition), each.words) for each in affinity.verdicts],
        [(task, each.origin) for task, each in affinity.recommended.items()],
        [] if affinity.looks is None else [*caveats(affinity)],
    )


def _cell(effect: Effect) -> Cell:
    relative, helps = effect.relative, effect.helps
    low, high = relative.low, relative.high
    if low is None or high is None:  # infinite: one seed says nothing of the deviation
        return Cell(_percent(relative.mean), "one seed", helps, 0)
    return Cell(_percent(relative.mean), f"{_percent(low)} to {_percent(high)}", helps, (low > 0) - (high < 0))


def _condition(name: str) -> str:
    """The paper's name where both tasks have the same part in it; files of before had numbers for the others, which
    depended on the order of the tasks."""
    return {"1": "Condition 1", "3": "Condition 3", "undetermined": "Undetermined"}.get(name, "One way")


def _percent(value: float) -> str:
    return f"{signed(100 * value, 1)} %"
