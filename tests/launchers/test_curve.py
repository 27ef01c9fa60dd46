"""``tutelage curve``: what it says before it starts, what it prints and writes, and what it hands to a cluster."""

from pathlib import Path

import pytest

from launchers.cli import main
from trainer.runs.status import Interrupted

CALL = ["curve", "student.yaml", "--labels", "4,6", "--seeds", "1"]


def lines(text: str) -> list[list[str]]:
    """The words of the lines that begin with a number of labels."""
    return [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in ("4", "6")]


def test_a_dry_run_says_what_would_be_run_and_leaves_nothing(place, capsys):
    before = set(place.rglob("*"))
    assert main([*CALL, "--dry-run", "train.steps=3"]) == 0
    said = lines(capsys.readouterr().out)
    assert [words[:4] for words in said] == [
        [count, name, teacher, "12"]
        for count in ("4", "6")
        for name, teacher in (("student-baseline", "–"), ("teacher", "–"), ("student", "teacher"))
    ]
    assert {" ".join(words[4:5]) for words in said} == {"pending"}
    assert [words[-1] for words in said[::3]] == [f"runs/scenes/curve/semseg-{count}" for count in (4, 6)]
    assert set(place.rglob("*")) == before


def test_it_runs_prints_and_writes(place, capsys):
    Path("base.yaml").write_text(
        Path("teacher.yaml").read_text().replace("test_efficientnet}", "test_efficientnet, decoder: heads}")
    )
    Path("umst-s.yaml").write_text("inherits: base.yaml\ninputs: [rgb]\ntasks: [semseg]\n")
    Path("teacher.yaml").write_text("inherits: base.yaml\ntasks: [semseg]\n")
    Path("student.yaml").write_text("inherits: umst-s.yaml\npseudo: {semseg: {teacher: teacher.yaml}}\n")
    assert main(CALL) == 0
    said = capsys.readouterr().out
    assert "6 of 6: semseg 6: student, seed 0" in said
    assert "mIoU umst-s" in said and "mIoU teacher (ceiling)" in said
    assert "mIoU: with 4 labels student is " in said and "; with 6 labels " in said
    folder = Path("runs/scenes/curve/semseg/student")
    assert sorted(path.name for path in folder.iterdir()) == ["curve.csv", "curve.json", "curve.png", "curve.svg"]
    assert f"written: {folder}/curve.json" in said
    assert main([*CALL, "--dry-run"]) == 0
    assert [words[4] for words in lines(capsys.readouterr().out)] == ["finished"] * 6
    assert main(["report", "runs", "--out", "report.html"]) == 0
    assert "student on scenes, by semseg labels" in Path("report.html").read_text()


def test_failures_are_told_at_the_end(place, capsys, monkeypatch):
    monkeypatch.setattr("trainer.stages.run", lambda cell: (_ for _ in ()).throw(ValueError("broken")))
    assert main(CALL) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("tutelage: 6 of 6 runs failed: semseg 4: student-baseline, seed 0; ")
    assert "semseg 4: student, seed 0 failed: its teacher failed (semseg 4: teacher, seed 0)" in said.out
    assert not list(place.rglob("curve.*")), "of nothing"


def test_a_curve_of_what_did_not_fail_is_written(place, capsys):
    """Two frames do not fill the batch of four."""
    assert main(["curve", "student.yaml", "--labels", "2,4", "--seeds", "1", "model.decoder=heads"]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1].startswith("tutelage: 2 of 6 runs failed: semseg 2: teacher, seed 0; ")
    assert "written: runs/scenes/curve/semseg/student/curve.json" in said.out


def test_a_stop_is_no_failure(place, capsys, monkeypatch):
    def stop(cell):
        raise Interrupted("stopped")

    monkeypatch.setattr("trainer.stages.run", stop)
    assert main(CALL) == 130
    assert not list(place.rglob("curve.json"))


@pytest.mark.parametrize("text", ["", "2;4", "2,x", "0", "-3"])
def test_budgets_that_are_none_are_refused(place, capsys, text):
    assert main(["curve", "student.yaml", f"--labels={text}"]) == 1
    assert "--labels: " in capsys.readouterr().err and not Path("runs").exists()


def test_a_cluster_gets_each_student_and_baseline(place, capsys):
    Path("slurm").mkdir()
    Path("slurm/pipeline.sh").touch()
    assert main([*CALL, "--sbatch", "--dry-run", "train.lr=0.5"]) == 0
    calls = [line for line in capsys.readouterr().out.splitlines() if "pipeline" in line]
    own = "pseudo=null 'experiment=\"student-baseline\"' "
    assert calls == [
        f"slurm/pipeline.sh student.yaml train.lr=0.5 {extra}labels.semseg={count} seed=0 "
        f"'run.root=\"runs/scenes/curve/semseg-{count}\"'"
        for count in (4, 6)
        for extra in (own, "")
    ]
