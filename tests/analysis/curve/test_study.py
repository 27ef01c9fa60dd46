"""The networks of a label curve, that finished ones are kept, and that its values are those of their results."""

import json
from pathlib import Path
from typing import Any

import labelcurves
import pytest

from analysis.curve.labelcurve import read
from analysis.curve.study import Study
from analysis.grid import FINISHED, OTHER, PENDING, state
from shards.errors import UserError
from trainer.affinity import NAME as AFFINITY
from trainer.configvalues import COMMAND_LINE
from trainer.experiment import Experiment
from trainer.runs.status import Interrupted
from trainer.stages import run

pytestmark = pytest.mark.slow

CONFIGS = labelcurves.CONFIGS | {
    "ummt-ps": "inherits: base.yaml\npseudo: {semseg: {teacher: mmst.yaml, keep: all}}",
}
NYUDV2 = Path(__file__).parents[3] / "configs" / "nyudv2-labels"


def configure(folder: Path, dataset: Path) -> Path:
    """Write the configurations above, with their runs in the same folder; return the folder."""
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(
            text.replace("DATASET", str(dataset)).replace("RUNS", str(folder / "runs"))
        )
    return folder


@pytest.fixture
def config_folder(scenes_dataset, tmp_path) -> Path:
    return configure(tmp_path, scenes_dataset.folder)


@pytest.fixture(scope="module")
def measured(scenes_dataset, tmp_path_factory) -> dict[str, Any]:
    """A curve of two budgets and two seeds, of which one run existed before, and which was interrupted once."""
    config_folder = configure(tmp_path_factory.mktemp("curve"), scenes_dataset.folder)
    root = config_folder / "runs/scenes/curve/semseg-8"
    early_run = Experiment(config_folder / "umst-s.yaml", ["labels.semseg=8", "seed=1", f"run.root={root}"])
    run(early_run)
    stamps = {early_run.folder: (early_run.folder / "result.json").stat().st_ino}
    study = Study(config_folder / "umst-ps.yaml", [8, 4], 2)
    started: list[Path] = []

    def run_until_stopped(cell: Experiment) -> None:
        if len(started) == 4:
            raise Interrupted("stopped")
        started.append(cell.folder)
        run(cell)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.stages.run", run_until_stopped)
        with pytest.raises(Interrupted):
            study.run()
    states = [state(cell) for cell in study.cells]
    stamps |= {folder: (folder / "result.json").stat().st_ino for folder in started}
    failures = study.run()
    curve = study.curve()
    return {
        "study": study,
        "states": states,
        "stamps": stamps,
        "failed": failures,
        "curve": curve,
        "files": study.write(curve),
    }


def names(study: Study) -> list[str]:
    return [study.name(cell) for cell in study.cells]


def test_every_budget_and_seed_has_a_baseline_a_teacher_and_a_student(config_folder):
    study = Study(config_folder / "umst-ps.yaml", [8, 4, 4], 2, ["seed=5"])
    assert names(study) == [
        f"semseg {count}: {name}, seed {seed}"
        for seed in (5, 6)
        for count in (4, 8)
        for name in ("umst-s", "mmst", "umst-ps")
    ]
    assert {cell.folder.relative_to(config_folder) for cell in study.cells} == {
        Path(f"runs/scenes/curve/semseg-{count}/scenes/{name}/seed-{seed}")
        for count in (4, 8)
        for name in ("umst-s", "mmst", "umst-ps")
        for seed in (5, 6)
    }
    assert all(cell.config.labels == {"depth": 24, "semseg": study.budget(cell)} for cell in study.cells)
    assert [study.budget(cell) for cell in study.cells[:6]] == [4, 4, 4, 8, 8, 8]
    assert study.folder == config_folder / "runs/scenes/curve/semseg/umst-ps"


def test_the_curve_of_nyudv2_is_made_of_its_rows():
    study = Study(NYUDV2 / "umst-ps.yaml", [25, 50, 100, 250, 500], 3)
    assert len(study.cells) == 45 and {cell.path.parent for cell in study.cells} == {NYUDV2}
    runs = {(cell.path.stem, cell.config.labels["semseg"], cell.config.seed) for cell in study.cells}
    assert runs == {
        (name, count, seed)
        for name in ("umst-s", "mmst", "umst-ps")
        for count in (25, 50, 100, 250, 500)
        for seed in (0, 1, 2)
    }


