"""The picture of a label curve: a metric over the number of labels, for baseline, student and teacher."""

import statistics
from pathlib import Path
from typing import Any

from analysis.curve.labelcurve import ROLES, LabelCurve, MetricCurve
from analysis.results.headlines import METRICS
from shards.atomic import atomic_file

_INK = "#777777"
"""Colour of text and axes. The background is transparent; all colours have a contrast of 3:1 or more, and text of 4:1,
against a white and a dark page."""
_STYLES = {
    "baseline": {"color": "#d27614", "marker": "s", "linestyle": "-"},
    "student": {"color": "#288bfc", "marker": "o", "linestyle": "-"},
    "teacher": {"color": "#8d8d8d", "marker": "^", "linestyle": "--"},
}
_ROLE_NAMES = {"baseline": "baseline", "student": "student", "teacher": "its teacher"}


def draw(curve: LabelCurve, path: str | Path) -> None:
    """Write a PNG or SVG, by the file's name: a chart for each metric, means with ± a standard deviation over seeds.

    Raises:
        ValueError: for a curve without metrics.
    """
    import matplotlib as mpl  # takes a second to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not curve.curves:
        raise ValueError("a curve without metrics")
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    kind = Path(path).suffix[1:]
    with mpl.rc_context({**ink, "svg.hashsalt": "tutelage"}):  # makes the file reproducible
        figure = Figure(figsize=(0.4 + 4.4 * len(curve.curves), 3.9), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        for number, metric_curve in enumerate(curve.curves, 1):
            _chart(figure.add_subplot(1, len(curve.curves), number), curve, metric_curve)
        with atomic_file(path) as file:
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(file, format=kind, transparent=True, metadata=metadata)


def _chart(axes: Any, curve: LabelCurve, metric_curve: MetricCurve) -> None:
    metric = METRICS[metric_curve.metric]
    for role, style in _STYLES.items():
        measured = [(point.labels, list(getattr(point, role).values())) for point in metric_curve.points]
        measured = [(labels, [metric.factor * value for value in values]) for labels, values in measured if values]
        if not measured:
            continue
        means = [statistics.fmean(values) for _, values in measured]
        spreads = [statistics.stdev(values) if len(values) > 1 else 0 for _, values in measured]
        name = f"{getattr(metric_curve, role)} ({_ROLE_NAMES[role]})"
        axes.errorbar(
            [n for n, _ in measured], means, spreads, label=name, capsize=3, markersize=5, linewidth=1.6, **style
        )
    axes.set_xscale("log")
    axes.set_xticks(curve.labels, [f"{count:,}" for count in curve.labels])
    axes.minorticks_off()
    better = "lower" if metric.smaller_is_better else "higher"
    axes.set_title(
        f"{metric_curve.task}: {metric.title}{metric.unit_suffix()}, {better} is better", fontsize=10, loc="left"
    )
    axes.set_xlabel(f"training frames that show {curve.task}, {_bars(metric_curve)}", fontsize=9)
    axes.grid(color=_INK, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    if axes.containers:  # else there is nothing to name
        axes.legend(frameon=False, fontsize=9)


def _bars(metric_curve: MetricCurve) -> str:
    """Return what the error bars are, in words."""
    counts = {len(getattr(point, role)) for point in metric_curve.points for role in ROLES} - {0}
    if max(counts, default=1) == 1:
        return "one seed"
    seeds = " to ".join(map(str, sorted({min(counts), max(counts)})))
    return f"± a deviation over {seeds} seeds"
