"""ΔMTL: equation 10 computed by hand, against the right rows, and only where these exist."""

import math
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from analysis.results.delta import deltas
from analysis.results.groups import group_results
from analysis.results.headlines import HEADLINE, headline_of
from analysis.results.paper import Paper
from analysis.results.table import tabulate
from shards.errors import UserError
from shards.tasks import Task, palette
from trainer.metrics import Metrics
from trainer.runs.result import Result


def row(experiment: str, seed: int = 0, **changes: Any) -> Result:
    """A row of the tasks semseg, with ``miou``, and depth, with ``rmse``; a task without its value is left out."""
    options = changes.pop("options", {})
    candidates = {"semseg": {"miou": changes.pop("miou", None)}, "depth": {"rmse": changes.pop("rmse", None)}}
    metrics = {task: values for task, values in candidates.items() if None not in values.values()}
    entry = {
        "experiment": experiment,
        "dataset": "nyudv2",
        "seed": seed,
        "inputs": ["rgb"],
        "tasks": list(metrics),
        "labels": dict.fromkeys(metrics, 250),
        "pseudo_labels": {},
        "normalise": "labelled",
        "metrics": metrics,
        "steps": 100,
    }
    decoder = {"model.decoder": "mti" if len(metrics) > 1 else "heads"}
    return replace(Result.from_json(entry | changes), options=decoder | options)


S, D = row("umst-s", miou=0.20), row("umst-d", rmse=0.80)
BOTH = row("ummt", miou=0.22, rmse=0.60)
"""+10 % and +25 %."""


def cell(results: list[Result], experiment: str) -> str | None:
    table = tabulate(results)
    if "ΔMTL %" not in table.titles:
        return None
    line = next(line for line in table.rows if line[0] == experiment)
    return line[table.titles.index("ΔMTL %")]


def test_it_is_the_mean_of_signed_relative_changes():
    assert cell([S, D, BOTH], "ummt") == "+17.50"
    worse = row("worse", miou=0.18, rmse=1.0)
    assert cell([S, D, worse], "worse") == "−17.50", "less mIoU, more error"
    assert cell([S, D, BOTH], "umst-s") == "–", "a single-task network has none"
    note = tabulate([S, D, BOTH]).notes[0]
    assert "mIoU and rmse" in note and "eq. 10" in note


def test_it_is_taken_within_a_seed_with_an_interval():
    """Over the seeds that all rows have: seeds differ more than networks do."""
    mious, rmses = (0.1, 0.2, 0.4), (1.0, 0.5, 2.0)
    single = [row("umst-s", seed, miou=miou) for seed, miou in enumerate(mious)]
    single += [row("umst-d", seed, rmse=rmse) for seed, rmse in enumerate(rmses)]
    gains = (0.10, 0.12, 0.11)
    multi = [row("ummt", s, miou=mious[s] * (1 + g), rmse=rmses[s] * (1 - g)) for s, g in enumerate(gains)]
    half = 4.3027 * 1 / math.sqrt(3)  # Student's t; the deviation is one point
    assert cell([*single, *multi], "ummt") == f"+11.00 (+{11 - half:.2f} … +{11 + half:.2f})"
    changes = [delta for delta in deltas(group_results([*single[:-1], *multi], Paper())) if delta]
    assert [delta.change.count for delta in changes] == [2] and changes[0].change.mean == pytest.approx(
        fmean(gains[:2])
    )
    assert cell([*single, row("ummt", 7, miou=0.3, rmse=0.3)], "ummt") is None, "no seed in common"


@pytest.mark.parametrize(
    "other",
    [
        {"inputs": ["rgb", "depth"]},
        {"pseudo_labels": {"semseg": 250}},
        {"dataset": "scenes"},
        {"backbone": "larger"},
        {"steps": 200},
        {"options": {"train.lr": 0.1}},
        {"asked": {"split": "val", "val": 10}},
    ],
)
def test_what_is_no_single_task_network_of_the_same_setting_is_no_baseline(other):
    assert cell([row("umst-s", miou=0.20, **other), D, BOTH], "ummt") is None


def test_a_baseline_is_known_by_what_it_is():
    assert cell([replace(S, experiment="mine"), replace(D, experiment="other"), BOTH], "ummt") == "+17.50"
    weighed = row("weighed", miou=0.22, rmse=0.60, options={"loss.weights.semseg": 3.0})
    assert cell([S, D, weighed], "weighed") == "+17.50", "one loss has nothing to be weighed against"


