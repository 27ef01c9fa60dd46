"""``pseudo: auto``: what it stands for, whose configuration the teacher is, and what is said when it cannot be."""

import json
import logging
from pathlib import Path

import pytest

from shards.errors import UserError
from trainer import stages
from trainer.affinity import Recommendation
from trainer.configfile import NO_PSEUDO, load, shared_overrides, teacher_call, to_dict, to_yaml
from trainer.experiment import Experiment
from trainer.recommendation import affinity_folder, read_recommendations, reasons
from trainer.runs.folder import claim
from trainer.stages import run

NONE = {"inputs": None, "keep": "all", "why": "no frame lacks it and shows another task"}
SEMSEG = {"inputs": ["rgb", "depth"], "keep": 0.4, "why": "depth helps semseg: +31.0 % (+12.1 to +49.9)"}


@pytest.fixture
def affinity(tmp_path) -> Path:
    """An affinity that recommends a teacher of semseg, in the file that ``pseudo: auto`` reads for this test's runs."""
    path = tmp_path / "runs/scenes/affinity/affinity.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"split": "dev", "recommended": {"semseg": SEMSEG, "depth": NONE}}))
    return path


def test_auto_stands_for_the_students_own_configuration_with_other_inputs(make, affinity):
    student = make("plain", "pseudo=auto", "train.lr=0.5")
    config = student.config
    assert [*config.pseudo] == ["semseg"]
    expected = {"teacher": str(student.path), "inputs": ["rgb", "depth"], "keep": 0.4}
    assert to_dict(config)["pseudo"]["semseg"].items() >= expected.items()
    assert config.affinity == str(affinity)
    teacher = student.teacher("semseg")
    assert (teacher.config.experiment, list(teacher.config.inputs)) == ("plain-rgb-depth", ["rgb", "depth"])
    assert not teacher.config.pseudo and teacher.folder != student.folder
    assert Experiment(teacher.path, teacher.overrides).config == teacher.config, "its command would name another"
    student_config, teacher_config = to_dict(config), to_dict(teacher.config)
    assert {key for key in student_config if student_config[key] != teacher_config[key]} == {
        "experiment",
        "inputs",
        "pseudo",
        "affinity",
        "run",
    }


def test_an_affinity_of_before_there_was_keep_is_followed(affinity):
    content = json.loads(affinity.read_text())
    for entry in content["recommended"].values():
        keep = entry.pop("keep")
        entry["threshold"] = None if keep == "all" else keep
    affinity.write_text(json.dumps(content))
    assert read_recommendations(affinity) == {"semseg": Recommendation(**SEMSEG), "depth": Recommendation(**NONE)}


def test_what_was_found_before_the_word_was_affinity_is_followed(make, affinity):
    """In the folder of that time, whose finished runs are not trained again."""
    folder = affinity.parent.rename(affinity.parent.with_name("relate"))
    file = (folder / affinity.name).rename(folder / "relation.json")
    student = make("plain", "pseudo=auto")
    assert student.config.affinity == str(file) and [*student.config.pseudo] == ["semseg"]
    assert affinity_folder(student.config) == folder
    affinity.parent.mkdir()
    assert affinity_folder(student.config) == affinity.parent


def test_auto_in_a_file_and_what_stands_after_it(configs, affinity, tmp_path):
    root = f"run.root={tmp_path / 'runs'}"
    file = tmp_path / "c.yaml"
    file.write_text(f"inherits: {configs / 'student.yaml'}\npseudo: auto")
    assert load(file, [root]).pseudo.semseg.teacher == str(file), "it replaces what was inherited"
    assert load(file, [root, "pseudo.semseg.keep=0.7"]).pseudo.semseg.keep == 0.7
    other = load(file, [root, f"pseudo.semseg.teacher={configs / 'teacher.yaml'}", "pseudo.semseg.inputs=null"])
    assert load(*teacher_call(other, "semseg", [])).experiment == "teacher"


def test_the_resolved_configuration_reads_back_as_itself(make, affinity, tmp_path):
    config = make("plain", "pseudo=auto").config
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert to_dict(load(tmp_path / "again.yaml")) == to_dict(config)