def test_students_of_a_budget_share_its_teacher_and_baseline(config_folder):
    one, other = (
        Study(config_folder / f"{name}.yaml", [4], 1, baselines=[config_folder / "umst-s.yaml"])
        for name in ("umst-ps", "ummt-ps")
    )
    assert [cell.folder for cell in one.cells[:2]] == [cell.folder for cell in other.cells[:2]]
    assert one.folder != other.folder


def test_without_a_single_task_baseline_it_is_the_student_without_pseudo_labels(config_folder):
    (config_folder / "umst-s.yaml").rename(config_folder / "single.yaml")
    study = Study(config_folder / "ummt-ps.yaml", [4], 1)
    assert names(study) == [f"semseg 4: {name}, seed 0" for name in ("ummt-ps-baseline", "mmst", "ummt-ps")]
    assert not study.cells[0].config.pseudo and list(study.cells[0].config.tasks) == ["semseg", "depth"]


def test_each_metric_is_compared_with_the_first_baseline_that_predicts_its_task(config_folder):
    (config_folder / "ummt-d.yaml").write_text("inherits: base.yaml")
    study = Study(
        config_folder / "ummt-ps.yaml", [4], 1, baselines=[config_folder / "umst-s.yaml", config_folder / "ummt-d.yaml"]
    )
    baselines = {task: study.networks[4, 0].in_role("baseline", task) for task in ("semseg", "depth")}
    assert {task: baseline.path.stem for task, baseline in baselines.items()} == {"semseg": "umst-s", "depth": "ummt-d"}
    assert study.networks[4, 0].in_role("teacher", "depth") is None, "it sees depth"


def test_runs_elsewhere(config_folder):
    pattern = f"{config_folder}/made before/n{{labels}}"
    study = Study(config_folder / "umst-ps.yaml", [4, 8], 1, roots=pattern, out=config_folder / "here")
    assert {str(cell.config.run.root) for cell in study.cells} == {f"{config_folder}/made before/n{n}" for n in (4, 8)}
    assert study.folder == config_folder / "here"
    with pytest.raises(UserError, match=r"--runs: names one folder for all budgets; write \{labels\} where"):
        Study(config_folder / "umst-ps.yaml", [4, 8], 1, roots="runs")


def test_auto_pseudo_labels_are_looked_for_where_the_configuration_says(config_folder):
    recommended = {"semseg": {"inputs": ["rgb", "depth"], "keep": 0.5, "why": "it helps"}}
    (config_folder / "runs/scenes/affinity").mkdir(parents=True)
    (config_folder / "runs/scenes/affinity" / AFFINITY).write_text(
        json.dumps({"split": "dev", "recommended": recommended})
    )
    (config_folder / "auto.yaml").write_text("inherits: base.yaml\npseudo: auto")
    assert names(Study(config_folder / "auto.yaml", [4], 1)) == [
        f"semseg 4: {name}, seed 0" for name in ("umst-s", "auto-rgb-depth", "auto")
    ]


@pytest.mark.parametrize(
    ("said", "call"),
    [
        (r"umst-s\.yaml: pseudo: names no pseudo-labels; give a student's", {"name": "umst-s"}),
        (r"--labels: 0, 4 is not a list of budgets", {"labels": [0, 4]}),
        (r"--labels: nothing is not a list of budgets", {"labels": []}),
        (r"--seeds: 0 seeds", {"seeds": 0}),
        (r"--task: depth is not a task with pseudo-labels; give one of semseg", {"task": "depth"}),
        (rf"{COMMAND_LINE}: labels\.semseg: is varied by the curve", {"overrides": ["labels.semseg=3"]}),
        (rf"{COMMAND_LINE}: loss\.deep: a teacher of a row would not inherit it", {"overrides": ["loss.deep=0"]}),
    ],
)
def test_refusals(config_folder, said, call):
    name = call.pop("name", "umst-ps")
    labels, seeds = call.pop("labels", [4]), call.pop("seeds", 1)
    with pytest.raises(UserError, match=said):
        Study(config_folder / f"{name}.yaml", labels, seeds, call.pop("overrides", ()), **call)


