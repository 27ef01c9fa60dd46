"""``tutelage grid``: its dry run, its runs, and the jobs that it submits to a cluster."""

import json
import re
from pathlib import Path

import pytest

from launchers.cli import main
from trainer import stages

SCRIPT = """#!/bin/sh
echo "$@" >> submitted
case "$*" in *seed=1*) exit 1 ;; esac
"""


def lines(text: str, *words: str) -> list[list[str]]:
    """The words of the lines that begin with one of ``words``."""
    return [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in words]


def test_a_dry_run_says_what_would_be_run_and_leaves_nothing(workdir, capsys):
    before = set(workdir.rglob("*"))
    assert main(["grid", ".", "--seeds", "2", "--dry-run", "train.steps=3"]) == 0
    rows = lines(capsys.readouterr().out, "student", "teacher")
    assert rows == [["teacher", "–", "12", *["pending"] * 2], ["student", "teacher", "12", *["pending"] * 2]]
    assert set(workdir.rglob("*")) == before


def test_an_empty_list_of_rows_is_a_mistake_and_not_all_of_them(workdir, capsys):
    assert main(["grid", ".", "--rows", "", "--dry-run"]) == 1  # as from a script whose variable is not set
    assert ".yaml: does not exist" in capsys.readouterr().err


def test_finished_runs_are_kept_and_shown(done, capsys, monkeypatch):
    monkeypatch.setattr("trainer.trainstage.Trainer", lambda *_: pytest.fail("a finished run was trained again"))
    assert main(["grid", ".", "--seeds", "1"]) == 0
    output = capsys.readouterr().out
    assert output.count("finished") - output.count("(finished)") == 2 and "2 of 2: student, seed 0" in output
    assert re.search(r"train student: \S+ \(finished\)", output.replace("\n", "")), "what is skipped is told"
    assert [words[:3] for words in lines(output, "teacher")][-1] == ["teacher", "RGB+D", "S+D"]


def test_a_failure_is_told_at_the_end(done, capsys, monkeypatch):
    original = stages.run

    def fail(cell):
        if cell.config.experiment == "student":
            raise ValueError("broken")
        original(cell)

    monkeypatch.setattr("trainer.stages.run", fail)
    assert main(["grid", ".", "--seeds", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("tutelage: 1 of 2 runs failed: student, seed 0; see above why")


def test_runs_on_other_data_are_not_shown(done, capsys):
    for note in Path("runs").rglob("data.json"):
        note.write_text(json.dumps(json.loads(note.read_text()) | {"data.path": "another hash"}))
    assert main(["grid", ".", "--seeds", "1"]) == 1
    captured = capsys.readouterr()
    rows = lines(captured.out, "student", "teacher")
    assert [" ".join(words[3:]) for words in rows] == ["other data"] * 2 and "2 of 2 runs failed" in captured.err


def test_rows_that_see_other_numbers_of_samples_are_told(workdir, capsys):
    Path("longer.yaml").write_text("inherits: teacher.yaml\ntrain: {steps: 2}\n")
    assert main(["grid", ".", "--dry-run"]) == 0
    assert "rows differ in the samples" in capsys.readouterr().out
    assert main(["grid", ".", "--dry-run", "--rows", "student"]) == 0
    assert "rows differ in the samples" not in capsys.readouterr().out
    epochs = ["train.steps=null", "train.epochs=5"]
    assert main(["grid", ".", "--dry-run", "--rows", "student,teacher", *epochs]) == 0
    assert "in equal epochs, rows with more frames see more samples" in capsys.readouterr().out
    assert main(["grid", ".", "--dry-run", "--rows", "teacher", *epochs]) == 0
    assert "samples" not in re.sub("teacher +samples", "", capsys.readouterr().out), "it has nothing to differ from"


def test_a_cluster_gets_each_row_that_teaches_no_other(workdir, capsys):
    call = ["grid", ".", "--seeds", "2", "--sbatch", "train.lr=0.5"]
    assert main(call) == 1
    assert "slurm/pipeline.sh: does not exist; start this in a clone, or in a project" in capsys.readouterr().err
    Path("slurm").mkdir()
    Path("slurm/pipeline.sh").write_text(SCRIPT)
    Path("slurm/pipeline.sh").chmod(0o755)
    expected = [f"student.yaml train.lr=0.5 seed={seed}" for seed in (0, 1)]
    assert main([*call, "--dry-run"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if "pipeline" in line] == [
        f"slurm/pipeline.sh {arguments}" for arguments in expected
    ]
    assert not Path("submitted").exists()
    assert main(call) == 1, "the second was refused"
    assert Path("submitted").read_text().splitlines() == expected
    assert "not submitted: student, seed 1" in capsys.readouterr().err
