"""Differences between rows: paired by seed, in the right direction, with a correct uncertainty."""

import math
from dataclasses import replace
from typing import Any

import pytest

from analysis.results.comparison import compare, not_compared, tables, verdict
from analysis.results.interval import Interval
from analysis.results.paper import Paper
from analysis.results.table import tabulate
from trainer.runs.result import Result

PAPER = Paper.load()


def row(experiment: str, seed: int, miou: float, rmse: float = 1.0, **changes: Any) -> Result:
    options = changes.pop("options", {})
    entry = {
        "experiment": experiment,
        "dataset": "nyudv2",
        "seed": seed,
        "inputs": ["rgb"],
        "tasks": ["semseg", "depth"],
        "labels": {"semseg": 250, "depth": 250},
        "pseudo_labels": {},
        "normalise": "labelled",
        "metrics": {"semseg": {"miou": miou}, "depth": {"rmse": rmse}},
        "steps": 100,
    }
    return replace(Result.from_json(entry | changes), options=options)


def comparison_rows(results: list[Result]) -> list[dict[str, str]]:
    table = compare(results, PAPER)
    return [dict(zip(table.titles, line, strict=True)) for line in table.rows]


def test_a_difference_is_taken_within_a_seed():
    """Seeds differ by far more than the two networks do, and yet the verdict is certain."""
    baseline = [row("ummt", seed, miou, 1.0) for seed, miou in enumerate((0.20, 0.30, 0.40))]
    student = [row("ummt-ps", seed, miou, 0.9) for seed, miou in enumerate((0.21, 0.312, 0.409))]
    miou, rmse = comparison_rows(baseline + student[::-1])
    assert miou["comparison"] == "ummt-ps − ummt" and miou["metric"] == "mIoU"
    assert (miou["difference"], miou["seeds"], miou["verdict"]) == ("+1.03", "3", "better")
    low, high = miou["95% interval"].split(" … ")
    half = 4.3027 * 0.1528 / math.sqrt(3)  # Student's t with two degrees of freedom
    assert float(low) == pytest.approx(1.033 - half, abs=0.01) and float(high) == pytest.approx(1.033 + half, abs=0.01)
    assert (rmse["difference"], rmse["verdict"]) == ("−0.100", "better"), "a smaller error"
    assert (miou["paper"], rmse["paper"]) == ("+3.2", "−0.137")


def test_only_seeds_that_both_have_count():
    lines = comparison_rows([row("ummt", 0, 0.2), row("ummt", 1, 0.2), row("ummt-ps", 1, 0.3), row("ummt-ps", 2, 0.9)])
    assert (lines[0]["difference"], lines[0]["seeds"]) == ("+10.00", "1")
    assert (lines[0]["95% interval"], lines[0]["verdict"]) == ("–", "undetermined: one seed")
    assert comparison_rows([row("ummt", 0, 0.2), row("ummt-ps", 1, 0.2)]) == []


def test_words():
    positive, negative, wide = Interval(1, 0.5, 1.5, 1, 9), Interval(-1, -1.5, -0.5, 1, 9), Interval(1, -1, 3, 1, 3)
    assert [verdict(positive, smaller_is_better=smaller) for smaller in (False, True)] == ["better", "worse"]
    assert [verdict(negative, smaller_is_better=smaller) for smaller in (False, True)] == ["worse", "better"]
    assert verdict(wide, smaller_is_better=False) == "undetermined: 10 seeds would tell", "with a power of 80 %"
    assert verdict(positive, smaller_is_better=False, p=0.2, tests=12) == "undetermined: 18 seeds would tell"
    assert verdict(Interval(0, -1, 1, 1, 3), smaller_is_better=False) == "undetermined"


def test_differences_are_tested_together():
    """A p-value grows with the number of differences that are tested together; the notes of the table say so."""
    values = {"ummt": (0.20, 0.30, 0.40), "ummt-ps": (0.21, 0.33, 0.42), "ummt-pu": (0.5, 0.1, 0.4)}
    values |= {"mmmt-d": (0.1, 0.9, 0.2), "ummt-d": (0.2, 0.1, 0.9), "ummt-pd": (0.9, 0.1, 0.3)}
    results = [row(name, seed, miou, miou) for name, mious in values.items() for seed, miou in enumerate(mious)]
    few = comparison_rows([result for result in results if result.experiment in ("ummt", "ummt-ps")])
    many = compare(results, PAPER)
    lines = [dict(zip(many.titles, line, strict=True)) for line in many.rows]
    student = next(line for line in lines if line["comparison"] == "ummt-ps − ummt")
    assert few[0]["95% interval"] == student["95% interval"], "of one difference"
    assert float(student["p (Holm)"]) > float(few[0]["p (Holm)"]) > 0.05
    assert f"over the {len(lines)} differences" in many.notes[0] and "fix the number of seeds" in many.notes[1]


