"""Differences between the rows of a table, seed by seed, and whether they are significant.

Two networks of one seed see the same frames, so their difference is taken within a seed before it is averaged
(:mod:`analysis.results.interval`). With few seeds most differences are undetermined, and are reported as such. All
verdicts of a table are tested together (Holm), and only on each task's headline metric, since every further test costs
the others power.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from analysis.results.groups import (
    Group,
    differing_settings,
    group_results,
    metrics_of,
    same_frames,
    tasks_of,
    varying_settings,
)
from analysis.results.headlines import HEADLINE, SHOWN, SMALLER_IS_BETTER, signed, title_of
from analysis.results.interval import (
    FIXED_SEEDS_NOTE,
    LEVEL,
    POWER,
    Interval,
    holm,
    p_two_sided,
    paired_interval,
    values_needed,
)
from analysis.results.paper import Paper
from analysis.results.table import Results, tabulate
from shards.errors import UserError
from trainer.option import is_in
from trainer.runs.result import Result
from trainer.setting import format_value

_MAX_SEEDS = 50
"""Maximum number of seeds to suggest, since nobody will run more."""
_EQUAL = ("backbone", "pretrained", "size", "crop", "split", "checkpoint", "val", "val_seed", "evaluate", "manifest")
"""Settings that must be equal in all comparisons."""
_TITLES = ("comparison", "metric", "difference", f"{LEVEL:.0%} interval", "seeds", "p (Holm)", "paper", "verdict")


def compare(results: Sequence[Result], paper: Paper) -> Results:
    """Compare the pairs of ``paper.comparisons`` in each common metric of an output that is an input of neither.

    Rows with equal settings are paired, or else those with the fewest different ones, which the table then shows."""
    groups = group_results(results, paper)
    candidates = list(_pairs(groups, paper.comparisons))
    pairs = [pair for pair in candidates if same_frames(*pair)]
    settings = varying_settings(groups)
    several = len({group.dataset for group in groups}) > 1
    tasks, titled = tasks_of(results), metrics_of(results)
    differences = {
        (network, reference, task, metric): paired_interval(values, reference_values)
        for network, reference in pairs
        for task, metric in _metrics(network, reference, tasks)
        if (values := network.values(task, metric)).keys() & (reference_values := reference.values(task, metric)).keys()
    }
    tested = [key for key, difference in differences.items() if key[-1] in HEADLINE and difference.count > 1]
    p_values = dict(zip(tested, holm([p_two_sided(differences[key]) for key in tested]), strict=True))
    rows = []
    for (network, reference, task, metric), difference in differences.items():
        row = [network.dataset] * several + [f"{network.experiment} − {reference.experiment}"]
        row += [_settings(network, reference, key) for key in settings]
        row += [title_of(task, metric, titled), *_interval_cells(difference, metric), str(difference.count)]
        p = p_values.get((network, reference, task, metric))
        smaller = metric in SMALLER_IS_BETTER
        answer = verdict(difference, smaller_is_better=smaller, p=p, tests=len(tested)) if metric in HEADLINE else "–"
        row += ["–" if p is None else f"{p:.2g}", _paper_difference(network, reference, task, metric, paper), answer]
        rows.append(row)
    first_title, *other_titles = _TITLES
    return Results(
        ["data"] * several + [first_title, *settings, *other_titles],
        rows,
        [*verdict_notes(len(tested)), *_incomparable_notes(candidates)],
    )


def tables(
    results: Sequence[Result],
    paper: Paper,
    requested: Iterable[tuple[str, str]] = (),
    metrics: Mapping[str, str] | None = None,
) -> list[Results]:
    """Return the table of all runs and, if there is any, that of the possible comparisons; else its notes stand in the
    first.

    Args:
        requested: pairs to compare in addition to the paper's; a note says why one is not compared.
        metrics: by task, a metric as in :func:`analysis.results.table.tabulate`; comparisons do not depend on it.
    """
    pairs = list(requested)
    paper = replace(paper, comparisons=tuple(dict.fromkeys([*paper.comparisons, *pairs])))
    table, compared = tabulate(results, paper, metrics), compare(results, paper)
    compared.notes = list(dict.fromkeys([*compared.notes, *not_compared(results, paper, pairs)]))
    if compared.rows:
        return [table, compared]
    table.notes += compared.notes
    return [table]


def parse_pairs(texts: Iterable[str], results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the pairs of experiments that ``--compare A,B`` names.

    Raises:
        UserError: for a text that does not name two experiments of the results.
    """
    names = sorted({result.experiment for result in results})
    pairs = []
    for text in texts:
        first, _, second = text.partition(",")
        if first not in names or second not in names:
            known = f"name two, such as {names[0]},{names[-1]}; there are {', '.join(names)}" if names else ""
            hint = known or "leave it out, as there is no result of an experiment"
            raise UserError(f"{text} is not a pair of experiments", key="--compare", hint=hint)
        pairs.append((first, second))
    return pairs