def test_affinity_can_be_asked_of_a_student_that_will_follow_it(configs, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(f"inherits: {configs / 'student.yaml'}\npseudo: auto\naffinity: of-tomorrow.json")
    config = load(file, [NO_PSEUDO])
    assert not config.pseudo and config.affinity is None


def test_a_task_that_is_not_predicted_gets_none(make, affinity):
    assert not make("plain", "pseudo=auto", "tasks=[depth]").config.pseudo


def test_another_affinity_can_be_named(make, affinity, tmp_path):
    other = affinity.rename(tmp_path / "other.json")
    assert make("plain", "pseudo=auto", f"affinity={other}").config.pseudo.semseg.inputs == ["rgb", "depth"]
    assert shared_overrides(["pseudo=auto", "affinity=x", "seed=3"]) == ["seed=3"], "what is the student's alone"


def test_a_teachers_file_with_other_inputs_needs_no_affinity(make):
    student = make("plain", f"pseudo.semseg.teacher={make('student').path}", "pseudo.semseg.inputs=[rgb, depth]")
    teacher = student.teacher("semseg")
    assert teacher.config.experiment == "student-rgb-depth" and not teacher.config.pseudo
    assert student.config.affinity is None


def test_no_command_labels_with_such_a_teacher_alone(make, affinity):
    student = make("plain", "pseudo=auto")
    with pytest.raises(UserError, match=r"semseg: the teacher has not labelled; let `tutelage run \S+plain\.yaml`"):
        student.training_frames()


def test_without_an_affinity_it_says_what_to_run(make, tmp_path):
    path = tmp_path / "runs/scenes/affinity/affinity.json"
    with pytest.raises(UserError) as error:
        make("plain", "pseudo=auto")
    assert str(error.value).startswith(f"{path}: does not exist; run `tutelage affinity CONFIG` first, or set affinity")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r"is not a task affinity: \[\] is not a mapping"),
        ("{}", "recommended: is not a task affinity: it is missing"),
        ('{"recommended": []}', r"recommended: is not a task affinity: \[\] is not a mapping"),
        ('{"recommended": {"semseg": 3}}', r"recommended\.semseg: is not a task affinity: 3 is not a mapping"),
        ('{"recommended": {"semseg": {"inputs": 3}}}', r"recommended\.semseg\.inputs: .*: 3 is not a list"),
        ('{"recommended": {"semseg": {"inputs": null}}}', r"recommended\.semseg\.keep: .*: it is missing"),
    ],
)
def test_a_file_that_recommends_nothing_is_named(tmp_path, content, message):
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(UserError, match=rf"r\.json: {message}; run `tutelage affinity"):
        read_recommendations(tmp_path / "r.json")


@pytest.mark.parametrize("split_entry", [{"split": "val"}, {}])
def test_an_affinity_that_was_judged_on_validation_frames_is_refused_unless_told(make, affinity, split_entry):
    """The same frames judge the student. A file without a split is older than that option."""
    affinity.write_text(json.dumps(split_entry | {"recommended": {"semseg": SEMSEG, "depth": NONE}}))
    with pytest.raises(
        UserError, match=r"affinity\.json: split: was judged on validation frames, .*affinity_split=val"
    ):
        make("plain", "pseudo=auto")
    student = make("plain", "pseudo=auto", "affinity_split=val")
    assert student.config.pseudo.semseg.inputs == ["rgb", "depth"]
    assert student.teacher("semseg").config.affinity_split == "dev", "the student's alone"


def test_another_word_is_no_pseudo_label(make):
    with pytest.raises(
        UserError, match=r"command line: pseudo: .*; it means: Pseudo-labels by task; or `pseudo: auto`"
    ):
        make("plain", "pseudo=automatic")


def test_reasons_are_plain_lines(affinity):
    assert list(reasons(read_recommendations(affinity))) == [
        "pseudo-labels of semseg: from a teacher that sees rgb + depth (depth helps semseg: +31.0 % (+12.1 to +49.9))",
        "pseudo-labels of depth: none (no frame lacks it and shows another task)",
    ]


def test_run_says_what_was_chosen_and_trains_it(make, affinity, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    student = make("plain", "pseudo=auto", "train.steps=2", "train.trace=false")
    result = run(student)
    assert result.pseudo_labels == {"semseg": 8}
    assert f"{affinity}: pseudo-labels of semseg: from a teacher that sees rgb + depth (depth helps" in caplog.text
    assert (student.folder.parents[1] / "plain-rgb-depth/seed-0/labels/train/MANIFEST.json").exists()


def test_another_recommendation_does_not_continue_the_same_run(make, affinity, monkeypatch):
    student = make("plain", "pseudo=auto", "train.steps=2")
    monkeypatch.setattr(stages, "_run", lambda experiment: None)
    run(student)
    claim(student)
    (student.checkpoints / "last").mkdir(parents=True)
    affinity.write_text(json.dumps({"split": "dev", "recommended": {"semseg": NONE, "depth": NONE}}))
    with pytest.raises(UserError, match=r"plain/seed-0: pseudo\.semseg\.holes: holds a run with False, not None"):
        run(Experiment(student.path, student.overrides))
