"""Experiments of configurations that are created in Python: equal to those of files, with the same errors."""

from pathlib import Path
from typing import Any

import pytest

import tutelage as tt
from shards.errors import UserError
from trainer.config import Config
from trainer.configfile import load
from trainer.experiment import Experiment
from trainer.runs.folder import claim
from trainer.sections import Data, Model, Pseudo, Run, Train

FILE = """
experiment: mine
seed: 3
tasks: [semseg]
data: {name: d, path: data/d}
labels: {semseg: 8}
train: {steps: 5, lr: 1.0e-3}
pseudo: {semseg: {teacher: t.yaml, keep: 50 %}}
"""


def config(**options: Any) -> Config:
    return Config(**{"experiment": "mine", "data": Data(name="d", path="data/d")} | options)


def test_it_is_that_of_a_file_with_the_same_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(FILE.replace("t.yaml", f"{tmp_path}/t.yaml"))
    pseudo = {"semseg": Pseudo("t.yaml", keep="50 %")}
    configuration = config(seed=3, tasks=["semseg"], labels={"semseg": 8}, train=Train(steps=5, lr=1e-3), pseudo=pseudo)
    experiment = tt.Experiment(config=configuration)
    assert experiment.config == load("mine.yaml")
    assert experiment.folder == Path("runs/d/mine/seed-3")
    assert Experiment(config=configuration, overrides=["seed=4"]).config == load("mine.yaml", ["seed=4"])
    assert Experiment(config=experiment.config).config == experiment.config
    assert configuration.run.path == Run().path, "the argument is unchanged"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"experiment": "???"}, "Config: experiment: is not set; it means: "),
        ({"data": Data()}, "Config: data.path: is not set; it means: "),
        ({"data": "data/d"}, "Config: data: data/d is a str, not a section of options"),
        ({"data": {"paht": "d"}}, "Config: data.paht: is not an option; did you mean data.path"),
        ({"seed": "two"}, "Config: seed: 'two' is not an integer; "),
        ({"train": Train(lr=object())}, "Config: train.lr: Value 'object' is not a supported primitive type; "),  # type: ignore[arg-type]
        ({"train": Train(steps=0)}, "Config: train.steps: 0 is less than 1; give 1 or more"),
        ({"model": Model(name="unet")}, "Config: model.name: 'unet' is unknown; use mtinet"),
        ({"run": Run(path="${run.rooot}")}, "Config: run.path: Interpolation key 'run.rooot' not found"),
        ({"pseudo": {"normals": Pseudo("t.yaml")}}, "Config: pseudo.normals: pseudo-labels of normals, which is none"),
        ({"pseudo": "auto"}, "Config: pseudo: the teacher is described by its student's file"),
    ],
)
def test_errors_name_the_key(options, message):
    with pytest.raises(UserError) as error:
        Experiment(config=config(**options))
    assert str(error.value).startswith(message)


def test_an_experiment_has_one_configuration(tmp_path):
    for arguments in ({}, {"path": tmp_path / "c.yaml", "config": config()}, {"path": config()}):
        with pytest.raises(UserError, match="either a path or a config"):
            Experiment(**arguments)


def test_its_teachers_and_its_command_are_found(configs, monkeypatch, scenes_dataset, tmp_path):
    """A teacher is found relative to the working directory; the command reads the configuration in the run's folder."""
    monkeypatch.chdir(configs)
    data = Data(name="scenes", path=str(scenes_dataset.folder))
    pseudo = {"semseg": Pseudo("teacher.yaml")}
    student = Experiment(config=config(data=data, pseudo=pseudo, run=Run(root=str(tmp_path))), overrides=["seed=1"])
    teacher = student.teacher("semseg")
    assert teacher.folder == Path("runs/scenes/teacher/seed-1") and teacher.path == configs / "teacher.yaml"
    claim(student)
    tutelage, run, file, *overrides = student.command
    assert (tutelage, run) == ("tutelage", "run")
    assert Experiment(file, overrides).config == student.config
