"""The picture of an affinity: the gain of each task from each other task's label as an input."""

from pathlib import Path

from analysis.results.headlines import SHOWN, signed
from shards.atomic import atomic_file
from trainer.affinity import Affinity, Effect

_LEAST_SCALE = 0.05
"""Least relative gain of the strongest colour, so that mere noise is drawn in pale colours."""


def draw(affinity: Affinity, path: str | Path) -> None:
    """Write a PNG: a row for each source, a column for each target, blue where it helps and red where it harms, with
    relative gains and their intervals; hatched where undetermined. The diagonal shows the metrics of RGB alone.

    Args:
        affinity: of two tasks or more (:func:`analysis.affinity.study.measure`).
        path: of the PNG.
    """
    from matplotlib import colormaps  # takes a second to import
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    tasks = affinity.tasks
    place = {task: number for number, task in enumerate(tasks)}
    largest = max(_LEAST_SCALE, *(abs(effect.relative.mean) for effect in affinity.gains))
    colours, scale = colormaps["coolwarm_r"], Normalize(-largest, largest)

    figure = Figure(figsize=(2.2 + 1.7 * len(tasks), 1.7 + 1.1 * len(tasks)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for effect in affinity.gains:
        corner = place[effect.target] - 0.5, place[effect.source] - 0.5
        colour = colours(scale(effect.relative.mean))
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", linewidth=2))
        if effect.helps is None:
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="//", edgecolor=(1, 1, 1, 0.45), linewidth=0))
        ink = "white" if sum(colour[:3]) < 1.35 else "black"
        axes.text(place[effect.target], place[effect.source], _cell_text(effect), ha="center", va="center", color=ink)
    for task, number in place.items():
        axes.text(number, number, _baseline_text(affinity, task), ha="center", va="center", color="dimgrey", fontsize=8)
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.set_ylim(len(tasks) - 0.5, -0.5)
    axes.set_xticks(list(place.values()), list(place))
    axes.set_yticks(list(place.values()), [f"RGB + {task}" for task in place])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicts (target)")
    axes.set_ylabel("a teacher that sees (source)")
    axes.set_title(_title(affinity), fontsize=9, loc="left")
    with atomic_file(path) as file:
        figure.savefig(file, format="png")


def _cell_text(effect: Effect) -> str:
    relative = effect.relative
    answer = {True: "helps", False: "does not help", None: "undetermined"}[effect.helps]
    bounds = [signed(100 * bound, 1) for bound in (relative.low, relative.high) if bound is not None]
    return f"{signed(100 * relative.mean, 1)} %\n({' to '.join(bounds) or 'one seed'})\n{answer}"


def _baseline_text(affinity: Affinity, task: str) -> str:
    """Return the mean metric of the networks that see RGB alone, formatted as in a table."""
    title, factor, digits = SHOWN[affinity.tasks[task].metric]
    scores = next(score.seeds for score in affinity.scores if score.task == task and len(score.inputs) == 1)
    mean = factor * sum(scores.values()) / len(scores)
    return f"RGB alone:\n{title} {mean:.{digits}f}"


def _title(affinity: Affinity) -> str:
    seeds = len(affinity.seeds)
    judges = {"dev": "training frames set aside to judge", "val": "validation frames to judge"}[affinity.split]
    return (
        f"{affinity.dataset}: gain over RGB alone, {affinity.level:.0%} intervals over {seeds} seed"
        f"{'s' * (seeds > 1)},\nverdicts of Holm's method over all\n{affinity.samples} training frames, "
        f"{affinity.validation_frames} {judges}, {affinity.samples_seen} samples seen"
    )