def test_the_scarce_task_must_be_named_where_there_are_several(config_folder):
    text = "inherits: base.yaml\npseudo: {semseg: {teacher: mmst.yaml}, depth: {teacher: d.yaml, keep: all}}"
    (config_folder / "both.yaml").write_text(text)
    (config_folder / "d.yaml").write_text("inherits: base.yaml\ninputs: [rgb, semseg]\ntasks: [depth]")
    with pytest.raises(UserError, match="--task: several tasks have pseudo-labels; give one of semseg, depth"):
        Study(config_folder / "both.yaml", [4], 1)
    study = Study(config_folder / "both.yaml", [4], 1, task="depth")
    assert names(study)[0] == "depth 4: both-baseline, seed 0", "umst-s does not predict depth"


def test_networks_that_are_measured_differently_are_refused(config_folder):
    (config_folder / "umst-s.yaml").write_text("inherits: base.yaml\ntasks: [semseg]\nevaluate: {resolution: label}")
    with pytest.raises(UserError, match=r"umst-s\.yaml: evaluate\.resolution: 'label', and 'network' in \S+umst-ps"):
        (config_folder / "umst-ps.yaml").write_text(CONFIGS["ummt-ps"])
        Study(config_folder / "umst-ps.yaml", [4], 1)


def test_budgets_that_would_share_a_folder_are_refused(config_folder):
    text = (config_folder / "base.yaml").read_text().replace("root:", "path: 'x/${experiment}', root:")
    (config_folder / "base.yaml").write_text(text)
    with pytest.raises(UserError, match=r"run\.path: two runs of different settings would share x/umst-s"):
        Study(config_folder / "umst-ps.yaml", [4, 8], 1)


# Real runs


def test_an_interrupted_curve_continues_and_what_is_finished_is_kept(measured):
    assert measured["states"].count(FINISHED) == 5 and measured["states"].count(PENDING) == 7
    assert not measured["failed"]
    assert [state(cell) for cell in measured["study"].cells] == [FINISHED] * 12
    assert len(measured["stamps"]) == 5, "one of before, and four of before the stop"
    for folder, inode in measured["stamps"].items():
        assert (folder / "result.json").stat().st_ino == inode, "it was written again"


def test_a_second_call_trains_nothing(measured, monkeypatch):
    for name in ("trainer.trainstage.Trainer", "trainer.evaluatestage.evaluate_network"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("a finished network was built again"))
    second_study = Study(measured["study"].path, [4, 8], 2)
    assert not second_study.run() and second_study.curve() == measured["curve"]


def test_its_figures_are_those_of_the_runs(measured):
    curve, study = measured["curve"], measured["study"]
    (miou,) = curve.curves
    assert (miou.task, miou.metric, miou.baseline, miou.teacher) == ("semseg", "miou", "umst-s", "mmst")
    for point in miou.points:
        for role, name in {"baseline": "umst-s", "student": "umst-ps", "teacher": "mmst"}.items():
            folder = study.folder.parents[1] / f"semseg-{point.labels}" / "scenes" / name
            rows = [json.loads((folder / f"seed-{seed}/result.json").read_text()) for seed in (0, 1)]
            assert getattr(point, role) == {row["seed"]: row["metrics"]["semseg"]["miou"] for row in rows}
            assert {row["labels"]["semseg"] for row in rows} == {point.labels}
    students = [row for row in curve.facts["runs"] if row["experiment"] == "umst-ps"]
    assert len(curve.facts["runs"]) == 12 and curve.facts["missing"] == 0
    assert all((study.folder / row["folder"] / "result.json").exists() for row in students)


def test_its_files(measured):
    study = measured["study"]
    assert [path.name for path in measured["files"]] == ["curve.json", "curve.csv", "curve.png", "curve.svg"]
    assert sorted(path.name for path in study.folder.iterdir()) == sorted(path.name for path in measured["files"])
    assert read(study.folder / "curve.json") == measured["curve"]


def test_runs_of_other_settings_are_not_taken_for_it(measured):
    others = Study(measured["study"].path, [4], 1, ["train.lr=0.5"])
    assert [state(cell) for cell in others.cells] == [OTHER] * 3
    failures = others.run()
    assert len(failures) == 3 and all("holds a run with" in reason for reason in failures.values())


def test_what_is_not_finished_is_left_out_and_counted(measured):
    larger_study = Study(measured["study"].path, [4, 8, 12], 3)
    curve = larger_study.curve()
    assert curve.facts["missing"] == 3 * 3 * 3 - 12
    (miou,) = curve.curves
    assert [len(point.student) for point in miou.points] == [2, 2, 0]
    assert miou.points[2].difference is None and miou.savings(miou.points[2]) is None
