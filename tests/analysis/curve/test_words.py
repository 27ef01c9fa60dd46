"""The description of a label curve in words, and its table."""

import pytest
from labelcurves import label_curve

from analysis.curve.labelcurve import LabelCurve, MetricCurve, Point
from analysis.curve.table import tabulate
from analysis.curve.words import remarks, sentence, sentences


def curve(*points: Point, metric: str = "miou") -> MetricCurve:
    return MetricCurve("semseg", metric, "umst-ps", "umst-s", "mmst", points)


def point(labels: int, baseline: tuple[float, ...], student: tuple[float, ...]) -> Point:
    return Point(labels, dict(enumerate(baseline)), dict(enumerate(student)))


def test_with_how_many_labels_the_baseline_is_as_good():
    texts = sentences(label_curve())
    assert texts[0] == (
        "mIoU: with 25 labels umst-ps is not ahead of umst-s (as good as with 25; 95% interval 25 to 25), undetermined"
        "; "
        "with 50 labels as good as with 71 (1.4 × the labels; 95% interval 71 to 71); "
        "with 100 labels ahead (by how many labels cannot be read off: 100 is the largest number measured)"
    )
    assert texts[1] == "rmse: no baseline predicts depth; --baseline CONFIG names one that does"


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (
            [point(10, (0.1,), (0.2,))],
            "umst-ps is ahead of umst-s (by how many labels cannot be read off: 10 is the largest number measured; one",
        ),
        (
            [point(10, (0.2,), (0.1,))],
            "umst-ps is behind umst-s (by how many labels cannot be read off: 10 is the smallest number measured; one",
        ),
        (
            [point(4, (0.2, 0.2), (0.1, 0.25)), point(8, (0.21, 0.21), (0.1, 0.1))],
            "is behind umst-s (by how many labels cannot be read off: 4 is the smallest number measured; seeds disagree"
            "), undetermined; with 8 labels not ahead (as good as with fewer than 4)",
        ),
        (
            [point(4, (0.1, 0.1), (0.3, 0.35)), point(8, (0.2, 0.2), ())],
            "with 4 labels umst-ps is as good as umst-s with more than 8 (more than 2.0 × the labels)",
        ),
        (
            [point(10, (0.1,), (0.2,)), point(40, (0.3,), (0.2,))],
            "is as good as umst-s with 20 (2.0 × the labels; one seed); "
            "with 40 labels not ahead (as good as with 20; one seed)",
        ),
        (
            [point(10, (0.1, 0.1, 0.1), (0.15, 0.2, 0.01)), point(40, (0.2, 0.2, 0.2), ())],
            "umst-s with 13 (1.3 × the labels; by seed: 20, 40, fewer than 10), undetermined",
        ),
        (
            [point(10, (0.1, 0.1), (0.11, 0.19)), point(40, (0.2, 0.2), ())],
            "umst-s with 20 (2.0 × the labels; 95% interval fewer than 10 to more than 40), undetermined",
        ),
        ([point(10, (), (0.2,))], "no seed has both umst-ps and umst-s"),
    ],
)
def test_its_cases(points, said):
    assert said in sentence(curve(*points), "mIoU")


def test_less_is_better_for_some():
    text = sentence(curve(point(10, (1.0,), (0.9,)), point(40, (0.8,), (0.9,)), metric="rmse"), "rmse")
    assert "with 10 labels umst-ps is as good as umst-s with 20" in text and "with 40 labels not ahead" in text


def test_a_table_for_each_metric():
    miou, rmse = tabulate(label_curve())
    assert miou.titles[:4] == ["semseg labels", "mIoU umst-s", "mIoU umst-ps", "mIoU mmst (ceiling)"]
    row = dict(zip(miou.titles, miou.rows[1], strict=True))
    assert row["mIoU umst-s"] == "15.00 ± 1.41" and row["difference"] == "+2.50" and row["verdict"] == "better"
    assert row["gap closed"] == "50 %" and row["× labels"] == "1.41" and row["seeds"] == "2"
    assert miou.rows[2][miou.titles.index("× labels")] == "> 1.00"
    assert rmse.titles == ["semseg labels", "rmse umst-ps", "seeds"] and rmse.rows[0] == ["25", "0.850 ± 0.071", "2"]
    assert miou.notes == sentences(label_curve())[:1]


def test_a_mean_over_other_seeds_than_its_row_says_so():
    points = (
        Point(10, {0: 0.1, 1: 0.1, 2: 0.1}, {0: 0.2, 1: 0.2}, {0: 0.3}),
        Point(20, {0: 0.1}, {}, {}),
        Point(40, {0: 0.2, 1: 0.2}, {0: 0.25, 1: 0.25}, {0: 0.3, 1: 0.3}),
    )
    curves = (curve(*points), MetricCurve("depth", "rmse", "umst-ps", None, None, (Point(10, {}, {0: 1.0, 1: 2.0}),)))
    facts = {"missing": 5}
    label_curve = LabelCurve("rooms", "semseg", "umst-ps", (10, 20, 40), (0, 1, 2), curves, facts=facts)
    miou, rmse = tabulate(label_curve)
    rows = [dict(zip(miou.titles, row, strict=True)) for row in miou.rows]
    assert rows[0]["mIoU umst-s"] == "10.00 ± 0.00 (3 seeds)" and rows[0]["mIoU umst-ps"] == "20.00 ± 0.00"
    assert rows[0]["mIoU mmst (ceiling)"] == "30.00 (1 seed)" and rows[0]["gap closed"] == "50 % (1 seed)"
    assert rows[1]["mIoU umst-s"] == "10.00 (1 seed)" and rows[1]["mIoU umst-ps"] == "–"
    assert [row["seeds"] for row in rows] == ["2", "0", "2"] and "seed" not in "".join(list(rows[2].values())[:4])
    assert any(note.startswith("(n seeds): ") for note in miou.notes) and rmse.rows[0][1:] == ["1.500 ± 0.707", "2"]
    points = (point(10, (0.1,), (0.2,)), point(40, (0.3,), (0.2,)))
    (one_seed,) = tabulate(LabelCurve("rooms", "semseg", "umst-ps", (10, 40), (0,), (curve(*points),)))
    assert len(one_seed.notes) == 1, "'one seed', as of M, is not such a mark"
    assert "5 of its runs were not finished when it was written" in remarks(label_curve)


def test_two_tasks_of_one_kind_are_told_apart():
    points = (point(10, (1.0,), (0.9,)), point(40, (0.8,), (0.7,)))
    curves = tuple(MetricCurve(task, "rmse", "s", "b", None, points) for task in ("depth", "height"))
    label_curve = LabelCurve("rooms", "depth", "s", (10, 40), (0,), curves)
    assert [text.partition(":")[0] for text in sentences(label_curve)] == ["depth rmse", "height rmse"]
    assert [table.titles[1] for table in tabulate(label_curve)] == ["depth rmse b", "height rmse b"]
