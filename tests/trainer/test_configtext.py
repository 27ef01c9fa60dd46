"""Options that are text keep what was written."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from shards.errors import UserError
from trainer.configfile import load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("data: {path: o}\npseudo: {semseg: {teacher: t.yaml}}\n")
    return path


READ_AS_OTHERS = ["007", "1.10", "1e-4", "no", "on", "2024_01_05", "2024-01-05", "12:30:45", "0x1F", ".inf", "a: b"]


@pytest.mark.parametrize("text", [*READ_AS_OTHERS, "my data #2", "[a]", "größe", "a=b"])
@pytest.mark.parametrize("key", ["experiment", "data.path", "data.name", "pseudo.semseg.teacher"])
def test_an_override_of_text_is_that_text(key, text, file):
    assert OmegaConf.select(load(file, [f"{key}={text}"]), key) == text


@pytest.mark.parametrize("text", READ_AS_OTHERS[:-1])
def test_text_in_a_file_is_as_it_is_written_there(text, file):
    file.write_text(f"experiment: {text}\ndata: {{path: {text}}}\ntasks: [depth, {text}]\nlabels: {{{text}: 5}}\n")
    config = load(file)
    assert (config.experiment, config.data.path, config.tasks[1], dict(config.labels)) == (text, text, text, {text: 5})


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("experiment='007'", "experiment", "007"),
        ("data.size=null", "data.size", None),
        ("affinity=~", "affinity", None),
        ("inputs=[rgb, 007, no]", "inputs", ["rgb", "007", "no"]),
        ("labels={no: 1}", "labels", {"no": 1}),
        ("data={path: 010}", "data.path", "010"),
        ("model.pretrained=010", "model.pretrained", "010"),
        ("model.pretrained=true", "model.pretrained", True),
        ("model.pretrained=package", "model.pretrained", "package"),
        ("checkpoint.every=30m", "checkpoint.every", "30m"),
        ("checkpoint.every=7", "checkpoint.every", 7),
        ("train.lr=1e-3", "train.lr", 0.001),
        ("train.steps=null", "train.steps", None),
        ("run.path=${run.root}/${seed}", "run.path", "runs/0"),
    ],
)
def test_other_values_are_yaml(override, key, value, file):
    config = load(file, [override])
    assert OmegaConf.to_container(config, resolve=True) and OmegaConf.select(config, key) == value


def test_a_home_folder_is_expanded(file, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    file.write_text("data: {path: ~/d}\npseudo: {semseg: {teacher: ~/t.yaml}}\nassignment: ~/a.txt\n")
    config = load(file, ["run.root=~/runs", "model.pretrained=~/w.safetensors"])
    assert (config.data.path, config.assignment) == ("/home/me/d", "/home/me/a.txt")
    assert config.pseudo.semseg.teacher == "/home/me/t.yaml"
    assert config.run.path.startswith("/home/me/runs/") and config.model.pretrained == "/home/me/w.safetensors"


def test_a_home_folder_that_there_is_not_is_refused(file):
    with pytest.raises(UserError, match=r"run\.root: ~nobody-here/r names a home folder"):
        load(file, ["run.root=~nobody-here/r"])
