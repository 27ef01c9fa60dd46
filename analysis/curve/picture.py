"""The picture of a label curve: a metric over the number of labels, for baseline, student and teacher."""

import statistics
from pathlib import Path
from typing import Any

from analysis.curve.labelcurve import LabelCurve, MetricCurve
from analysis.results.headlines import HEADLINES
from shards.atomic import atomic_file

_INK = "#777777"
"""Of text and axes. There is no ground, so that of the page is seen; all colours have a contrast of 3:1 or more, and
text of 4:1, against white and against a dark page."""
_STYLES = {
    "baseline": {"color": "#d27614", "marker": "s", "linestyle": "-"},
    "student": {"color": "#288bfc", "marker": "o", "linestyle": "-"},
    "teacher": {"color": "#8d8d8d", "marker": "^", "linestyle": "--"},
}
_SAID = {"baseline": "baseline", "student": "student", "teacher": "its teacher"}


def draw(curve: LabelCurve, path: str | Path) -> None:
    """Write a PNG or SVG, by the file's name: a chart for each metric, means with ± a standard deviation over seeds.

    Raises:
        ValueError: for a curve without metrics.
    """
    import matplotlib as mpl  # a second to import, for one picture
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if not curve.metrics:
        raise ValueError("a curve without metrics")
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    kind = Path(path).suffix[1:]
    with mpl.rc_context({**ink, "svg.hashsalt": "tutelage"}):  # the same curve gives the same file
        figure = Figure(figsize=(0.4 + 4.4 * len(curve.metrics), 3.9), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        for number, each in enumerate(curve.metrics, 1):
            _chart(figure.add_subplot(1, len(curve.metrics), number), curve, each)
        with atomic_file(path) as file:
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(file, format=kind, transparent=True, metadata=metadata)


def _chart(axes: Any, curve: LabelCurve, each: MetricCurve) -> None:
    title, factor, _ = HEADLINES[each.metric]
    for role, style in _STYLES.items():
        found = [(point.labels, list(getattr(point, role).values())) for point in each.points]
        found = [(labels, [factor * value for value in values]) for labels, values in found if values]
        if not found:
            continue
        means = [statistics.fmean(values) for _, values in found]
        spreads = [statistics.stdev(values) if len(values) > 1 else 0 for _, values in found]
        name = f"{getattr(each, role)} ({_SAID[role]})"
        axes.errorbar(
            [n for n, _ in found], means, spreads, label=name, capsize=3, markersize=5, linewidth=1.6, **style
        )
    axes.set_xscale("log")
    axes.set_xticks(curve.labels, [f"{count:,}" for count in curve.labels])
    axes.minorticks_off()
    unit = " in %" if each.metric == "miou" else ""
    better = "lower" if each.smaller_is_better else "higher"
    axes.set_title(f"{each.task}: {title}{unit}, {better} is better", fontsize=10, loc="left")
    seeds = len(curve.seeds)
    bars = f", ± a deviation over {seeds} seeds" if seeds > 1 else ", one seed"
    axes.set_xlabel(f"training frames that show {curve.task}{bars}", fontsize=9)
    axes.grid(color=_INK, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    axes.legend(frameon=False, fontsize=9)
