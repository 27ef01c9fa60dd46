"""The commands as a user types them: what they print, and what a mistake looks like."""

import argparse
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from launchers import cli, inspect
from launchers.cli import main
from shards.errors import UserError
from shards.manifest import Manifest

SCENES = ["--train", "8", "--val", "4", "--size", "32x64", "--samples-per-shard", "4", "--jobs", "1"]
CONFIG = """
data: {name: scenes, path: DATASET, workers: 0}
labels: {semseg: 4, depth: 8}
model: {backbone: test_efficientnet}
train: {global_batch: 4, steps: 1}
"""
COMMANDS = ["prepare", "inspect", "train", "label", "evaluate", "run", "config", "table", "picture"]
SOURCES = ["scenes", "nyudv2", "cityscapes", "folder"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of four training frames, one of four validation frames. Nobody writes there."""
    path = tmp_path_factory.mktemp("data") / "scenes"
    assert main(["prepare", "scenes", str(path), *SCENES]) == 0
    return path


@pytest.fixture
def place(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``teacher.yaml`` and its ``student.yaml``."""
    monkeypatch.chdir(tmp_path)
    base = CONFIG.replace("DATASET", str(dataset))
    Path("teacher.yaml").write_text(base + "inputs: [rgb, depth]\n")
    Path("student.yaml").write_text(base + "pseudo: {semseg: {teacher: teacher.yaml}}\n")
    return tmp_path


@pytest.fixture(scope="session")
def ran(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of teacher and student. Nobody writes there."""
    folder = tmp_path_factory.mktemp("ran")
    base = CONFIG.replace("DATASET", str(dataset))
    (folder / "teacher.yaml").write_text(base + "inputs: [rgb, depth]\n")
    (folder / "student.yaml").write_text(base + "pseudo: {semseg: {teacher: teacher.yaml}}\n")
    assert main(["run", str(folder / "student.yaml"), f"run.root={folder / 'runs'}"]) == 0
    return folder / "runs"


@pytest.fixture
def done(ran: Path, place: Path) -> Path:
    """The working directory, with a copy of the runs."""
    shutil.copytree(ran, place / "runs")
    return place


def python(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    """A real process in the repository's environment."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TUTELAGE_DEBUG": ""}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, **options)


# Every command explains itself


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), *(["prepare", name] for name in SOURCES)])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: {' '.join(['tutelage', *command])}")
    if not command:
        assert all(f"\n    {name} " in text for name in COMMANDS)