def test_only_headline_metrics_are_tested():
    """Other metrics repeat the same information, and would raise every p-value."""
    depth = {"metrics": {"depth": {"rmse": 1.0, "rmse_log": 0.2}}, "tasks": ["depth"]}
    results = [row(name, seed, 0, **depth) for name in ("ummt", "ummt-ps") for seed in (0, 1)]
    table = compare(results, PAPER)
    lines = [dict(zip(table.titles, line, strict=True)) for line in table.rows]
    assert [(line["metric"], line["verdict"], line["p (Holm)"]) for line in lines] == [
        ("rmse", "undetermined", "1"),
        ("rmse_log", "–", "–"),
    ]
    assert "over the 1 differences" in table.notes[0]


def test_an_output_that_was_an_input_is_not_compared():
    teacher = {"inputs": ["rgb", "depth"]}
    lines = comparison_rows([row("ummt", 0, 0.2), row("mmmt-d", 0, 0.3, **teacher)])
    assert [(line["comparison"], line["metric"]) for line in lines] == [("mmmt-d − ummt", "mIoU")]


def test_only_runs_of_one_setting_are_compared():
    small, large = {"backbone": "small"}, {"backbone": "large"}
    lines = comparison_rows(
        [row("ummt", 0, 0.2, **small), row("ummt", 0, 0.6, **large), row("ummt-ps", 0, 0.5, **large)]
    )
    (miou,) = [line for line in lines if line["metric"] == "mIoU"]
    assert (miou["backbone"], miou["difference"]) == ("large", "−10.00")


def test_of_several_numbers_of_steps_the_same_are_compared_and_else_what_there_is():
    """With equal epochs, a student with more frames takes more steps than its baseline."""
    few, many = {"steps": 100}, {"steps": 200}
    lines = comparison_rows([row("ummt", 0, 0.2, **few), row("ummt-ps", 0, 0.3, **few), row("ummt-ps", 0, 0.5, **many)])
    assert [line["difference"] for line in lines if line["metric"] == "mIoU"] == ["+10.00"]
    lines = comparison_rows([row("ummt", 0, 0.2, **few), row("ummt-ps", 0, 0.5, **many)])
    assert [line["difference"] for line in lines if line["metric"] == "mIoU"] == ["+30.00"]


def test_of_equal_epochs_and_equal_steps_each_is_compared_with_its_own():
    """A baseline takes as many steps either way, and its student does not."""
    epochs = {"options": {"train.epochs": 10, "train.steps": None}}
    of_steps = [row("ummt", 0, 0.2), row("ummt-ps", 0, 0.3)]
    of_epochs = [row("ummt", 0, 0.2, **epochs), row("ummt-ps", 0, 0.5, steps=200, **epochs)]
    lines = [line for line in comparison_rows(of_steps + of_epochs) if line["metric"] == "mIoU"]
    assert [(line["steps"], line["epochs"], line["difference"]) for line in lines] == [
        ("100", "–", "+10.00"),
        ("200 / 100", "10", "+30.00"),
    ]


def test_what_pairs_differ_in_is_said():
    """Compared rows may differ in options; but a partner with the same options is preferred to all others."""
    slow, fast = ({"options": {"train.lr": rate}} for rate in (0.1, 0.2))
    (miou, _) = comparison_rows([row("ummt", 0, 0.2, **slow), row("ummt-ps", 0, 0.5, **fast)])
    assert (miou["train.lr"], miou["difference"]) == ("0.2 / 0.1", "+30.00")
    (miou, _) = comparison_rows(
        [row("ummt", 0, 0.2, **slow), row("ummt", 0, 0.4, **fast), row("ummt-ps", 0, 0.5, **fast)]
    )
    assert (miou["train.lr"], miou["difference"]) == ("0.2", "+10.00")


