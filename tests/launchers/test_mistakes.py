"""Errors of users: one line that names file, key and hint, an exit status, and no traceback."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from launchers import inspect
from launchers.cli import main
from shards.errors import UserError


@pytest.fixture
def fails(capsys, monkeypatch):
    """``fails("train nowhere.yaml", pattern)``: status 1, one line on stderr with the pattern, no traceback."""
    monkeypatch.delenv("TUTELAGE_DEBUG", raising=False)

    def check(call: str, *parts: str) -> str:
        capsys.readouterr()
        assert main(call.split()) == 1
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("tutelage: ") and "Traceback" not in captured.out + captured.err
        for part in parts:
            assert part in line, line
        return line

    return check


def test_a_configuration_that_does_not_exist(fails, workdir):
    for command in ("train", "label", "evaluate", "run", "config"):
        fails(f"{command} studnet.yaml", "studnet.yaml: does not exist; did you mean student.yaml?")
    fails("picture studnet.yaml --out p.png", "studnet.yaml: does not exist")
    fails("picture val=3 --out p.png", "CONFIG: no configuration was given; name one or more")
    fails("report nowhere --out r.html", "nowhere: does not exist; run the experiment")
    fails("config", "CONFIG: no configuration was given")


RANK = """
import threading
from launchers import cli

def broken(arguments=None):
    threading.Thread(target=threading.Event().wait).start()  # Python's orderly end waits for it, for ever
    raise ZeroDivisionError("not foreseen")