def test_rows_that_lack_a_baseline_or_see_an_output_have_none():
    assert cell([S, BOTH], "ummt") is None
    teacher = row("mmmt-d", miou=0.30, rmse=0.1, inputs=["rgb", "depth"])
    assert cell([S, D, BOTH, teacher], "mmmt-d") == "–"
    student = row("ummt-ps", miou=0.24, rmse=0.60, pseudo_labels={"semseg": 250})
    assert cell([S, D, student], "ummt-ps") == "+22.50", "a student is what it is for"


def test_all_tasks_are_compared_with_one_decoder():
    """With the row's own decoder where all tasks have such a baseline; decoders are not mixed."""
    mti_decoder = {"options": {"model.decoder": "mti"}}
    semseg, depth = row("umst-m", miou=0.11, **mti_decoder), row("umst-dm", rmse=1.20, **mti_decoder)
    assert cell([semseg, S, D, BOTH], "ummt") == "+17.50"
    assert "against umst-s, whose decoder is heads" in "".join(tabulate([semseg, S, D, BOTH]).notes)
    assert cell([semseg, depth, S, D, BOTH], "ummt") == "+75.00"
    notes = tabulate([S, D, BOTH, replace(BOTH, experiment="ummt-d")]).notes
    assert [note for note in notes if "ΔMTL of" in note] == [
        "ΔMTL of ummt, ummt-d: against umst-s, whose decoder is heads",
        "ΔMTL of ummt, ummt-d: against umst-d, whose decoder is heads",
    ]


def test_the_baseline_with_the_rows_own_labels_is_taken_and_another_is_named():
    larger_budget = row("umst-d500", rmse=0.75, labels={"depth": 500})
    student = row("ummt-d", miou=0.22, rmse=0.60, labels={"semseg": 250, "depth": 500})
    assert cell([S, D, larger_budget, student], "ummt-d") == "+15.00"
    notes = tabulate([S, D, student]).notes
    assert any("ummt-d: against umst-d, which saw 250 frames with depth and not 500" in note for note in notes)


def test_headline_metrics_are_the_trainers():
    kinds: dict[str, dict] = {
        "classes": {"classes": ("a", "b"), "colours": palette(2)},
        "scalar": {"scale": 1.0},
        "unit_vector": {},
    }
    kinds["binary"] = kinds["classes"]
    tasks = [Task(f"of_{kind}", kind, **options) for kind, options in kinds.items()]  # type: ignore[arg-type]
    metrics = Metrics(tasks).compute()
    assert [headline_of(task) for task in tasks] == list(HEADLINE) == ["miou", "rmse", "mean", "mask_iou"]
    assert all(headline_of(task) in metrics[task.name] for task in tasks)


def test_another_metric_is_shown_and_compared_on_request():
    """Published values of depth may be of the mean absolute error; here it halves, and rmse falls by a quarter."""
    results = [S, D, BOTH]
    for number, mae in ((1, 0.6), (2, 0.3)):
        metrics = {**results[number].metrics, "depth": {**results[number].metrics["depth"], "mae": mae}}
        results[number] = replace(results[number], metrics=metrics)
    table = tabulate(results, metrics={"depth": "mae"})
    line = dict(zip(table.titles, next(line for line in table.rows if line[0] == "ummt"), strict=True))
    assert (line["rmse"], line["mae"], line["ΔMTL %"]) == ("0.600", "0.300", "+30.00"), "+10 % and +50 %"
    assert "mIoU and mae" in table.notes[0]
    assert cell(results, "ummt") == "+17.50" and "mae" not in tabulate(results).titles
    with pytest.raises(
        UserError, match="--metric: no run has depth=abs; give one of semseg=miou, depth=rmse, depth=mae"
    ):
        tabulate(results, metrics={"depth": "abs"})


def test_a_row_without_the_requested_metric_has_no_delta():
    """As those of versions that did not measure it."""
    single = replace(D, metrics={"depth": {"rmse": 0.8, "mae": 0.6}})
    table = tabulate([S, single, BOTH], metrics={"depth": "mae"})
    assert "ΔMTL %" not in table.titles
