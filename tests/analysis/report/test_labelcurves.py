"""Label curves in a report: found among the runs, drawn, described, and shown in place of their runs."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from labelcurves import label_curve

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point
from analysis.report.collect import collect
from analysis.report.labelcurves import label_chart
from analysis.report.page import render
from shards.errors import UserError

EVIL = '<script>alert("1")</script>'


def write(folder: Path, curve: LabelCurve) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "curve.json").write_text(json.dumps(curve.to_json()))
    return folder / "curve.json"


def test_a_curve_alone(tmp_path):
    file = write(tmp_path / "rooms/curve/semseg/umst-ps", label_curve(missing=3))
    for path in (tmp_path, file):
        page = render(collect([path]), 2)
        assert 'href="#saved"' in page and "umst-ps on rooms, by semseg labels" in page
        assert "with 50 labels as good as with 71 (1.4 × the labels; 95% interval 71 to 71)" in page
        assert "<td" in page and "15.00 ± 1.41" in page and "mmst (ceiling)" in page
        assert "3 of its runs were not finished" in page and page.count("frames with semseg labels") == 2


def test_its_notes_are_shown(tmp_path):
    curve = replace(label_curve(), notes=("mmst, seed 0: left out",))
    page = render(collect([write(tmp_path, curve)]), 1)
    assert "mmst, seed 0: left out.</p>" in page


def test_the_runs_behind_a_curve_are_its_own(finished, tmp_path):
    runs = tmp_path / "runs"
    page = render(collect([runs]), 1)
    assert 'id="saved"' not in page and "student" in page
    folder = runs / "scenes/curve/semseg/student"
    run_entries = [{"folder": os.path.relpath(runs / "scenes/student/seed-0", folder)}]
    write(folder, label_curve(runs=run_entries))
    collected = collect([runs])
    assert [run.result.experiment for run in collected.runs] == ["teacher"] and len(collected.label_curves) == 1
    both = collect([runs, runs / "scenes/student"])
    assert sorted(run.result.experiment for run in both.runs) == ["student", "teacher"], "it was asked for"
    page = render(collected, 1)
    assert page.index('id="results"') < page.index('id="saved"') < page.index('id="curves1"')


def test_its_chart_is_over_the_logarithm_of_the_labels():
    svg = str(label_chart("t", label_curve(), label_curve().curves[0]))
    ElementTree.fromstring(svg)
    positions = [float(x) for x in re.findall(r'<g class="k1"><path d="M([\d.]+)[^L]*L([\d.]+)[^L]*L([\d.]+)', svg)[0]]
    assert positions[1] - positions[0] == pytest.approx(positions[2] - positions[1], abs=0.2), (
        "25, 50 and 100 are equally far"
    )
    assert svg.count('class="spread"') == 9 and "umst-ps, 50 labels: 17.50 ± 1.41, 2 seeds" in svg
    assert re.findall(r'text-anchor="middle">(\d+)', svg) == ["25", "50", "100"]


@pytest.mark.parametrize("labels", [(30,), (30, 31, 40)])
def test_budgets_of_any_number_can_be_drawn(labels):
    points = tuple(Point(n, {0: 0.1}, {0: 0.1}, {}) for n in labels)
    metric = MetricCurve("semseg", "miou", "s", "b", "t", points)
    ElementTree.fromstring(label_chart("t", LabelCurve("d", "semseg", "s", labels, (0,), (metric,)), metric))


def test_a_metric_without_a_value_is_not_shown(tmp_path):
    """Files of earlier versions hold such metrics, of tasks that no validation frame shows."""
    empty = MetricCurve("depth", "rmse", "umst-ps", None, None, (Point(25), Point(50)))
    curve = label_curve()
    write(tmp_path, replace(curve, curves=(curve.curves[0], empty)))
    page = render(collect([tmp_path]), 1)
    assert "mIoU" in page and "depth: rmse" not in page


def test_what_stands_in_it_is_escaped(tmp_path):
    write(tmp_path, label_curve(EVIL))
    page = render(collect([tmp_path]), 1)
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_damaged_curve_is_refused(tmp_path):
    (tmp_path / "curve.json").write_text("{}")
    with pytest.raises(UserError, match=r"curve\.json: dataset: holds no label curve: it is missing"):
        collect([tmp_path])