cli.main = broken
cli.run()
"""


def test_a_rank_ends_at_once_after_an_error_that_nobody_foresaw():
    environment = os.environ | {"WORLD_SIZE": "2"}
    process = subprocess.run([sys.executable, "-c", RANK], env=environment, capture_output=True, text=True, timeout=30)
    assert process.returncode == 1 and process.stderr.endswith("ZeroDivisionError: not foreseen\n")


def test_a_mistyped_key(fails, workdir):
    fails("train student.yaml train.epoch=3", "command line: train.epoch: ", "did you mean train.epochs?")
    Path("teacher.yaml").write_text("sed: 3")
    fails("run student.yaml", "teacher.yaml: sed: is not an option; did you mean seed?")


def test_a_data_set_that_does_not_exist(fails, workdir):
    for command in ("train", "run"):
        fails(f"{command} teacher.yaml data.path=nowhere", "nowhere: data.path: is not a prepared data set; prepare")
    fails("inspect nowhere", "nowhere/MANIFEST.json: does not exist; make the data set with `tutelage prepare`")


def test_what_predict_and_export_cannot_do(fails, workdir):
    (Path("photos") / "more").mkdir(parents=True)
    fails("predict nowhere photos --out p", "nowhere: does not exist; correct the path, or give a run's checkpoints")
    fails("predict nowhere photos --out p --frames 0", "--frames: 0 frames; give 1 or more")
    fails("predict nowhere photos --out p --picture q.jpg", "--picture: q.jpg does not end in .png; name a .png file")
    fails(
        "predict nowhere photos --out p --picture photos/more/q.png", "would be one of the pictures in photos; choose"
    )
    fails("export nowhere --out network.onnx", "--out: network.onnx does not end in .pt2; name a .pt2 file")
    fails("export nowhere --out network.pt2 --size 96", "--size: '96' is not a size")
    assert not Path("p").exists()


def test_a_budget_larger_than_the_data(fails, workdir, dataset):
    line = fails(
        "train teacher.yaml labels.semseg=9", f"{dataset}/MANIFEST.json: labels.semseg: 9 frames, where 8 carry"
    )
    assert line.endswith("set it to 8 or less, or to null for all")


def test_an_empty_split(fails, workdir, scenes):
    assert main(f"prepare scenes only-val {' '.join(scenes)} --train 0".split()) == 0
    fails(
        "train teacher.yaml data.path=only-val",
        "only-val/MANIFEST.json: split 'train' is empty; it has the splits: val",
    )
    fails("inspect only-val --picture p.png", "split 'train' is empty")
    fails("inspect only-val --picture p.png --split test", "split 'test' is empty")


def test_a_mat_file_that_is_no_hdf5(fails, workdir):
    raw = workdir / "raw"
    raw.mkdir()
    fails("prepare nyudv2 raw out", "raw/classMapping40.mat")
    names = np.array(["wall", "floor"], dtype=object)
    scipy.io.savemat(raw / "classMapping40.mat", {"className": names, "mapClass": np.array([[1, 2]])})
    scipy.io.savemat(raw / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    (raw / "nyu_depth_v2_labeled.mat").write_bytes(b"MATLAB 5.0 MAT-file, not the one that was asked for")
    fails("prepare nyudv2 raw out", "raw/nyu_depth_v2_labeled.mat: is not an HDF5 file", "download it")
    assert not Path("out").exists()


def test_sources_that_are_not_there(fails, workdir):
    fails("prepare cityscapes nowhere out", "nowhere")
    fails("prepare folder nowhere out", "nowhere")


def test_options_of_prepare_out_of_range(fails, workdir):
    fails("prepare scenes out --size big", "--size: 'big' is not a size; write HEIGHTxWIDTH")
    fails("prepare scenes out --size 8001x8000", "--size: 8001x8000 pixels are over the limit of 64000000")
    fails("prepare scenes out --jobs 0", "--jobs: 0 processes; give 1 or more")
    fails("prepare scenes out --window 5", "--window: applies only to normals; give --normals too")
    fails("prepare scenes out --normals --window 4", "--window: 4 pixels; give an odd number from 3 up")
    fails("prepare scenes out --samples-per-shard 0", "--samples-per-shard: 0 samples per shard; give 1 or more")
    fails("prepare scenes out --train -1", "give 0 or more")
    fails("prepare scenes out --train 0 --val 0", "no frames were found")
    Path("file").write_text("mine")
    fails("prepare scenes file", "file: is a file; give a folder")
    fails("prepare scenes .", "is not empty; give another folder")


def test_a_data_set_of_other_options_is_not_overwritten(fails, dataset, scenes):
    fails(f"prepare scenes {dataset} {' '.join(scenes)} --seed 1", "seed: holds a data set of other options; give")


def test_a_folder_without_dataset_yaml_names_the_options_in_its_place(fails, workdir):
    Path("raw/rgb").mkdir(parents=True)
    Path("raw/semseg").mkdir()
    Image.new("RGB", (8, 8)).save("raw/rgb/0.png")
    Image.new("L", (8, 8)).save("raw/semseg/0.png")
    fails("prepare folder raw out", "give the classes of semseg (--classes) or the scale of depth (--depth-scale)")
    fails("prepare folder raw out --classes 2", "or set val_fraction in dataset.yaml (--val-fraction)")


@pytest.fixture
def prepare_command(workdir):
    """The command that prepares four frames with labels of two classes, in a folder with files that are not frames."""
    for kind, mode in (("rgb", "RGB"), ("semseg", "L"), ("thermal", "L")):
        Path("raw", kind).mkdir(parents=True)
        for i in range(4):
            Image.new(mode, (8, 8)).save(f"raw/{kind}/{i}.png")
    Path("raw/rgb/Thumbs.db").touch()
    for name in ("8.png", "9.png"):
        shutil.copy("raw/semseg/0.png", f"raw/semseg/{name}")
    return "prepare folder raw out --val-fraction 0.5 --jobs 1 --classes"


def test_what_a_folder_holds_in_vain_is_said(prepare_command, capsys):
    assert main(f"{prepare_command} a,b".split()) == 0
    output = capsys.readouterr().out
    assert "rgb: left out, not an image: Thumbs.db\n" in output
    assert "semseg: left out, not a label of an image: 8.png and 1 more\n" in output
    assert "thermal: left out, as no declared task has the name of this folder\n" in output
    assert "nothing to do" not in output
    assert main(f"{prepare_command} a,b".split()) == 0
    assert "already prepared: nothing to do\n" in capsys.readouterr().out


def test_labels_that_came_later_are_not_passed_over(prepare_command, fails):
    Path("raw/semseg/3.png").rename("raw/later.png")
    assert main(f"{prepare_command} a,b".split()) == 0
    Path("raw/later.png").rename("raw/semseg/3.png")
    fails(
        f"{prepare_command} a,b", "out: files: the raw files have changed since they were prepared; give another folder"
    )


def test_classes_that_are_none(prepare_command, fails):
    fails(f"{prepare_command} ²", "--classes: '²'; give the number of classes, or their names")
    fails(f"{prepare_command} a,b,", "raw: tasks.semseg: a class has an empty name; name every class")
    fails(f"{prepare_command} 0", "raw: tasks.semseg: ")


def test_stages_out_of_order(fails, workdir):
    fails("evaluate teacher.yaml", "there is no last checkpoint; train it (`tutelage train CONFIG`)")
    fails("label teacher.yaml", "model.json: does not exist; train the network first")
    fails(
        "train student.yaml",
        "pseudo.semseg: the teacher has not labelled; label with it (`tutelage label teacher.yaml`)",
    )
    fails("table runs nowhere", "runs: holds no result.json; run the experiment")
    fails("picture teacher.yaml --out p.png", "train the network first")


def test_a_shard_that_was_damaged(fails, workdir, dataset):
    shutil.copytree(dataset, "copy")
    shard = Path("copy/train-000001.tar")
    shard.write_bytes(shard.read_bytes()[:-512])
    fails("inspect copy --verify", "copy/train-000001.tar: has ", "truncated or was replaced; copy the shard again")
    fails("train teacher.yaml data.path=copy", "copy/train-000001.tar: has ")


def test_a_precision_that_the_machine_lacks(fails, workdir):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    fails("train teacher.yaml train.precision=fp16", "train.precision: fp16 needs a GPU")


def test_bad_calls_show_the_usage(capsys):
    for call in ("", "fly", "train", "train a.yaml --fast", "inspect d --frames many", "inspect d key=value"):
        with pytest.raises(SystemExit) as caught:
            main(call.split())
        assert caught.value.code == 2
        assert "usage: tutelage" in capsys.readouterr().err


def test_debug_adds_the_traceback(workdir, capsys, monkeypatch):
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
        (UserError("broken\nin two lines", hint="mend it"), 1, "broken in two lines; mend it"),
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
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"tutelage: {line}")


def test_a_bug_keeps_its_traceback(monkeypatch):
    def fail(options):
        raise ValueError("a bug")

    monkeypatch.setattr(inspect, "inspect", fail)
    with pytest.raises(ValueError, match="a bug"):
        main(["inspect", "d"])


def test_a_process_fails_with_one_line(tmp_path, python):
    process = python("-m", "tutelage", "inspect", "nowhere", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (1, "")
    assert len(process.stderr.splitlines()) == 1 and process.stderr.startswith("tutelage: nowhere/MANIFEST.json: ")


def test_ctrl_c_ends_a_process_with_130(tmp_path):
    """While frames are rendered, after the first shard."""
    words = ["prepare", "scenes", str(tmp_path / "d"), "--train", "400", "--val", "2", "--size", "32x64"]
    words += ["--samples-per-shard", "4", "--jobs", "1"]
    call = [sys.executable, "-m", "tutelage", *words]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "d").glob("*.index.json")):
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "tutelage: interrupted; start the same command again to continue\n"
    assert not list((tmp_path / "d").glob(".*.tmp")) and not (tmp_path / "d/MANIFEST.json").exists()