@pytest.mark.parametrize("key", ["split", "manifest", "resolution", "crop"])
def test_what_was_measured_on_other_frames_is_not_compared(key):
    assert not comparison_rows([row("ummt", 0, 0.2, asked={key: "val"}), row("ummt-ps", 0, 0.5, asked={key: "dev"})])


def test_frames_that_each_seed_drew_are_not_compared_with_those_that_one_drew():
    old, new = {"split": "val", "val": 395}, {"split": "val", "val": 395, "val_seed": 0}
    results = [row("ummt", 0, 0.2, asked=old), row("ummt-ps", 0, 0.5, asked=new)]
    assert not comparison_rows(results) and comparison_rows([*results, row("ummt", 0, 0.3, asked=new)])
    table = tabulate([row("ummt", 0, 0.2, asked=old), row("ummt", 1, 0.4, asked=new)])
    assert [line[table.titles.index("val_seed")] for line in table.rows] == ["each run's", "0"]


def test_what_the_paper_prints_and_cannot_be_compared_has_no_difference():
    city = {"dataset": "cityscapes", "metrics": {"depth": {"rmse": 5.0, "rmse_log": 0.2}}, "tasks": ["depth"]}
    lines = comparison_rows([row("ummt", 0, 0, **city), row("ummt-ps", 0, 0, **city)])
    assert {line["metric"]: line["paper"] for line in lines} == {"rmse": "−0.05", "rmse_log": "–"}


def test_rows_that_were_measured_on_different_frames_are_not_compared():
    """A network with a depth input is measured only on frames with depth."""
    one = row("ummt", 0, 0.2, validation_frames=8, validation_set="a")
    other = row("ummt-ps", 0, 0.3, validation_frames=3, validation_set="b")
    compared, table = compare([one, other], PAPER), tabulate([one, other])
    note = "ummt-ps − ummt: not compared, since they were measured on different frames (3 and 8)"
    assert compared.rows == [] and compared.notes == [note]
    assert [line[table.titles.index("v")] for line in table.rows] == ["8", "3*"]
    assert "*: ummt-ps: measured on other frames than the other rows, so not comparable with them" in table.notes
    assert compare([one, replace(other, validation_set="a")], PAPER).rows


def test_results_of_before_tell_by_their_pixels():
    def pixel_row(experiment: str, pixels: int) -> Result:
        return row(experiment, 0, 0.2, metrics={"semseg": {"miou": 0.2, "pixels": pixels}})

    assert compare([pixel_row("ummt", 600), pixel_row("ummt-ps", 600)], PAPER).rows
    assert not compare([pixel_row("ummt", 600), pixel_row("ummt-ps", 200)], PAPER).rows


def test_two_tasks_of_one_kind_are_told_apart():
    tasks = {"tasks": ["depth", "height"], "labels": {"depth": 9, "height": 9}}
    results = [
        row(name, seed, 0.5, **tasks, metrics={"depth": {"rmse": rmse}, "height": {"rmse": 3 * rmse}})
        for name, rmse in (("ummt-ps", 1.0), ("ummt", 2.0))
        for seed in (0, 1)
    ]
    assert [line["metric"] for line in comparison_rows(results)] == ["depth rmse", "height rmse"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seed": 5}, "they have no seed in common (0; 5)"),
        ({"backbone": "other"}, "they differ in backbone (– and other)"),
        ({"dataset": "rooms"}, "they are of different datasets"),
        ({"validation_frames": 3, "validation_set": "b"}, "they were measured on different frames (8 and 3)"),
        ({"inputs": ["rgb", "semseg", "depth"]}, "there is no task that both predict and neither sees"),
    ],
)
def test_a_requested_pair_that_is_not_compared_has_a_note(changes, reason):
    frames = {"validation_frames": 8, "validation_set": "a"}
    results = [row("mine", 0, 0.5, **frames), row("other", **({"seed": 0, "miou": 0.5} | frames | changes))]
    (table,) = tables(results, Paper(), [("mine", "other")])
    assert table.notes.count(f"mine − other: not compared, since {reason}") == 1
    assert not any("not compared" in note for note in tables(results, Paper())[0].notes)
    assert not_compared([row("mine", 0, 0.5), row("other", 0, 0.4)], Paper(), [("mine", "other")]) == []
