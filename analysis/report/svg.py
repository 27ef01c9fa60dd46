"""The common parts of a report's charts: an SVG canvas that takes its colours from the page, axes, ticks.

An inline SVG costs a few kilobytes, follows the page's light or dark colours through CSS classes, stays sharp in print,
and needs no script: a ``<title>`` in a mark is its tooltip. All text goes through ``markupsafe.Markup``, which
escapes it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

WIDTH = 360
"""Width of a chart in its own units: about the pixels of a phone, so that text is readable there without zooming."""
CHARACTER = 7.6
"""Upper estimate of the width of a character of a chart's bold text."""


class Canvas:
    """An SVG drawing, built element by element.

    Args:
        title, description: the text for screen readers.
    """

    def __init__(self, width: float, height: float, title: str, description: str) -> None:
        self.parts = [
            Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">').format(
                width, height, f"{title}. {description}"
            )
        ]

    def add(self, template: str, *values: object) -> None:
        """Append an element; the values that replace ``{}`` are escaped."""
        self.parts.append(Markup(template).format(*values))

    def text(self, x: float, y: float, text: str, kind: str = "tick", anchor: str = "start") -> None:
        self.add('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>', x, y, kind, anchor, text)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self.add('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>', x1, y1, x2, y2, kind)

    def path(self, points: Iterable[tuple[float, float]], kind: str, tooltip: str = "") -> None:
        """Append a line through points, interrupted where a coordinate is not finite."""
        steps, connected = [], False
        for x, y in points:
            finite = math.isfinite(x) and math.isfinite(y)
            if finite:
                steps.append(
                    f"L{x:.1f} {y:.1f}" if connected else f"M{x:.1f} {y:.1f}h0"
                )  # makes a single point visible
            connected = finite
        title = Markup("<title>{}</title>").format(tooltip) if tooltip else ""
        self.add('<path d="{}" class="{}">{}</path>', "".join(steps), kind, title)

    def svg(self) -> Markup:
        return Markup("").join([*self.parts, Markup("</svg>")])


@dataclass(frozen=True)
class Axis:
    """A mapping from the values ``low`` to ``high`` to the positions ``start`` to ``stop`` of a canvas."""

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, position = (
            (math.log(v) for v in (self.low, self.high, value)) if self.logarithmic else (self.low, self.high, value)
        )
        return self.start + (position - low) / (high - low) * (self.stop - self.start)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Return round values within the axis and their texts, all with the same number of decimals."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            values = [value for value in values if self.low <= value <= self.high]
            return [(value, f"{value:g}") for value in values[:: math.ceil(len(values) / (most + 1))]]
        candidates = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(self.low, self.high)
        slack = 1e-9 * (self.high - self.low)
        values = [float(value) for value in candidates if self.low - slack <= value <= self.high + slack]
        return list(zip(values, decimals(values), strict=True))


def decimals(values: Sequence[float]) -> list[str]:
    """Format numbers with the decimals that the most precise one needs, and ``k`` for thousands."""
    if values and max(map(abs, values)) >= 10_000 and all(value % 500 == 0 for value in values):
        return [f"{text}k" if text != "0" else text for text in decimals([value / 1000 for value in values])]
    digits = next((n for n in range(6) if all(abs(v - round(v, n)) < 1e-9 * max(1, abs(v)) for v in values)), 6)
    return [f"{value:.{digits}f}".replace("-", "−") for value in values]


def percent(value: float | None, digits: int = 0) -> str:
    """Format 0.123 as ``12 %``, and None or NaN as a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def span(values: Iterable[float]) -> tuple[float, float] | None:
    """Return the smallest and largest finite value, widened if they are equal; None if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    if low == high:
        return low - (abs(low) or 1) / 10, high + (abs(high) or 1) / 10
    return low, high


def spread_apart(targets: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Return positions near the targets, in their order, ``distance`` apart and between ``low`` and ``high``."""
    order = sorted(range(len(targets)), key=lambda i: targets[i])
    places = [0.0] * len(targets)
    floor = low
    for i in order:
        places[i] = floor = max(targets[i], floor)
        floor += distance
    ceiling = high
    for i in reversed(order):
        places[i] = ceiling = min(places[i], ceiling)
        ceiling -= distance
    return places
