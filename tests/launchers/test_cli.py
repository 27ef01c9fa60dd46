"""The commands as a user types them: their arguments, effects and output."""

import argparse
import gc
import json
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.results.groups import collect
from launchers import cli
from launchers.cli import main
from shards.errors import OwnCodeError
from shards.manifest import Manifest
from trainer.configfile import load
from trainer.runs.lease import hold_lease
from trainer.weighting import weighting_of

COMMANDS = ["init", "prepare", "inspect", "train", "label", "evaluate", "run", "config", "grid", "curve", "status"]
COMMANDS += ["affinity", "predict", "export", "table", "toy", "picture", "report"]
SOURCES = ["scenes", "nyudv2", "cityscapes", "own", "folder"]


def test_a_process_ends_without_a_last_garbage_collection():
    with pytest.raises(SystemExit) as caught:
        cli.exit_process(3)
    assert caught.value.code == 3 and gc.get_freeze_count() > 1000
    gc.unfreeze()


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


def test_an_error_of_ones_own_code_has_a_hint_on_the_command_line(tiny_dataset, tmp_path, monkeypatch, capsys):
    """From Python the traceback shows it."""
    (tmp_path / "divides.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    overrides = ["loss.weighting=divides:Mine", f"data.path={tiny_dataset.folder}", "labels={semseg: 2, depth: 2}"]
    overrides += ["train.global_batch_size=2"]
    assert main(["train", "scenes/ummt", *overrides]) == 1
    message = "divides cannot be imported (ZeroDivisionError: division by zero)"
    assert capsys.readouterr().err.endswith(f"{message}; tutelage --debug shows where\n")
    assert main(["--debug", "train", "scenes/ummt", *overrides]) == 1
    assert capsys.readouterr().err.endswith(f"{message}\n")
    with pytest.raises(OwnCodeError, match=r"cannot be imported \(ZeroDivisionError: division by zero\)$"):
        weighting_of("divides:Mine", 2)


def test_commands_are_functions_that_exist():
    """The functions that the parser names are imported only when they are called."""

    def functions(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            for command in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
                yield from [command.get_default("command")] if command.get_default("command") else functions(command)

    targets = list(functions(cli.parser()))
    job_commands = ["begin", "end", "stages", "stop"]  # subcommands of `job`
    assert len(targets) == len(COMMANDS) - 1 + len(SOURCES) + len(job_commands)
    for module, function in (target.split(":") for target in targets):
        assert callable(getattr(import_module(module), function))


def test_an_old_name_of_a_command_is_told_the_new_one(capsys):
    for words in (["relate", "teacher.yaml"], ["--debug", "relate", "--seeds", "3"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        assert "there is no command relate: did you mean affinity?" in capsys.readouterr().err


def test_a_module_of_the_same_name_is_the_same_command(python):
    process = python("-m", "tutelage", "--help")
    assert process.returncode == 0 and process.stdout.startswith("usage: tutelage ")


@pytest.mark.parametrize(
    "command", ["config {place}/student.yaml", "config --keys", "inspect {dataset}", "table {place}"]
)
def test_commands_without_a_network_start_without_torch(command, workdir, dataset, python):
    (workdir / "result.json").write_text(json.dumps(RESULT))
    words = command.format(place=workdir, dataset=dataset).split()
    code = f"import sys; from launchers.cli import main; s = main({words!r}); print('torch' in sys.modules, s)"
    assert python("-c", code).stdout.splitlines()[-1] == "False 0"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("predict nowhere . --out p", "nowhere: does not exist"),
        ("predict model nowhere --out p", "nowhere: does not exist"),
        ("export . --out p.pt2", ".: holds no trained network"),
        ("report . nowhere --out r.html", "nowhere: does not exist"),
        ("picture nowhere.yaml --out p.png", "nowhere.yaml: does not exist"),
    ],
)
def test_wrong_paths_are_told_without_torch(command, message, workdir, python):
    Path("model").mkdir()
    Path("model/model.json").touch()
    words = command.split()
    code = f"import sys; from launchers.cli import main; s = main({words!r}); print('torch' in sys.modules, s)"
    process = python("-c", code)
    assert process.stdout.splitlines()[-1] == "False 1" and f"tutelage: {message}" in process.stderr


@pytest.mark.parametrize("command", ["status student.yaml", "grid . --rows student --seeds 1 --dry-run"])
def test_the_state_of_finished_runs_is_told_without_torch(command, done, python):
    code = (
        f"import sys; from launchers.cli import main; s = main({command.split()!r}); print('torch' in sys.modules, s)"
    )
    lines = python("-c", code).stdout.splitlines()
    assert lines[-1] == "False 0" and any("finished" in line for line in lines) and "pending" not in str(lines)


RESULT = {
    "experiment": "e",
    "dataset": "d",
    "seed": 0,
    "inputs": ["rgb"],
    "tasks": ["depth"],
    "labels": {"depth": 3},
    "pseudo_labels": {},
    "normalise": "labelled",
    "metrics": {"depth": {"rmse": 0.5}},
}


# What commands do


def test_prepare_makes_a_data_set_and_says_what_is_in_it(scenes, tmp_path, capsys):
    for _ in range(2):
        assert main(["prepare", "scenes", str(tmp_path / "d"), *scenes]) == 0, "a second call finds it finished"
        text = capsys.readouterr().out
        assert "scenes, 32x64" in text and "wall" in text and " m, mean " in text
    assert {name: Manifest.load(tmp_path / "d").samples(name) for name in ("train", "val")} == {"train": 8, "val": 4}


def test_prepare_waits_for_whoever_prepares_the_same(scenes, tmp_path):
    """For example the jobs of two teachers that both start without data."""
    (tmp_path / "d/.prepare").mkdir(parents=True)
    second = threading.Thread(target=main, args=(["prepare", "scenes", str(tmp_path / "d"), *scenes],))
    with hold_lease(tmp_path / "d/.prepare", "prepare"):
        second.start()
        second.join(1)
        assert [path.name for path in (tmp_path / "d").iterdir()] == [".prepare"]
    second.join()
    assert Manifest.load(tmp_path / "d").complete()


def test_prepare_waits_for_whoever_repairs_the_same(scenes, tmp_path):
    out = tmp_path / "d"
    assert main(["prepare", "scenes", str(out), *scenes]) == 0
    (out / "val-000000.tar").unlink()
    unfinished = out / ".val-000000.tar.other.tmp"
    unfinished.touch()
    second = threading.Thread(target=main, args=(["prepare", "scenes", str(out), *scenes],))
    with hold_lease(out / ".prepare", "prepare"):
        second.start()
        second.join(1)
        assert unfinished.exists() and not (out / "val-000000.tar").exists()
    second.join()
    assert Manifest.load(out).complete() and not unfinished.exists()


def test_prepare_cityscapes_takes_the_greatest_depth(tmp_path, capsys):
    camera = '{"extrinsic": {"baseline": 0.2}, "intrinsic": {"fx": 2560, "fy": 2560, "u0": 3, "v0": 2}}'
    stored = np.full((4, 6), 513, np.uint16)  # 2 pixels: 256 m
    stored[0] = 2561  # 10 pixels: 51.2 m
    for frame in ("train/ulm/ulm_000000_000019", "val/lindau/lindau_000000_000019"):
        for kind in ("leftImg8bit", "disparity", "camera"):
            (tmp_path / "raw" / kind / frame).parent.mkdir(parents=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"raw/leftImg8bit/{frame}_leftImg8bit.png")
        Image.fromarray(stored).save(tmp_path / f"raw/disparity/{frame}_disparity.png")
        (tmp_path / f"raw/camera/{frame}_camera.json").write_text(camera)
    measured = {}
    for name, options in {"default": [], "far": ["--max-depth", "300"], "near": ["--max-depth", "50"]}.items():
        arguments = ["prepare", "cityscapes", str(tmp_path / "raw"), str(tmp_path / name), "--jobs", "1", *options]
        assert main(arguments) == 0
        manifest = Manifest.load(tmp_path / name)
        measured[manifest.source["max_depth"]] = manifest.statistics["train"]["depth"]["pixels"]
    assert measured == {200: 6, 300: 24, 50: 0}
    assert main([*arguments[:-1], "600"]) == 1 and "--max-depth: 600" in capsys.readouterr().err


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
    assert "depth: left out, not a label of an image: 9.png" in capsys.readouterr().out
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
    assert Image.open(picture).height > 3 * 186 + 26  # three frames, and the names of the classes


def test_config_prints_the_resolved_whole(workdir, capsys):
    assert main(["config", "student.yaml", "seed=3", "train.lr=0.25"]) == 0
    text = capsys.readouterr().out
    assert "lr: 0.25" in text and "  # runs/scenes/student/seed-3\n" in text
    Path("printed.yaml").write_text(text)
    assert main(["config", "printed.yaml"]) == 0, "what is printed is a configuration"
    assert capsys.readouterr().out == text
    assert load("printed.yaml", ["seed=4", "run.root=r"]).run.path == "r/scenes/student/seed-4", "no frozen folder"
    assert main(["config", "student.yaml", "run.path=mine"]) == 0
    assert "  path: mine\n" in capsys.readouterr().out


def test_config_explains_every_key_and_needs_no_file(capsys):
    assert main(["config", "--keys"]) == 0
    text = capsys.readouterr().out
    assert "train.global_batch_size: Frames of an optimizer step" in text and "pseudo.TASK.teacher: " in text
    assert "(fp32; one of fp32, bf16, fp16)" in " ".join(text.split())


def test_run_does_everything_and_the_single_commands_find_it_done(done, capsys):
    assert main(["run", "student.yaml"]) == 0
    text = capsys.readouterr().out
    assert "student" in text and "4+4" in text and "written: runs/scenes/student/seed-0/result.json" in text
    for command, message in {"train": "trained: runs/", "label": "labels: runs/", "evaluate": "written: runs/"}.items():
        assert main([command, "teacher.yaml"]) == 0
        assert message in capsys.readouterr().out


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


def test_table_compares_whatever_is_asked_for(done, capsys):
    rows = {row.experiment: row.metrics["semseg"]["miou"] for row in collect(["runs"])}
    assert main(["table", "runs", "--format", "csv", "--compare", "student,teacher"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("student − teacher,mIoU")]
    difference = 100 * (rows["student"] - rows["teacher"])
    assert line.split(",")[2] == f"{difference:+.2f}".replace("-", "−") and line.endswith("undetermined: one seed")
    for pair in ("student", "student,", "student,nobody", "student,teacher,student"):
        assert main(["table", "runs", "--compare", pair]) == 1
        message = f"--compare: {pair} is not a pair of experiments; name two, such as student,teacher; there are"
        assert message in capsys.readouterr().err


def test_table_says_why_a_pair_is_not_compared(done, capsys):
    file = Path("runs/scenes/teacher/seed-0/result.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seed": 7}))
    note = "student − teacher: not compared, since they have no seed in common (0; 7)"
    assert main(["table", "runs", "--compare", "student,teacher"]) == 0
    assert note in capsys.readouterr().out
    assert main(["table", "runs", "--compare", "student,teacher", "--format", "csv"]) == 0
    assert f"tutelage: {note}" in capsys.readouterr().err


def test_table_shows_a_metric_that_is_asked_for(done, capsys):
    assert main(["table", "runs", "--format", "csv", "--metric", "depth=mae"]) == 0
    assert "rmse,rmse_log,mae" in capsys.readouterr().out
    assert main(["table", "runs", "--metric", "depth"]) == 1
    assert "--metric: no run has depth=; give one of" in capsys.readouterr().err


def test_report_writes_a_page_and_says_where(done, capsys):
    assert main(["report", "runs", "--out", "pages/report.html", "--frames", "1"]) == 0
    assert "wrote pages/report.html" in capsys.readouterr().out
    page = (done / "pages" / "report.html").read_text()
    assert page.startswith("<!doctype html>") and page.count("<article") == 1
    for command in ("tutelage run", "student.yaml", "teacher.yaml"):
        assert command in page


def test_picture_takes_overrides_anywhere(done):
    for words in (
        ["student.yaml", "teacher.yaml", "val=1", "--out", "a.png"],
        ["student.yaml", "--out", "b.png", "val=1"],
    ):
        assert main(["picture", *words]) == 0
    keys = [Image.open(name).height - (166 + 26) for name in ("a.png", "b.png")]
    assert all(height % 20 == 0 < height for height in keys), "one row, and a line for each meaning of colours"


def test_affinity_prints_gains_verdicts_and_what_follows(workdir, capsys):
    assert main(["affinity", "teacher.yaml", "--seeds", "1", "--samples", "4", "--out", "out", "train.steps=1"]) == 0
    output = capsys.readouterr().out
    assert "3 networks × 1 seed on 4 frames, judged on training frames that are set aside (1): out" in output
    assert "fix the number of seeds before you look" in " ".join(output.split())
    assert all(f" {pair} " in output for pair in ("semseg → depth", "depth → semseg"))
    assert "semseg and depth: undetermined: whether semseg helps depth takes more than one seed" in output
    assert "pseudo-labels of semseg: none (depth may help semseg: " in output
    affinity = json.loads(Path("out/affinity.json").read_text())
    assert affinity["samples"] == 4 and affinity["tasks"]["depth"]["labels"] == 8
    assert Image.open("out/affinity.png").width > 300
    assert main(["run", "student.yaml", "pseudo=auto", "affinity=out/affinity.json"]) == 0
    assert "out/affinity.json: pseudo-labels of depth: none (no frame lacks it" in capsys.readouterr().out


def test_prepare_adds_normals(scenes, tmp_path, capsys):
    assert main(["prepare", "scenes", str(tmp_path / "d"), *scenes, "--normals"]) == 0
    assert "normals train: " in capsys.readouterr().out
    manifest = Manifest.load(tmp_path / "d")
    assert manifest.task("normals").kind == "unit_vector" and manifest.source["normals"]["window"] == 3
    assert manifest.statistics["train"]["normals"]["pixels"] > 0.7 * 8 * 32 * 64