def test_commands_are_functions_that_exist():
    """What the parser names is imported only when it is called."""

    def functions(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            for command in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
                yield from [command.get_default("command")] if command.get_default("command") else functions(command)

    found = list(functions(cli.parser()))
    assert len(found) == len(COMMANDS) - 1 + len(SOURCES)
    for module, function in (each.split(":") for each in found):
        assert callable(getattr(import_module(module), function))


def test_a_module_of_the_same_name_is_the_same_command():
    done = python("-m", "launchers", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: tutelage ")


@pytest.mark.parametrize(
    "command", ["config {place}/student.yaml", "config --keys", "inspect {dataset}", "table {place}"]
)
def test_commands_without_a_network_start_without_torch(command, place, dataset):
    (place / "result.json").write_text(json.dumps(RESULT))
    words = command.format(place=place, dataset=dataset).split()
    code = f"import sys; from launchers.cli import main; s = main({words!r}); print('torch' in sys.modules, s)"
    assert python("-c", code).stdout.splitlines()[-1] == "False 0"


RESULT = {
    "experiment": "e",
    "dataset": "d",
    "inputs": ["rgb"],
    "tasks": ["depth"],
    "labels": {"depth": 3},
    "pseudo_labels": {},
    "normalise": "labelled",
    "metrics": {"depth": {"rmse": 0.5}},
}


# What commands do


def test_prepare_makes_a_data_set_and_says_what_is_in_it(tmp_path, capsys):
    for _ in range(2):
        assert main(["prepare", "scenes", str(tmp_path / "d"), *SCENES]) == 0, "a second call finds it finished"
        text = capsys.readouterr().out
        assert "scenes, 32x64" in text and "wall" in text and " m, mean " in text
    assert {name: Manifest.load(tmp_path / "d").samples(name) for name in ("train", "val")} == {"train": 8, "val": 4}


def test_prepare_folder_takes_a_declaration_from_its_options(tmp_path, capsys):
    for name in ("rgb", "semseg", "depth"):
        (tmp_path / "raw" / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(6):
        frame = random.integers(0, 255, (32, 64, 3), dtype=np.uint8)
        Image.fromarray(frame).save(tmp_path / f"raw/rgb/{number}.png")
        Image.fromarray(random.integers(1, 4, (32, 64), dtype=np.uint8)).save(tmp_path / f"raw/semseg/{number}.png")
    Image.fromarray(random.integers(0, 9000, (32, 64)).astype(np.uint16)).save(tmp_path / "raw/depth/9.png")
    Image.fromarray(random.integers(0, 9000, (32, 64)).astype(np.uint16)).save(tmp_path / "raw/depth/0.png")
    options = [
        "--val-fraction",
        "0.34",
        "--classes",
        "a,b, c",
        "--offset",
        "1",
        "--depth-scale",
        "0.002",
        "--jobs",
        "1",
    ]
    assert main(["prepare", "folder", str(tmp_path / "raw"), str(tmp_path / "d"), "--name", "mine", *options]) == 0
    assert "depth: 1 files belong to no image and are left out" in capsys.readouterr().out
    manifest = Manifest.load(tmp_path / "d")
    assert manifest.name == "mine" and manifest.task("semseg").classes == ("a", "b", "c")
    assert manifest.task("depth").scale == 0.002 and manifest.samples("val") == 2
    assert main(["inspect", str(tmp_path / "d"), "--verify"]) == 0


def test_inspect_shows_verifies_and_draws(dataset, tmp_path, capsys):
    picture = tmp_path / "sheet.png"
    words = ["inspect", str(dataset), "--verify", "--picture", str(picture), "--frames", "3", "--split", "val"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "12 samples verified" in text and "semseg train:" in text and "depth val:" in text
    assert Image.open(picture).height == 3 * 166 + 26


def test_config_prints_the_resolved_whole(place, capsys):
    assert main(["config", "student.yaml", "seed=3", "train.lr=0.25"]) == 0
    text = capsys.readouterr().out
    assert "lr: 0.25" in text and "path: runs/scenes/student/seed-3" in text
    Path("printed.yaml").write_text(text)
    assert main(["config", "printed.yaml"]) == 0, "what is printed is a configuration"


def test_config_explains_every_key_and_needs_no_file(capsys):
    assert main(["config", "--keys"]) == 0
    text = capsys.readouterr().out
    assert "train.global_batch: Frames of an optimizer step" in text and "pseudo.TASK.teacher: " in text


def test_run_does_everything_and_the_single_commands_find_it_done(done, capsys):
    assert main(["run", "student.yaml"]) == 0
    text = capsys.readouterr().out
    assert "student" in text and "4+4" in text and "written: runs/scenes/student/seed-0/result.json" in text
    for command, said in {"train": "trained: runs/", "label": "labels: runs/", "evaluate": "written: runs/"}.items():
        assert main([command, "teacher.yaml"]) == 0
        assert said in capsys.readouterr().out


def test_evaluate_says_every_class(done, capsys):
    assert main(["evaluate", "student.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "student, last checkpoint:" and lines[1].startswith("  semseg: miou ")
    wall = next(line for line in lines if line.startswith("    wall: "))
    assert wall.startswith("    wall: IoU 0.")
    assert sum(line.startswith("    ") for line in lines) == 17


def test_label_says_what_is_kept_and_merges(done, capsys):
    assert main(["label", "teacher.yaml", "--merge", "merged", "label.threshold=0"]) == 0
    text = capsys.readouterr().out
    assert "semseg: 4 frames, 100.0% of the pixels above 0.0" in text
    assert "semseg lamp: " in text and "merged: merged" in text
    assert main(["inspect", "merged", "--verify"]) == 0
    assert "12 samples verified" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("style", "start"), [("text", "experiment"), ("md", "| experiment | "), ("csv", "experiment,")]
)
def test_table_in_every_format(done, capsys, style, start):
    assert main(["table", "runs", "--format", style]) == 0
    text = capsys.readouterr().out
    assert text.lstrip().startswith(start) and "student" in text and "RGB+D" in text


def test_picture_takes_overrides_anywhere(done):
    for words in (
        ["student.yaml", "teacher.yaml", "val=1", "--out", "a.png"],
        ["student.yaml", "--out", "b.png", "val=1"],
    ):
        assert main(["picture", *words]) == 0
    assert Image.open("a.png").height == Image.open("b.png").height == 166 + 26


# What mistakes look like


@pytest.fixture
def fails(capsys, monkeypatch):
    """``fails("train nowhere.yaml", pattern)``: status 1, one line on stderr that has the pattern, no traceback."""
    monkeypatch.delenv("TUTELAGE_DEBUG", raising=False)

    def check(call: str, *said: str) -> str:
        capsys.readouterr()
        assert main(call.split()) == 1
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("tutelage: ") and "Traceback" not in captured.out + captured.err
        for part in said:
            assert part in line, line
        return line

    return check


def test_a_configuration_that_does_not_exist(fails, place):
    for command in ("train", "label", "evaluate", "run", "config"):
        fails(f"{command} studnet.yaml", "studnet.yaml: does not exist; did you mean student.yaml?")
    fails("picture studnet.yaml --out p.png", "studnet.yaml: does not exist")
    fails("picture val=3 --out p.png", "CONFIG: no configuration was given; name one or more")
    fails("config", "CONFIG: no configuration was given")


def test_a_mistyped_key(fails, place):
    fails("train student.yaml train.epoch=3", "command line: train.epoch: ", "did you mean train.epochs?")
    Path("teacher.yaml").write_text("sed: 3")
    fails("run student.yaml", "teacher.yaml: sed: is no such option; did you mean seed?")


def test_a_data_set_that_does_not_exist(fails, place):
    for command in ("train", "run"):
        fails(f"{command} teacher.yaml data.path=nowhere", "nowhere: data.path: is no prepared data set; prepare")
    fails("inspect nowhere", "nowhere/MANIFEST.json: does not exist; make the data set with `tutelage prepare`")


def test_a_budget_larger_than_the_data(fails, place, dataset):
    line = fails(
        "train teacher.yaml labels.semseg=9", f"{dataset}/MANIFEST.json: labels.semseg: 9 frames, where 8 carry"
    )
    assert line.endswith("set it to 8 or less, or to null for all")


def test_an_empty_split(fails, place):
    assert main(f"prepare scenes only-val {' '.join(SCENES)} --train 0".split()) == 0
    fails(
        "train teacher.yaml data.path=only-val",
        "only-val/MANIFEST.json: split 'train' is empty; it has the splits: val",
    )
    fails("inspect only-val --picture p.png", "split 'train' is empty")
    fails("inspect only-val --picture p.png --split test", "split 'test' is empty")


def test_a_mat_file_that_is_no_hdf5(fails, place):
    raw = place / "raw"
    raw.mkdir()
    fails("prepare nyudv2 raw out", "raw/classMapping40.mat")
    names = np.array(["wall", "floor"], dtype=object)
    scipy.io.savemat(raw / "classMapping40.mat", {"className": names, "mapClass": np.array([[1, 2]])})
    scipy.io.savemat(raw / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    (raw / "nyu_depth_v2_labeled.mat").write_bytes(b"MATLAB 5.0 MAT-file, not the one that was asked for")
    fails("prepare nyudv2 raw out", "raw/nyu_depth_v2_labeled.mat: is no HDF5 file", "download it")
    assert not Path("out").exists()


def test_sources_that_are_not_there(fails, place):
    fails("prepare cityscapes nowhere out", "nowhere")
    fails("prepare folder nowhere out", "nowhere")


def test_options_of_prepare_out_of_range(fails, place):
    fails("prepare scenes out --size big", "--size: 'big' is no size; write HEIGHTxWIDTH")
    fails("prepare scenes out --jobs 0", "--jobs: 0 processes; give 1 or more")
    fails("prepare scenes out --samples-per-shard 0", "--samples-per-shard: 0 samples a shard; give 1 or more")
    fails("prepare scenes out --train -1", "give 0 or more")
    fails("prepare scenes out --train 0 --val 0", "no frames were found")
    Path("file").write_text("mine")
    fails("prepare scenes file", "file: is a file; give a folder")
    fails("prepare scenes .", "is not empty; give another folder")


def test_a_data_set_of_other_options_is_not_overwritten(fails, dataset):
    fails(f"prepare scenes {dataset} {' '.join(SCENES)} --seed 1", "prepared with other options; give another folder")


def test_stages_out_of_order(fails, place):
    fails("evaluate teacher.yaml", "there is no last checkpoint; train it (`tutelage train CONFIG`)")
    fails("label teacher.yaml", "model.json: does not exist; train the network first")
    fails(
        "train student.yaml",
        "pseudo.semseg: the teacher has not labelled; label with it (`tutelage label teacher.yaml`)",
    )
    fails("table runs nowhere", "holds no result.json; run the experiment")
    fails("picture teacher.yaml --out p.png", "train the network first")


def test_a_shard_that_was_damaged(fails, place, dataset):
    shutil.copytree(dataset, "copy")
    shard = Path("copy/train-000001.tar")
    shard.write_bytes(shard.read_bytes()[:-512])
    fails("inspect copy --verify", "copy/train-000001.tar: has ", "truncated or was replaced; copy the shard again")
    fails("train teacher.yaml data.path=copy", "copy/train-000001.tar: has ")


def test_a_precision_that_the_machine_lacks(fails, place):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    fails("train teacher.yaml train.precision=fp16", "train.precision: fp16 needs a GPU")


def test_bad_calls_show_the_usage(capsys):
    for call in ("", "fly", "train", "train a.yaml --fast", "inspect d --frames many", "inspect d key=value"):
        with pytest.raises(SystemExit) as caught:
            main(call.split())
        assert caught.value.code == 2
        assert "usage: tutelage" in capsys.readouterr().err


def test_debug_adds_the_traceback(place, capsys, monkeypatch):
    for words in (["--debug", "inspect", "nowhere"], ["inspect", "nowhere", "--debug"]):
        assert main(words) == 1
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith("Traceback") and lines[-1].startswith("tutelage: nowhere/MANIFEST.json: does not")
    monkeypatch.setenv("TUTELAGE_DEBUG", "1")
    assert main(["inspect", "nowhere"]) == 1
    assert capsys.readouterr().err.startswith("Traceback")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("broken\nin two lines", cure="mend it"), 1, "broken in two lines; mend it"),
        (KeyboardInterrupt(), 130, "interrupted; start the same command again to continue"),
        (OSError(errno.ENOSPC, "No space left on device", "/d/x.tar"), 1, "/d/x.tar: no space left; free some"),
        (PermissionError(errno.EACCES, "Permission denied", "/d"), 1, "/d: Permission denied"),
    ],
)
def test_what_a_command_raises_is_a_line_and_a_status(monkeypatch, capsys, error, status, line):
    def fail(options):
        raise error

    monkeypatch.setattr(inspect, "inspect", fail)
    assert main(["inspect", "d"]) == status
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tutelage: {line}")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(options):
        raise ValueError("a bug")

    monkeypatch.setattr(inspect, "inspect", fail)
    with pytest.raises(ValueError, match="a bug"):
        main(["inspect", "d"])


def test_a_process_fails_with_one_line(tmp_path):
    done = python("-m", "launchers", "inspect", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("tutelage: nowhere/MANIFEST.json: ")


def test_ctrl_c_ends_a_process_with_130(tmp_path):
    """While frames are rendered, after the first shard."""
    words = ["prepare", "scenes", str(tmp_path / "d"), "--train", "400", "--val", "2", "--size", "32x64"]
    words += ["--samples-per-shard", "4", "--jobs", "1"]
    call = [sys.executable, "-m", "launchers", *words]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "d").glob("*.index.json")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "tutelage: interrupted; start the same command again to continue\n"
    assert not list((tmp_path / "d").glob(".*.tmp")) and not (tmp_path / "d/MANIFEST.json").exists()
