"""The values of a label curve, and its files."""

import csv
import io
import json
import math

import pytest
from labelcurves import label_curve

from analysis.curve.labelcurve import MetricCurve, Point, as_csv, read
from shards.errors import UserError

METRIC = {"task": "depth", "metric": "rmse", "student": "s", "baseline": None, "teacher": None, "points": []}
POINT = {"labels": 25, "student": {"a": 1}}


def test_a_round_trip_through_json(tmp_path):
    curve = label_curve(config="a.yaml", runs=[{"folder": "x"}])
    (tmp_path / "curve.json").write_text(json.dumps(curve.to_json(), allow_nan=False))
    assert read(tmp_path / "curve.json") == curve


def test_what_json_says_of_a_point():
    entry = label_curve().to_json()["curves"][0]["points"][1]
    assert entry["labels"] == 50 and entry["student"] == {"0": 0.165, "1": 0.185}
    assert entry["difference"]["mean"] == pytest.approx(0.025) and entry["gap"]["mean"] == pytest.approx(0.05)
    assert entry["gap_closed"] == pytest.approx(0.5)
    assert entry["saved"]["factor"] == pytest.approx(math.sqrt(2)) and entry["saved"]["baseline"]["beyond"] is None
    last = label_curve().to_json()["curves"][0]["points"][2]
    assert last["saved"]["baseline"] == {"labels": 100, "beyond": "more"}


def test_one_seed_has_no_bounds():
    point = Point(5, {0: 0.1}, {0: 0.2}, {})
    entry = json.loads(json.dumps(_curve_of(point).to_json(), allow_nan=False))["curves"][0]["points"][0]
    assert entry["difference"] == {"mean": 0.1, "low": None, "high": None, "deviation": 0, "count": 1}
    assert entry["gap"] is None and entry["gap_closed"] is None


def _curve_of(*points: Point, metric: str = "miou"):
    curve = label_curve()
    metrics = (MetricCurve("semseg", metric, "s", "b", "t", points),)
    return type(curve)("rooms", "semseg", "s", tuple(p.labels for p in points), (0,), metrics)


@pytest.mark.parametrize(
    ("metric", "baseline", "student", "teacher", "closed"),
    [
        ("miou", 0.1, 0.15, 0.3, 0.25),
        ("miou", 0.1, 0.05, 0.3, -0.25),
        ("miou", 0.1, 0.2, 0.1, None),  # no gap
        ("miou", 0.1, 0.2, 0.05, None),
        ("rmse", 1.0, 0.9, 0.5, 0.2),
        ("rmse", 0.5, 0.4, 0.9, None),
    ],
)
def test_the_part_of_the_gap_that_is_closed(metric, baseline, student, teacher, closed):
    point = Point(5, {0: baseline}, {0: student}, {0: teacher})
    fraction = _curve_of(point, metric=metric).curves[0].gap_closed(point)
    assert fraction is None if closed is None else fraction == pytest.approx(closed)


def test_the_gap_is_that_of_the_seeds_that_all_have():
    point = Point(5, {0: 0.1, 1: 0.9}, {0: 0.2}, {0: 0.3, 2: 0.9})
    assert _curve_of(point).curves[0].gap_closed(point) == pytest.approx(0.5)


def test_csv_has_a_line_for_each_metric_and_budget():
    lines = list(csv.DictReader(io.StringIO(as_csv(label_curve()))))
    assert [(line["metric"], line["labels"]) for line in lines] == [
        (metric, str(count)) for metric in ("miou", "rmse") for count in (25, 50, 100)
    ]
    assert float(lines[1]["difference"]) == pytest.approx(0.025) and lines[1]["teacher"] == "mmst"
    assert lines[2]["beyond"] == "more" and float(lines[2]["saved"]) == 1
    assert lines[3]["baseline"] == lines[3]["difference"] == lines[3]["baseline_labels"] == ""
    assert float(lines[3]["student_mean"]) == pytest.approx(0.85)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"curves": 3}, "curves: holds no label curve: 3 is not a list"),
        ({"labels": None}, "labels: holds no label curve: None is not a list"),
        ({"curves": [{}]}, "curves.0.task: holds no label curve: it is missing"),
        ({"seeds": ["a"]}, "seeds.0: holds no label curve: 'a' is not an integer"),
        ({"curves": [METRIC | {"metric": "x"}]}, "curves.0.metric: holds no label curve: 'x' is not a metric of one"),
        ({"curves": [METRIC | {"points": [POINT]}]}, "curves.0.points.0.student: holds no label curve: 'a' is not an"),
    ],
)
def test_a_damaged_file_is_refused_by_its_key(tmp_path, change, said):
    (tmp_path / "curve.json").write_text(json.dumps(label_curve().to_json() | change))
    with pytest.raises(UserError) as error:
        read(tmp_path / "curve.json")
    assert str(error.value).startswith(f"{tmp_path / 'curve.json'}: {said}")
    assert error.value.hint == "make it again: `tutelage curve CONFIG` keeps all runs that are finished"


def test_a_file_of_another_version_is_read(tmp_path):
    """An old one has metrics without values and no notes; a later one may have keys that are new."""
    empty = {"labels": 25, "baseline": {}, "student": {}, "teacher": {}, "new": 1}
    entry = label_curve(config="a.yaml").to_json()
    entry["curves"].append(METRIC | {"points": [empty]})
    del entry["notes"]
    (tmp_path / "curve.json").write_text(json.dumps(entry))
    assert read(tmp_path / "curve.json") == label_curve(config="a.yaml")
