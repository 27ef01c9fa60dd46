"""The metrics that tables show, and which way is better."""

import statistics
from collections.abc import Sequence

HEADLINES = {"miou": ("mIoU", 100, 2), "rmse": ("rmse", 1, 3), "logrmse": ("logrmse", 1, 3), "mean": ("mean °", 1, 2)}
"""Metrics that a table shows: their title, what they are multiplied by, and decimals."""
FURTHER = {
    **{"pixel_accuracy": ("pixel accuracy", 100, 2), "mean_accuracy": ("mean accuracy", 100, 2)},
    **{"mae": ("mae", 1, 3), "absrel": ("absrel", 1, 3), "log10": ("log10", 1, 3), "silog": ("SILog ×100", 100, 2)},
    **{f"delta{power}": (f"δ{power}", 100, 2) for power in (1, 2, 3)},
    **{"median": ("median °", 1, 2)},
    **{f"within_{limit}": (f"within {limit}°", 100, 2) for limit in (11.25, 22.5, 30)},
}
"""The other scalar metrics of ``result.json``, likewise."""
HEADLINE: dict[str, str] = {"classes": "miou", "metric": "rmse", "unit_vector": "mean"}
"""The one metric of each kind that networks are compared by, where only one is asked for."""
JUDGED = tuple(HEADLINE.values())
"""What verdicts and ΔMTL are about."""
SMALLER_IS_BETTER = ("rmse", "logrmse", "absrel", "mae", "log10", "silog", "mean", "median")
_SPELLED = HEADLINES | FURTHER


def title_of(task: str, metric: str, tasks: Sequence[str]) -> str:
    """A metric's title, with its task where the paper's two are not alone."""
    return f"{task} {_SPELLED[metric][0]}" if len(tasks) > 2 else _SPELLED[metric][0]


def spell(values: Sequence[float | None], metric: str) -> str:
    """The mean of the values that are known ± their standard deviation, in the metric's unit and decimals."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    _, factor, digits = _SPELLED[metric]
    return plus_minus(known, digits, factor)


def signed(value: float, digits: int) -> str:
    """A number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def plus_minus(values: Sequence[float], digits: int, factor: float = 1) -> str:
    """The mean ± the standard deviation, where there are two values or more."""
    text = f"{factor * statistics.fmean(values):.{digits}f}"
    return text + (f" ± {factor * statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")
