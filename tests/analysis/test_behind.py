"""The runs behind label curves and affinities, which a table leaves out unless they are named."""

import json
import os
from pathlib import Path

import pytest
from labelcurves import label_curve

from analysis.behind import own_result_files
from launchers.cli import main

OWN = "runs/rooms/student"
CURVE = "runs/rooms/curve/semseg/student/curve.json"
BEHIND = ["runs/rooms/curve/semseg-4/rooms/student", "runs/rooms/curve/semseg-8/rooms/student"]
AFFINITY = "runs/rooms/affinity/affinity.json"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder ``runs`` with a run of one's own, and the two runs of a label curve."""
    monkeypatch.chdir(tmp_path)
    entry = {"dataset": "rooms", "inputs": ["rgb"], "tasks": ["semseg"], "labels": {"semseg": 4}, "pseudo_labels": {}}
    entry |= {"experiment": "student", "normalise": "labelled", "metrics": {"semseg": {"miou": 0.5}}}
    for folder, seed in ((OWN, 7), (BEHIND[0], 4), (BEHIND[1], 8)):
        Path(folder).mkdir(parents=True)
        Path(folder, "result.json").write_text(json.dumps(entry | {"seed": seed}))
    Path(CURVE).parent.mkdir(parents=True)
    entries = [{"folder": os.path.relpath(folder, Path(CURVE).parent)} for folder in BEHIND]
    Path(CURVE).write_text(json.dumps(label_curve(runs=entries).to_json()))


def folders(*paths: str) -> list[str]:
    return [os.path.relpath(file.parent) for file in own_result_files(paths)[0]]


@pytest.mark.usefixtures("runs")
def test_the_runs_behind_a_curve_are_left_out_unless_they_are_named():
    note = f"{CURVE}: its 2 runs are left out; name their folders to see them, such as runs/rooms/curve/semseg-4"
    assert folders("runs") == [OWN] and own_result_files(["runs"])[1] == [note]
    assert folders("runs", "runs/rooms/curve/semseg-4") == [OWN, BEHIND[0]]
    assert own_result_files(["runs", *BEHIND])[1] == []
    assert folders("runs/rooms/curve") == BEHIND, "where there are no others"


@pytest.mark.usefixtures("runs")
def test_the_runs_behind_an_affinity_are_left_out_unless_its_folder_is_named():
    Path(AFFINITY).parent.mkdir()
    Path(AFFINITY).touch()
    Path(AFFINITY).with_name("rgb").mkdir()
    Path(AFFINITY).with_name("rgb").joinpath("result.json").write_text("{}")
    assert folders("runs") == [OWN] and own_result_files(["runs"])[1][0].startswith(f"{AFFINITY}: its one run is left")
    assert folders("runs/rooms/affinity") == ["runs/rooms/affinity/rgb"]


@pytest.mark.usefixtures("runs")
def test_a_table_says_that_it_leaves_runs_out(capsys):
    assert main(["table", "runs"]) == 0
    output = capsys.readouterr().out
    assert output.count("student") == 2 and f"{CURVE}: its 2 runs are left out" in output
    assert main(["table", "runs", "--format", "csv"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("student") == 1 and captured.err.startswith(f"tutelage: {CURVE}: its 2 runs are left out")
