"""Teacher, labels, student, evaluation: the order, and that what is finished is left alone."""

import shutil
from dataclasses import replace

import pytest

from shards.errors import UserError
from shards.pack import pack
from shards.sources.scenes import Scenes
from trainer import stages
from trainer.experiment import Experiment
from trainer.pipeline import teachers_of
from trainer.runs.result import Result
from trainer.stages import check, describe_kept, run


def test_stages_come_in_their_order(make, monkeypatch):
    calls: list[str] = []
    row = {"experiment": "student", "dataset": "d", "seed": 0, "inputs": [], "tasks": [], "labels": {}}
    evaluated = Result.from_json(row | {"pseudo_labels": {}, "normalise": "all", "metrics": {}})
    for name, result in {"train": None, "label": {}, "evaluate": evaluated}.items():

        def stage(experiment, *_, name=name, result=result):
            calls.append(f"{name} {experiment.config.experiment}")
            return result

        monkeypatch.setattr(stages, name, stage)
    assert run(make("student")) is evaluated
    assert calls == ["train teacher", "evaluate teacher", "label teacher", "train student", "evaluate student"]


def test_a_finished_experiment_is_not_run_again(finished, monkeypatch):
    """No network is built, neither for training nor for labelling nor for evaluation."""

    def fail(*_):
        raise AssertionError("a finished stage was run again")

    monkeypatch.setattr("trainer.trainstage.Trainer", fail)
    monkeypatch.setattr("trainer.pseudolabels.labelling.Labeller", fail)
    monkeypatch.setattr("trainer.evaluatestage.evaluate_network", fail)
    student = finished("student")
    files = {path: path.stat().st_mtime_ns for path in student.folder.parent.parent.rglob("*") if path.is_file()}
    row = run(student)
    assert row.experiment == "student" and row.pseudo_labels == {"semseg": 8}
    changed = {path.name for path, time in files.items() if path.stat().st_mtime_ns != time}
    assert changed <= {"config.yaml"}, "the copy stands in another folder, which the configuration names"


def test_a_teacher_of_two_tasks_is_one_dependency(make):
    teacher = make("plain").path
    student = make("student", f"pseudo.semseg.teacher={teacher}", f"pseudo.depth.teacher={teacher}")
    assert [experiment.config.experiment for experiment in teachers_of(student)] == ["plain"]


def test_experiments_that_teach_each_other_are_refused(configs, tmp_path):
    for name, other in (("one", "two"), ("two", "one")):
        text = f"inherits: {configs / 'base.yaml'}\npseudo: {{semseg: {{teacher: {other}.yaml}}}}"
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError, match=r"one\.yaml: pseudo: is its own teacher; remove the cycle"):
        run(Experiment(tmp_path / "one.yaml", [f"run.root={tmp_path}"]))


def test_a_student_whose_file_sets_what_its_teacher_does_not_know(configs, make, tmp_path, caplog):
    """Its values on the command line reach the teacher, those of its file do not."""
    check(make("student"))
    check(make("student", "labels.semseg=4", "seed=3"))
    assert "note: " not in caplog.text

    def student(text):
        path = tmp_path / "mine.yaml"
        path.write_text(f"inherits: {configs / 'student.yaml'}\n{text}\n")
        return Experiment(path, [f"run.root={tmp_path / 'runs'}"])

    check(student("labels: {semseg: 4}\nseed: 3"))
    assert "teacher.yaml learns from 8 labels of semseg, its student from 4; a student's file does not" in caplog.text
    assert "teacher.yaml has seed 0, its student 3, so that they know the labels of other frames" in caplog.text
    other = tmp_path / "elsewhere"
    shutil.copytree(make("student").manifest.folder, other)
    check(student(f"data: {{path: {other}}}"))
    pack(Scenes(12, 4, (32, 64), seed=9), tmp_path / "others", size=(32, 64), samples_per_shard=8)
    with pytest.raises(
        UserError, match=r"teacher\.yaml: data\.path: is .*, where its student .*mine\.yaml has .*others; "
    ):
        check(student(f"data: {{path: {tmp_path / 'others'}}}"))


