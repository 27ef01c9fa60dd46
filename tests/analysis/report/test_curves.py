"""The charts and the metrics by class that a report makes of runs."""

import json
import shutil

import pytest

from analysis.report.classes import class_tables
from analysis.report.collect import Part, collect
from analysis.report.curves import curves


@pytest.fixture
def part(finished, tmp_path) -> Part:
    """The runs of ``teacher``, which was validated while it trained, and of ``student`` with two seeds."""
    runs = tmp_path / "runs" / "scenes"
    shutil.copytree(runs / "student/seed-0", runs / "student/seed-1")
    path = runs / "student/seed-1/result.json"
    result = json.loads(path.read_text()) | {"seed": 1}
    result["metrics"]["semseg"]["iou"][0] = 0.5
    path.write_text(json.dumps(result))
    (part,) = collect([runs]).parts
    return part


def titles(charts) -> list[str]:
    return [title for title, _ in charts]


def test_a_chart_for_each_loss_and_each_metric(part):
    charts = curves(part)
    assert titles(charts.losses) == ["Loss, all tasks", "Loss, semseg", "Loss, depth"]
    metrics = ["semseg: mIoU{} (%), higher", "depth: rmse{} (m), lower", "depth: rmse_log{}, lower"]
    assert titles(charts.results) == [f"{title.format('')} is better" for title in metrics]
    assert titles(charts.validation) == [f"{title.format(' on val frames')} is better" for title in metrics]
    assert not charts.without_log


def test_a_line_for_each_run_ends_where_its_record_does(part):
    (_, chart), *_ = curves(part).losses
    for group in part.groups:
        for run in group.runs:
            end = run.lines[-1]["loss"]["total"] if "loss" in run.lines[-1] else run.lines[-2]["loss"]["total"]
            assert f"<title>{group.name}, seed {run.seed}: ends at {end:.4g}</title>" in chart


def test_losses_that_are_no_numbers_are_left_out(part):
    run = part.groups[0].runs[0]
    run.lines[0]["loss"]["total"] = float("nan")
    (_, chart), *_ = curves(part).losses
    assert "nan" not in chart.lower()


def test_classes_stand_by_how_frequent_they_are_with_means_over_seeds(part):
    (table,) = class_tables(part)
    shares = [share for _, share, _ in table.rows]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=0.2)
    student = next(index for index, group in enumerate(table.groups) if group.name == "student")
    wall = next(cells[student] for name, _, cells in table.rows if name == part.task("semseg").classes[0])
    first = part.groups[student].first.result.metrics["semseg"]["iou"][0]
    assert (wall.low, wall.high) == (first, 0.5) and wall.mean == pytest.approx((first + 0.5) / 2)
