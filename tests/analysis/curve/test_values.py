"""What a label curve is made of: which results of its runs count. The runs are results without networks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from labelcurves import CONFIGS

from analysis.curve.labelcurve import read
from analysis.curve.study import Study
from analysis.grid import FINISHED, OTHER_DATA, state
from shards.atomic import write_json
from trainer.conditions import conditions_of
from trainer.experiment import Experiment
from trainer.runs.folder import claim
from trainer.runs.result import NAME, Result

MIOU = {"umst-s": 0.1, "mmst": 0.3, "umst-ps": 0.2}
MakeStudy = Callable[..., Study]


@pytest.fixture
def make_study(scenes_dataset, tmp_path) -> MakeStudy:
    """``make_study([4, 8], 2)``: the study of a student with these budgets and so many seeds."""
    for name, text in CONFIGS.items():
        places = text.replace("DATASET", str(scenes_dataset.folder)).replace("RUNS", str(tmp_path / "runs"))
        (tmp_path / f"{name}.yaml").write_text(places)
    return lambda labels, seeds=1, **options: Study(tmp_path / "umst-ps.yaml", labels, seeds, **options)


def finish(cell: Experiment, metrics: Mapping[str, Any] | None = None, **changes: Any) -> None:
    """Write the result of a run that was finished, by default an mIoU by network, which grows by seed."""
    claim(cell)
    name, seed = cell.config.experiment, cell.config.seed
    facts: dict[str, Any] = {
        "experiment": name,
        "dataset": cell.config.data.name,
        "seed": seed,
        "inputs": list(cell.config.inputs),
        "tasks": list(cell.config.tasks),
        "labels": {},
        "pseudo_labels": {},
        "normalise": "labelled",
        "validation_frames": 6,
        "validation_set": "all",
        "metrics": {"semseg": metrics or {"miou": MIOU[name] + seed / 100}},
        "asked": conditions_of(cell, {}),
    }
    write_json(cell.folder / NAME, Result(**(facts | changes)).to_json())


def finish_all(study: Study) -> None:
    for cell in study.cells:
        finish(cell)


def test_runs_on_other_data_and_failed_ones_do_not_count(make_study):
    study = make_study([4, 8])
    finish_all(study)
    (miou,) = study.curve().curves
    assert [point.student for point in miou.points] == [{0: 0.2}, {0: 0.2}]
    student = study.networks[4, 0].student
    write_json(student.folder / "data.json", {"data.path": "another hash"})
    assert [state(cell) for cell in study.cells].count(FINISHED) == 5 and state(student) == OTHER_DATA
    (miou,) = study.curve().curves
    assert [point.student for point in miou.points] == [{}, {0: 0.2}]
    curve = study.curve({study.networks[8, 0].student.folder})
    assert not curve.curves and curve.facts["missing"] == 2


def test_a_result_that_was_measured_otherwise_does_not_count(make_study):
    study = make_study([4])
    finish_all(study)
    finish(study.cells[0], asked=conditions_of(study.cells[0], {"last": "another network"}))
    curve = study.curve()
    assert curve.facts["missing"] == 1 and not curve.curves[0].points[0].baseline


def test_without_the_data_set_a_plan_still_knows_what_is_finished(make_study, tmp_path):
    study = make_study([4])
    finish_all(study)
    moved = make_study([4], overrides=[f"data.path={tmp_path / 'gone'}"])
    assert {state(cell) for cell in moved.cells} == {FINISHED}
    assert Path(moved.cells[0].folder / NAME).exists()


def test_a_network_that_was_measured_on_other_frames_is_left_out_with_a_note(make_study):
    """As a teacher that sees depth is, where some validation frames lack it."""
    study = make_study([4, 8], 2)
    for cell in study.cells:
        teacher = cell.config.experiment == "mmst"
        finish(cell, **({"validation_set": "with depth", "validation_frames": 4} if teacher else {}))
    curve = study.curve()
    (miou,) = curve.curves
    assert [(point.baseline, point.teacher) for point in miou.points] == [({0: 0.1, 1: 0.11}, {})] * 2
    assert miou.teacher == "mmst" and miou.gap_closed(miou.points[0]) is None
    assert curve.notes == tuple(
        f"mmst, seed {seed}: left out, since it was measured on other validation frames than umst-ps (4 and 6)"
        for seed in (0, 1)
    )


def test_frames_may_differ_between_seeds(make_study):
    study = make_study([4], 2)
    for cell in study.cells:
        finish(cell, validation_set=f"drawn by seed {cell.config.seed}")
    curve = study.curve()
    assert curve.curves[0].points[0].teacher == {0: 0.3, 1: 0.31} and not curve.notes


def test_without_its_student_a_network_is_compared_with_the_student_of_another_budget(make_study):
    study = make_study([4, 8])
    finish_all(study)
    (study.networks[8, 0].student.folder / NAME).unlink()
    baseline = study.networks[8, 0].baselines[0]
    finish(baseline, validation_set="other frames")
    assert [len(point.baseline) for point in study.curve().curves[0].points] == [1, 0]


def test_a_metric_that_no_network_has_is_none_of_the_curve(make_study):
    """As of a task that no validation frame shows."""
    study = make_study([4])
    for cell in study.cells:
        finish(cell, {"miou": 0.1, "pixel_accuracy": None, "mean_accuracy": None})
    curve = study.curve()
    assert [metric_curve.metric for metric_curve in curve.curves] == ["miou"]
    study.write(curve)
    assert read(study.folder / "curve.json") == curve


def test_budgets_and_seeds_of_an_earlier_curve_are_kept(make_study):
    larger = make_study([4, 8], 2)
    finish_all(larger)
    larger.write(larger.curve())
    smaller = make_study([8], 1)
    curve = smaller.curve()
    assert curve.curves == larger.curve().curves and (curve.labels, curve.seeds) == ((4, 8), (0, 1))
    assert len(curve.facts["runs"]) == 12 and curve.facts["missing"] == 0 and not curve.notes
    smaller.write(curve)
    more_seeds = make_study([8], 3)
    curve = more_seeds.curve()
    assert [len(point.student) for point in curve.curves[0].points] == [2, 2]
    assert curve.labels == (4, 8) and curve.facts["missing"] == 3, "of the budget that was asked for"


def test_what_is_gone_of_an_earlier_curve_is_named(make_study):
    larger = make_study([4, 8], 2)
    finish_all(larger)
    larger.write(larger.curve())
    for seed, change in ((0, None), (1, {"data.path": "another hash"})):
        for cell in larger.networks[4, seed].compared:
            if change:
                write_json(cell.folder / "data.json", change)
            else:
                (cell.folder / NAME).unlink()
    curve = make_study([8], 2).curve()
    (note,) = curve.notes
    assert curve.labels == (8,) and note.startswith("4 labels, seed 0, 1: left out, though in an earlier curve, since")


def test_a_curve_of_another_student_or_a_damaged_one_is_replaced(make_study):
    study = make_study([4])
    finish_all(study)
    curve = study.curve()
    (file, *_) = study.write(curve)
    for text in ("{}", file.read_text().replace('"umst-ps"', '"other"').replace('"labels": 4', '"labels": 2')):
        file.write_text(text)
        assert study.curve() == curve