def test_a_teacher_must_predict_what_it_is_to_label(make):
    student = make("student", f"pseudo.depth.teacher={make('teacher').path}")
    with pytest.raises(UserError, match=r"pseudo\.depth\.teacher: does not predict depth from other inputs"):
        teachers_of(student)


def test_what_was_kept_in_words():
    kept = {"semseg": {"frames": 8, "pixels": 10, "kept": 0.256, "threshold": 0.9}, "depth": {"frames": 3, "pixels": 4}}
    semseg, depth = describe_kept(kept)
    assert semseg == "semseg: 8 frames, 25.6% of the pixels above 0.9 (label.threshold)"
    assert depth == "depth: 3 frames"
    semseg, depth = describe_kept(kept, ["semseg", "depth"])
    assert semseg.endswith(" above 0.9 (label.threshold); the student learns from every pixel (keep: all)")
    assert depth == "depth: 3 frames"


@pytest.mark.parametrize("keep", ["all", "0.5"])
def test_a_run_tells_where_the_student_keeps_all_labels(make, monkeypatch, caplog, keep):
    kept = {"semseg": {"frames": 8, "pixels": 10, "kept": 0.0, "threshold": 0.9}}
    row = {"experiment": "student", "dataset": "d", "seed": 0, "inputs": [], "tasks": [], "labels": {}}
    evaluated = Result.from_json(row | {"pseudo_labels": {}, "normalise": "all", "metrics": {}})
    for name, result in {"train": None, "label": kept, "evaluate": evaluated}.items():
        monkeypatch.setattr(stages, name, lambda *_, result=result: result)
    with caplog.at_level("INFO"):
        run(make("student", f"pseudo.semseg.keep={keep}"))
    assert "semseg: 8 frames, 0.0% of the pixels above 0.9 (label.threshold)" in caplog.text
    assert ("the student learns from every pixel" in caplog.text) == (keep == "all")


# What is found out before any training


@pytest.fixture
def untrained(monkeypatch):
    monkeypatch.setattr(stages, "train", lambda experiment: pytest.fail("it was trained first"))


def test_a_student_of_another_configuration_is_refused_before_its_teacher_is_trained(make, untrained):
    (make("student").checkpoints / "last").mkdir(parents=True)
    (make("student").folder / "config.yaml").write_text("train: {lr: 3}")
    with pytest.raises(UserError, match=r"student/seed-0: \S+: holds a run with"):
        run(make("student"))


def test_a_teacher_that_would_have_nothing_to_label_is_refused_before_it_is_trained(make, untrained):
    with pytest.raises(
        UserError,
        match=r"labels: none of the 16 frames without semseg carries depth, which it sees; give",
    ):
        run(make("student", "labels.depth=8"))


def test_a_metric_that_no_task_has_is_refused_before_any_training(make, untrained):
    message = r"student\.yaml: evaluate\.best: 'normals\.mean' is not measured; use one of semseg\.miou"
    with pytest.raises(UserError, match=message):
        run(make("student", "evaluate.every=1", "evaluate.best=normals.mean"))


def test_the_metric_of_a_student_is_not_asked_of_its_teacher(configs, tmp_path):
    (tmp_path / "teacher.yaml").write_text(f"inherits: {configs / 'teacher.yaml'}\ntasks: [semseg]\n")
    student = f"inherits: {configs / 'plain.yaml'}\npseudo: {{semseg: {{teacher: teacher.yaml, keep: 0.4}}}}\n"
    (tmp_path / "student.yaml").write_text(student)
    overrides = [f"run.root={tmp_path}", "evaluate.every=1", "evaluate.best=depth.rmse"]
    check(Experiment(tmp_path / "student.yaml", overrides))


def test_a_data_set_that_was_prepared_anew_mixes_with_no_finished_run(finished, scenes_dataset, tmp_path, untrained):
    copy = tmp_path / "anew"
    shutil.copytree(scenes_dataset.folder, copy)
    replace(scenes_dataset, folder=copy, source={"seed": 9}).save()
    with pytest.raises(UserError, match=r"student/seed-0: data\.path: holds a run on other data"):
        run(finished("student", f"data.path={copy}"))
