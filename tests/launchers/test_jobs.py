"""``tutelage job``: may a stage start, how did it end, stop its ranks; ``tutelage status``: the state of every job."""

import json
import signal
import time
from pathlib import Path

import pytest
from ranks import start

from launchers.cli import main
from launchers.stage import Stage
from trainer.experiment import Experiment
from trainer.runs import status
from trainer.runs.folder import claim

RUN = Path("runs/scenes/teacher/seed-0")


@pytest.fixture
def ask(workdir, monkeypatch, capsys):
    """``ask("begin", "train")``: the answer and the exit status, for the teacher in the job with id 7."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def ask(question: str, stage: str, *overrides: str) -> tuple[str, int]:
        code = main(["job", question, stage, "teacher.yaml", *overrides])
        return capsys.readouterr().out.strip(), code

    return ask


def write_status(state: str, reason: str | None = None, job: str = "7") -> None:
    """Write the status file of the run as a rank would."""
    entry = {
        "stage": "train",
        "state": state,
        "why": reason,
        "host": "n",
        "process": 1,
        "job": job,
        "began": f"{time.time()}",
    }
    (RUN / status.NAME).write_text(json.dumps(entry))


def checkpoint_at(step: int) -> None:
    folder = RUN / f"checkpoints/step-{step:08d}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")


def test_what_is_finished_is_not_started(done, ask):
    for stage in ("train", "label", "evaluate"):
        assert ask("begin", stage) == ("finished", 0)


def test_an_end_is_judged_by_what_is_there_and_what_was_said(ask):
    assert ask("begin", "train") == ("start", 0)
    assert ask("end", "train") == ("again", 0), "killed before it could say anything"
    for state in (status.RUNNING, status.INTERRUPTED, status.CRASHED):
        write_status(state)
        assert ask("end", "train") == ("again", 0)
    write_status(status.FAILED, "of another job", job="8")
    assert ask("end", "train") == ("again", 0)
    write_status(status.FAILED, "lr is too high")
    assert ask("end", "train") == ("failed", 0)
    assert ask("begin", "train") == ("start", 0), "what failed in an earlier life may be cured"
    assert ask("end", "train") == ("again", 0)


def test_what_would_fail_for_ever_is_not_started(ask, capsys):
    assert ask("begin", "train", "labels.semseg=99") == ("", 1)
    assert ask("begin", "label") == ("", 1)
    assert ask("begin", "evaluate") == ("", 1)


def test_a_restart_is_not_checked_again(ask, monkeypatch):
    """The check of training imports torch and builds the network, and the ranks repeat it."""
    checked = []
    monkeypatch.setattr(Stage, "check", lambda stage: checked.append(stage.name))
    for stage in ("train", "evaluate"):
        for _ in range(2):
            assert ask("begin", stage) == ("start", 0)
    assert checked == ["train", "evaluate", "evaluate"]
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert ask("begin", "train") == ("start", 0)
    assert checked[3:] == ["train"], "another job"


def test_restarts_that_come_no_further_are_given_up(ask, workdir, monkeypatch):
    claim(Experiment(workdir / "teacher.yaml"))
    monkeypatch.setenv("RESTARTS", "2")
    for _ in range(3):
        assert ask("begin", "train") == ("start", 0)
    checkpoint_at(500)
    for _ in range(3):
        assert ask("begin", "train") == ("start", 0), "progress was made"
    assert ask("begin", "train") == ("", 1)
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert ask("begin", "train") == ("start", 0), "somebody submitted it again"


def lines(capsys) -> list[list[str]]:
    return [line.split("\t") for line in capsys.readouterr().out.splitlines()]


def test_status_shows_every_job_in_order(workdir, capsys):
    call = ["status", "--tsv", "student.yaml", "train.steps=3", "run.path=elsewhere"]
    assert main(call) == 0
    rows = lines(capsys)
    assert [(line[0], line[4]) for line in rows] == [
        ("prepare", "-"),
        ("teacher", "0"),
        ("label", "1"),
        ("student", "0,2"),
        ("evaluate", "3"),
    ]
    assert rows[0][1] == "finished" and {line[1] for line in rows[1:]} == {"pending"}
    assert rows[1][5:] == ["teacher.yaml", "train.steps=3"]
    assert rows[3][2:] == ["elsewhere", "-", "0,2", "student.yaml", "train.steps=3", "run.path=elsewhere"]
    assert main([*call, "data.path=nowhere"]) == 0
    assert {line[1] for line in lines(capsys)} == {"pending"}


def test_status_shows_what_is_finished(done, capsys):
    assert main(["status", "--tsv", "student.yaml"]) == 0
    assert {line[1] for line in lines(capsys)} == {"finished"}
    (done / "runs/scenes/teacher/seed-0/labels/train/MANIFEST.json").unlink()
    assert main(["status", "--tsv", "student.yaml"]) == 0
    assert [line[0] for line in lines(capsys) if line[1] != "finished"] == ["label"]


def test_status_says_which_part_of_a_job_is_pending(done, capsys):
    (done / "runs/scenes/teacher/seed-0/result.json").unlink()
    assert main(["status", "--tsv", "student.yaml"]) == 0
    states = {line[0]: (line[1], line[3]) for line in lines(capsys)}
    assert states["teacher"] == ("pending", "trained, not evaluated") and states["label"][0] == "finished"


def test_status_shows_runs_on_other_data(done, capsys):
    for name in ("teacher", "student"):
        path = done / f"runs/scenes/{name}/seed-0/data.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"data.path": "another hash"}))
    assert main(["status", "--tsv", "student.yaml"]) == 0
    rows = lines(capsys)
    assert {line[0]: line[1] for line in rows} == {"prepare": "finished"} | dict.fromkeys(
        ("teacher", "label", "student", "evaluate"), "other data"
    )
    assert all(line[3].startswith("data.path: holds a run on other data than ") for line in rows[1:])
    assert main(["status", "--tsv", "student.yaml", "data.path=nowhere"]) == 0
    assert {line[1] for line in lines(capsys)} == {"pending", "finished"}


def test_status_shows_a_student_of_other_labels(done, capsys):
    path = done / "runs/scenes/student/seed-0/data.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pseudo.semseg": "another hash"}))
    assert main(["status", "--tsv", "student.yaml"]) == 0
    rows = {line[0]: (line[1], line[3]) for line in lines(capsys)}
    assert rows["teacher"][0] == rows["label"][0] == "finished"
    for job in ("student", "evaluate"):
        assert rows[job][0] == "other data" and rows[job][1].startswith(
            "pseudo.semseg: holds a run on other data than "
        )
    assert main(["run", "student.yaml"]) == 1


def test_status_shows_a_run_of_other_settings_and_what_failed_without_data(done, capsys):
    assert main(["status", "--tsv", "student.yaml", "train.lr=0.5"]) == 0
    states = {line[0]: (line[1], line[3]) for line in lines(capsys)}
    assert all(states[job][0] == "other settings" for job in ("teacher", "label", "student", "evaluate"))
    assert states["student"][1].startswith("train.lr: holds a run with ")
    path = done / "runs/scenes/student/seed-0/status.json"
    entry = json.loads(path.read_text())
    path.write_text(json.dumps(entry | {"stage": "evaluate", "state": "failed", "why": "no data"}))
    (path.parent / "result.json").unlink()
    assert main(["status", "--tsv", "student.yaml", "data.path=nowhere"]) == 0
    states = {line[0]: (line[1], line[3]) for line in lines(capsys)}
    assert states["prepare"][0] == "pending" and states["teacher"][0] == states["label"][0] == "finished"
    assert states["evaluate"] == ("failed", "no data")


def test_stop_reaches_every_rank_and_not_the_launcher(workdir, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    options = ["train.steps=100000", "train.trace=true", "data.num_workers=1"]
    ranks = start(2, "-m", "tutelage", "train", str(workdir / "teacher.yaml"), *options, env={"SLURM_JOB_ID": "4711"})
    try:
        order, deadline = RUN / "order.jsonl", time.monotonic() + 100
        while not (order.exists() and order.read_bytes().count(b"\n") > 3):
            assert time.monotonic() < deadline and ranks.poll() is None
            time.sleep(0.05)
        assert main(["job", "stop"]) == 0  # job 7 has none
        monkeypatch.setenv("SLURM_JOB_ID", "4711")
        assert main(["job", "stop"]) == 0
        _, errors = ranks.communicate(timeout=60)
    finally:
        ranks.end()
    assert ranks.returncode != -signal.SIGUSR1
    assert errors.count("stopped at step") == 2
    assert status.read(RUN).state == status.INTERRUPTED