def not_compared(results: Sequence[Result], paper: Paper, pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return a note for each pair of experiments of which :func:`compare` has no row, with the reason."""
    groups = group_results(results, paper)
    notes = []
    for names in pairs:
        networks, references = ([group for group in groups if group.experiment == name] for name in names)
        reason = _why_not_compared(networks, references, tasks_of(results))
        notes += [f"{' − '.join(names)}: not compared, since {reason}"] if reason else []
    return notes


def _why_not_compared(networks: Sequence[Group], references: Sequence[Group], tasks: Sequence[str]) -> str | None:
    """Return the reason why no network is compared with a reference; None if one is."""
    pairs = [(first, second) for first in networks for second in references if first.dataset == second.dataset]
    if not pairs:
        return "they are of different datasets"
    keys, first, second = min(((_fixed_differences(*pair), *pair) for pair in pairs), key=lambda entry: len(entry[0]))
    if keys:
        values = (format_value(group.setting.get(keys[0])) for group in (first, second))
        return f"they differ in {keys[0]} ({' and '.join(values)})"
    pairs = [pair for pair in pairs if not _fixed_differences(*pair) and same_frames(*pair)]
    if not pairs:
        return _different_frames(first, second)
    metrics = [(pair, metric) for pair in pairs for metric in _metrics(*pair, tasks)]
    if not metrics:
        return "there is no task that both predict and neither sees"
    if any(first.values(*metric).keys() & second.values(*metric) for (first, second), metric in metrics):
        return None
    seeds = (", ".join(str(result.seed) for result in group.results) for group in (first, second))
    return f"they have no seed in common ({'; '.join(seeds)})"


def verdict(difference: Interval, *, smaller_is_better: bool, p: float | None = None, tests: int = 1) -> str:
    """Return the verdict on a difference in words.

    Args:
        p: adjusted for all differences that are tested together; None if this one is tested alone.
        tests: number of differences tested together.
    """
    if difference.count == 1:
        return "undetermined: one seed"
    if (p_two_sided(difference) if p is None else p) <= 1 - LEVEL:
        return "better" if (difference.mean > 0) != smaller_is_better else "worse"
    seeds = values_needed(difference, tests, most=_MAX_SEEDS)
    return f"undetermined: {seeds} seeds would tell" if seeds else "undetermined"


def _incomparable_notes(pairs: Iterable[tuple[Group, Group]]) -> list[str]:
    """Return notes on the pairs that are not compared, since they were measured on different frames."""
    return [
        f"{network.experiment} − {reference.experiment}: not compared, since {_different_frames(network, reference)}"
        for network, reference in pairs
        if not same_frames(network, reference)
    ]


def _different_frames(network: Group, reference: Group) -> str:
    frames = f"{network.first.validation_frames} and {reference.first.validation_frames}"
    return f"they were measured on different frames ({frames})"


def verdict_notes(tests: int) -> list[str]:
    """Return notes on how to read the verdicts on so many differences; none for none."""
    if not tests:
        return []
    return [
        f"verdicts: Holm's method over the {tests} differences in headline metrics, all right together with "
        f"{LEVEL:.0%} confidence; intervals: {LEVEL:.0%} each; N seeds would tell: in {POWER:.0%} of studies, were "
        "mean and deviation these",
        FIXED_SEEDS_NOTE,
    ]


def _pairs(groups: Iterable[Group], comparisons: Iterable[tuple[str, str]]) -> Iterator[tuple[Group, Group]]:
    """Yield the pairs of groups to compare: of one data set, with equal fixed settings, and among these the pairs that
    differ in the fewest other settings, usually none."""
    by_name: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        by_name.setdefault((group.dataset, group.experiment), []).append(group)
    for dataset in dict.fromkeys(dataset for dataset, _ in by_name):
        for network_name, reference_name in comparisons:
            candidates = [
                (network, reference)
                for network in by_name.get((dataset, network_name), ())
                for reference in by_name.get((dataset, reference_name), ())
                if not _fixed_differences(network, reference)
            ]
            fewest = min((len(differing_settings(*pair)) for pair in candidates), default=0)
            yield from [pair for pair in candidates if len(differing_settings(*pair)) == fewest]


def _fixed_differences(network: Group, reference: Group) -> list[str]:
    """Return the settings that must be equal in a comparison, and are not."""
    return [key for key in differing_settings(network, reference) if is_in(key, _EQUAL)]


def _settings(network: Group, reference: Group, key: str) -> str:
    """Return a setting of both groups, or the two values if they differ."""
    return " / ".join(dict.fromkeys(format_value(group.setting.get(key)) for group in (network, reference)))


def _metrics(network: Group, reference: Group, tasks: Iterable[str]) -> list[tuple[str, str]]:
    inputs = {*network.first.inputs, *reference.first.inputs}
    common = [
        task
        for task in tasks
        if task not in inputs and all(task in group.first.metrics for group in (network, reference))
    ]
    return [(task, metric) for task in common for metric in SHOWN if metric in network.first.metrics[task]]


def _interval_cells(difference: Interval, metric: str) -> tuple[str, str]:
    """Return the mean and the interval as text."""
    _, factor, digits = SHOWN[metric]
    mean, low, high = (signed(factor * value, digits) for value in (difference.mean, difference.low, difference.high))
    return mean, f"{low} … {high}" if difference.count > 1 else "–"


def _paper_difference(network: Group, reference: Group, task: str, metric: str, paper: Paper) -> str:
    """Return the difference of the paper's figures, with their digits."""
    figure, reference_figure = (
        paper.figure(group.dataset, group.experiment, task, metric) for group in (network, reference)
    )
    if not figure or not reference_figure or paper.why_not_comparable(network.dataset, task, metric):
        return "–"
    return f"{Decimal(figure) - Decimal(reference_figure):+}".replace("-", "−")
