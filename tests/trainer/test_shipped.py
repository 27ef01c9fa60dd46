"""Shipped configurations by name: an existing path wins; for anything else the error suggests the nearest name."""

import shutil
from pathlib import Path

import pytest

from analysis.grid import folder_of
from shards.errors import UserError
from trainer import shipped
from trainer.configfile import load, teacher_call
from trainer.experiment import Experiment
from trainer.shipped import CONFIGS, ROOT, find, names, spelling


@pytest.fixture(autouse=True)
def working_directory(tmp_path, monkeypatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str = "data: {path: d}\n") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def test_every_file_has_a_name():
    assert names() == sorted(names()) and {"nyudv2/ummt-ps", "folder/base", "engine/fsdp2"} <= {*names()}
    assert "paper" not in names(), "it compares experiments, and is none"
    for name in names():
        assert find(name) == CONFIGS / f"{name}.yaml"
        assert spelling(find(name)) == name


@pytest.mark.parametrize("spelt", ["nyudv2/ummt-ps", "nyudv2/ummt-ps.yaml", "configs/nyudv2/ummt-ps.yaml"])
def test_a_name_may_be_spelt_as_the_path_in_a_clone(spelt):
    assert find(spelt) == CONFIGS / "nyudv2/ummt-ps.yaml"
    config = load(spelt)
    assert config.experiment == "ummt-ps" and config.data.path == "data/nyudv2", "relative to the working directory"


@pytest.mark.parametrize("spelt", ["nyudv2/ummt-ps", "nyudv2/ummt-ps.yaml", "configs/nyudv2/ummt-ps.yaml"])
def test_what_exists_is_a_path_whatever_else_it_names(spelt):
    write(spelt, "data: {path: mine}\n")
    assert find(spelt) == Path(spelt) and load(spelt).data.path == "mine"


def test_a_hidden_one_is_not_spelt_by_its_name():
    path = find("nyudv2/ummt-ps")
    write("nyudv2/ummt-ps")
    assert spelling(path) == str(path)


def test_in_a_clone_paths_are_short(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert str(find("nyudv2/ummt-ps")) == "configs/nyudv2/ummt-ps.yaml" == spelling(find("nyudv2/ummt-ps"))
    assert str(folder_of("nyudv2")) == "configs/nyudv2"


def test_what_is_neither_is_told_names_and_files_that_are_near():
    write("mine/student.yaml")
    for wrong, right in {
        "mine/studnet.yaml": "did you mean mine/student.yaml?",
        "mine/student": "did you mean mine/student.yaml?",
        "nyudv2/umt-ps": "did you mean nyudv2/ummt-ps?",
        "configs/nyudv2/ummt-psx.yaml": "did you mean nyudv2/ummt-ps?",
        "quite/another": "or the name of a shipped one (`tutelage config --list`)",
    }.items():
        with pytest.raises(UserError) as error:
            find(wrong)
        assert str(error.value).startswith(f"{wrong}: does not exist; ") and right in str(error.value)


@pytest.mark.parametrize("folder", ["mine", "nyudv2", "configs/nyudv2"])
def test_a_folder_is_not_a_configuration(folder):
    write("mine/student.yaml")
    example = "mine/student.yaml" if folder == "mine" else "nyudv2/umst-s"
    with pytest.raises(UserError, match=f"{folder}: is a folder; name one of its configurations, such as {example}"):
        load(folder)


def test_a_folder_of_rows_by_name():
    assert folder_of("nyudv2") == folder_of("configs/nyudv2") == CONFIGS / "nyudv2"
    write("configs/mine/ummt.yaml")
    assert folder_of("mine") == Path("configs/mine")
    write("nyudv2/own.yaml")
    assert folder_of("nyudv2") == Path("nyudv2"), "a path wins"
    with pytest.raises(UserError, match=r"scnes: is not a folder of configurations; did you mean scenes\?"):
        folder_of("scnes")


def test_a_file_inherits_and_is_taught_by_shipped_ones(tmp_path):
    text = "inherits: [nyudv2/base, own.yaml]\npseudo: {semseg: {teacher: nyudv2/mmmt-d}}\n"
    path = write("mine/student.yaml", text)
    write("mine/own.yaml", "seed: 3\n")
    config = load(path)
    assert dict(config.labels) == {"semseg": 250, "depth": 500} and config.seed == 3
    assert config.pseudo.semseg.teacher == str(CONFIGS / "nyudv2/mmmt-d.yaml")
    teacher = load(*teacher_call(config, "semseg", []))
    assert list(teacher.inputs) == ["rgb", "depth"]
    write("mine/nyudv2/mmmt-d", "data: {path: d}\n")
    assert load(path).pseudo.semseg.teacher == "mine/nyudv2/mmmt-d", "beside the file that names it, a path wins"
    write("mine/student.yaml", "inherits: nyudv2/bsae\n")
    with pytest.raises(UserError, match=r"mine/nyudv2/bsae: does not exist; did you mean nyudv2/base\?"):
        load(path)


def test_commands_are_said_by_name():
    student = Experiment("scenes/ummt-ps", ["seed=1"])
    assert student.command == ["tutelage", "run", "scenes/ummt-ps", "seed=1"]
    assert student.teacher("semseg").spelling == "scenes/mmmt-d"
    write("own.yaml")
    assert Experiment("own.yaml").command == ["tutelage", "run", "own.yaml"]


def test_settings_of_deepspeed_are_found_as_a_clone_spells_them(monkeypatch):
    from trainer import runtime

    for name, expected in {"configs/engine/zero2.json": f"{CONFIGS}/engine/zero2.json", "own.json": "own.json"}.items():
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", name)
        runtime._find_settings()
        assert runtime.os.environ["ACCELERATE_DEEPSPEED_CONFIG_FILE"] == expected
    shutil.copytree(CONFIGS / "engine", "configs/engine")
    assert shipped.resolve("configs/engine/zero2.json") == Path("configs/engine/zero2.json")
