"""``tutelage curve``: its dry run, its output and files, and the jobs that it submits to a cluster."""

import json
import shlex
from pathlib import Path

import pytest

import trainer.stages
from launchers.cli import main
from shards.errors import UserError
from shards.pack import pack
from shards.sources.scenes import Scenes
from trainer.runs.status import Interrupted

CALL = ["curve", "student.yaml", "--labels", "4,6", "--seeds", "1"]


def lines(text: str) -> list[list[str]]:
    """The words of the lines that begin with a number of labels."""
    return [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in ("4", "6")]


def test_a_dry_run_says_what_would_be_run_and_leaves_nothing(workdir, capsys):
    before = set(workdir.rglob("*"))
    assert main([*CALL, "--dry-run", "train.steps=3"]) == 0
    rows = lines(capsys.readouterr().out)
    assert [words[:4] for words in rows] == [
        [count, name, teacher, "12"]
        for count in ("4", "6")
        for name, teacher in (("student-baseline", "–"), ("teacher", "–"), ("student", "teacher"))
    ]
    assert {" ".join(words[4:5]) for words in rows} == {"pending"}
    assert [words[-1] for words in rows[::3]] == [f"runs/scenes/curve/semseg-{count}" for count in (4, 6)]
    assert set(workdir.rglob("*")) == before


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_more_labels_than_there_are_is_said_at_once(workdir, capsys, options):
    """Also before smaller budgets are trained."""
    assert main(["curve", "student.yaml", "--labels", "4,6,900", "--seeds", "1", *options]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("tutelage: ") and captured.out == ""
    assert "--labels: 900 frames, where 8 carry the label; leave larger numbers out" in captured.err


def test_a_dry_run_needs_no_data(workdir, capsys):
    assert main([*CALL, "--dry-run", "data.path=nowhere"]) == 0
    assert len(lines(capsys.readouterr().out)) == 6


def test_it_runs_prints_and_writes(workdir, capsys):
    Path("base.yaml").write_text(
        Path("teacher.yaml").read_text().replace("test_efficientnet}", "test_efficientnet, decoder: heads}")
    )
    Path("umst-s.yaml").write_text("inherits: base.yaml\ninputs: [rgb]\ntasks: [semseg]\n")
    Path("teacher.yaml").write_text("inherits: base.yaml\ntasks: [semseg]\n")
    Path("student.yaml").write_text("inherits: umst-s.yaml\npseudo: {semseg: {teacher: teacher.yaml}}\n")
    assert main(CALL) == 0
    output = capsys.readouterr().out
    assert "6 of 6: semseg 6: student, seed 0" in output
    assert "mIoU umst-s" in output and "mIoU teacher (ceiling)" in output
    assert "mIoU: with 4 labels student is " in output and "; with 6 labels " in output
    folder = Path("runs/scenes/curve/semseg/student")
    assert sorted(path.name for path in folder.iterdir()) == ["curve.csv", "curve.json", "curve.png", "curve.svg"]
    assert f"written: {folder}/curve.json" in output
    assert main([*CALL, "--dry-run"]) == 0
    assert [words[4] for words in lines(capsys.readouterr().out)] == ["finished"] * 6
    assert main(["report", "runs", "--out", "report.html"]) == 0
    assert "student on scenes, by semseg labels" in Path("report.html").read_text()
    for note in Path("runs").rglob("data.json"):
        note.write_text(json.dumps(json.loads(note.read_text()) | {"data.path": "another hash"}))
    (folder / "curve.json").unlink()
    assert main(CALL) == 1
    captured = capsys.readouterr()
    assert [" ".join(words[4:6]) for words in lines(captured.out)][:6] == ["other data"] * 6
    assert captured.out.count("holds a run on other data") == 6 and "6 of 6 runs failed" in captured.err
    assert "written" not in captured.out and not (folder / "curve.json").exists()


def test_failures_are_told_at_the_end(workdir, capsys, monkeypatch):
    monkeypatch.setattr("trainer.stages.run", lambda cell: (_ for _ in ()).throw(ValueError("broken")))
    assert main(CALL) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith(
        "tutelage: 6 of 6 runs failed: semseg 4: student-baseline, seed 0; "
    )
    assert "semseg 4: student, seed 0 failed: its teacher failed (semseg 4: teacher, seed 0)" in captured.out
    assert not list(workdir.rglob("curve.*")), "of nothing"


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_fewer_labels_than_a_batch_has_frames_are_refused_at_once(workdir, capsys, options):
    assert main(["curve", "student.yaml", "--labels", "2,4", "--seeds", "1", *options]) == 1
    captured = capsys.readouterr()
    message = "--labels: teacher has 2 frames to train on, fewer than a batch of 4; leave smaller numbers out, or make"
    assert message in captured.err and captured.out == "" and not Path("runs").exists()


class Unlabelled(Scenes):
    """Validation frames without semseg."""

    def load(self, split, position):
        frame = super().load(split, position)
        if split == "val":
            del frame.labels["semseg"]
        return frame


def test_a_scarce_task_that_cannot_be_measured_is_refused_at_once(workdir, capsys):
    pack(Unlabelled(8, 4, (32, 64)), Path("unmeasured"), size=(32, 64))
    assert main([*CALL, "data.path=unmeasured"]) == 1
    error = capsys.readouterr().err
    assert "semseg: no frame of val shows semseg, so it cannot be measured; prepare such frames" in error


def test_a_curve_of_what_did_not_fail_is_written(workdir, capsys, monkeypatch):
    run = trainer.stages.run

    def fail(cell):
        if "semseg-6" in str(cell.folder) and cell.config.experiment == "teacher":
            raise UserError("broken")
        run(cell)

    monkeypatch.setattr("trainer.stages.run", fail)
    assert main([*CALL, "model.decoder=heads"]) == 1
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("tutelage: 2 of 6 runs failed: semseg 6: teacher, seed 0; ")
    assert "written: runs/scenes/curve/semseg/student/curve.json" in captured.out


def test_a_stop_is_no_failure(workdir, capsys, monkeypatch):
    def stop(cell):
        raise Interrupted("stopped")

    monkeypatch.setattr("trainer.stages.run", stop)
    assert main(CALL) == 130
    assert not list(workdir.rglob("curve.json"))


@pytest.mark.parametrize("text", ["", "2;4", "2,x", "0", "-3"])
def test_budgets_that_are_none_are_refused(workdir, capsys, text):
    assert main(["curve", "student.yaml", f"--labels={text}"]) == 1
    assert "--labels: " in capsys.readouterr().err and not Path("runs").exists()


def test_a_cluster_gets_each_student_and_baseline(workdir, capsys):
    Path("slurm").mkdir()
    Path("slurm/pipeline.sh").touch()
    assert main([*CALL, "--sbatch", "--dry-run", "train.lr=0.5"]) == 0
    calls = [line for line in capsys.readouterr().out.splitlines() if "pipeline" in line]
    baseline = "pseudo=null 'experiment=\"student-baseline\"' "
    assert calls == [
        f"slurm/pipeline.sh student.yaml train.lr=0.5 {extra}labels.semseg={count} seed=0 "
        f"'run.root=\"runs/scenes/curve/semseg-{count}\"'"
        for count in (4, 6)
        for extra in (baseline, "")
    ]


def test_a_site_with_a_folder_for_runs_is_not_given_another(workdir, capsys):
    """Its jobs would find the data under STORAGE, and put the curve's runs elsewhere."""
    Path("slurm").mkdir()
    Path("slurm/pipeline.sh").touch()
    Path("slurm/site.env").write_text("echo loading\nNAME=me\nSTORAGE=/scratch/$NAME/tutelage\n")
    call = [*CALL, "--sbatch", "--dry-run"]
    assert main(call) == 1
    error = capsys.readouterr().err
    assert "slurm/site.env: STORAGE: puts runs and data of jobs under /scratch/me/tutelage, where this command" in error
    places = "run.root=/scratch/me/tutelage/runs 'data.path=/scratch/me/tutelage/data/${data.name}'"
    assert f"add {places}, also without --sbatch" in error
    assert main([*call, *shlex.split(places)]) == 0
    assert "'run.root=\"/scratch/me/tutelage/runs/scenes/curve/semseg-4\"'" in capsys.readouterr().out
    assert main([*call, "run.root=runs"]) == 0, "it is where the user wants them"
