"""A job that ends early continues by itself, with the same result as an undisturbed run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from clone import Clone

from trainer.runs import artifacts

LONG = ("train.steps=120", "checkpoint.every=20")
RUN = "runs/scenes/teacher/seed-0"


def order(folder: Path) -> list[dict]:
    text = (folder / "order.jsonl").read_text().rpartition("\n")[0]  # the last line may be incomplete
    return [json.loads(line) for line in text.splitlines()]


def assert_same(one: Path, other: Path) -> None:
    """The same frames in the same order, and the same bits of weights."""
    assert order(one) == order(other)
    weights = [(folder / "checkpoints/last/model.safetensors").read_bytes() for folder in (one, other)]
    assert weights[0] == weights[1]


@pytest.fixture(scope="session")
def undisturbed(new_clone: Callable[[], Clone]) -> Path:
    """The folder of a run of ``LONG`` on one machine without a disturbance."""
    clone = new_clone()
    clone.launch(2, "train", "teacher.yaml", *LONG)
    return clone.folder / RUN


@pytest.mark.parametrize(("host", "unplug"), [("node2", False), ("node1", True)])
def test_a_node_that_dies_while_training(clone: Clone, undisturbed: Path, host: str, unplug: bool):
    """Once with closed connections, so that the other ranks fail before Slurm notices; once without any notification,
    and with the batch script lost too. A third node takes its place."""
    job = clone.submit("--nodes=2", "slurm/student.sh", "teacher.yaml", *LONG)
    run = clone.folder / RUN
    clone.until(lambda: (run / "checkpoints/step-00000040").exists())
    clone.slurm.power_off(host, unplug=unplug)
    log = clone.finish(job)
    assert "restart 1" in log and "continuing runs/scenes/teacher/seed-0 at step " in log
    assert_same(run, undisturbed)


def test_a_lost_node_whose_processes_live_on(clone: Clone, undisturbed: Path):
    """The first rank cannot be reached and still has the run's files: it must not delay the job's restart, nor write
    when its own timeout expires, which is while the restarted job trains."""
    job = clone.submit("--nodes=2", "slurm/student.sh", "teacher.yaml", *LONG, "train.timeout=30")
    run = clone.folder / RUN
    clone.until(lambda: (run / "checkpoints/step-00000040").exists())
    clone.slurm.unplug("node1")
    try:
        assert "restart 1" in clone.finish(job)
    finally:
        clone.slurm.power_off("node1", unplug=False)
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    assert_same(run, undisturbed)


def test_a_job_that_is_queued_again_from_outside(clone: Clone, undisturbed: Path):
    job = clone.submit("--nodes=2", "slurm/student.sh", "teacher.yaml", *LONG, "checkpoint.every=1000")
    run = clone.folder / RUN
    clone.until(lambda: (run / "order.jsonl").exists() and len(order(run)) > 20)
    clone.slurm.run("scontrol", "requeue", job)
    log = clone.finish(job)
    assert "restart 1" in log and "continuing runs/scenes/teacher/seed-0 at step " in log, "no checkpoint was left"
    assert_same(run, undisturbed)


@pytest.mark.parametrize("signal", ["USR1", pytest.param("TERM", marks=pytest.mark.long)])
def test_a_job_that_must_make_room(clone: Clone, undisturbed: Path, signal: str):
    """Notified by the signal that the script requests, or by Slurm's own where a site does not send that one."""
    if signal == "TERM":
        script = clone.folder / "slurm/student.sh"
        script.write_text(script.read_text().replace("#SBATCH --signal=", "# "))
    job = clone.submit("--nodes=2", "slurm/student.sh", "teacher.yaml", *LONG, "checkpoint.every=1000")
    run = clone.folder / RUN
    clone.until(lambda: (run / "order.jsonl").exists() and len(order(run)) > 20)
    urgent = clone.submit("--partition=urgent", "--nodes=3", "--exclusive", "--wrap=sleep 1")
    log = clone.finish(job)
    assert clone.slurm.state(urgent) == "COMPLETED"
    assert f"by SIG{signal}" in log and "back into the queue" in log and "restart 1" in log
    stop, restart = (re.search(f"{words} (\\d+)", log) for words in ("stopped at step", "continuing .* at step"))
    assert stop and restart and stop[1] == restart[1]
    assert_same(run, undisturbed)


def test_a_node_that_dies_while_labelling(clone: Clone):
    options = ("data.size=256x384", "label.batch_size=1", "train.steps=2")
    clone.launch(2, "train", "teacher.yaml", *options)
    shutil.copytree(clone.folder / "runs", clone.folder / "alone")
    job = clone.submit("--nodes=2", "slurm/label.sh", "teacher.yaml", *options)
    labels = clone.folder / RUN / "labels/train"
    clone.until(lambda: any(labels.glob("train-*.tar")))
    clone.slurm.power_off("node2")
    assert not (labels / "MANIFEST.json").exists(), "it was too fast to be killed"
    assert "restart 1" in clone.finish(job)
    clone.launch(2, "label", "teacher.yaml", *options, "run.root=alone")
    shards = sorted(path.name for path in labels.glob("*.tar"))
    assert len(shards) == 6
    for name in shards:
        other = clone.folder / "alone/scenes/teacher/seed-0/labels/train" / name
        assert (labels / name).read_bytes() == other.read_bytes()


def test_a_time_limit(clone: Clone, undisturbed: Path):
    """A limit of two minutes, with a signal half a minute ahead, which may arrive a minute early."""
    options = (*LONG, "train.steps=100000", "checkpoint.every=100000", "data.num_workers=1")
    job = clone.submit("--nodes=2", "--time=2", "--signal=B:USR1@30", "slurm/student.sh", "teacher.yaml", *options)
    clone.until(lambda: "continuing runs/scenes/teacher/seed-0 at step " in clone.log(job), 300)
    steps = len(order(clone.folder / RUN))
    clone.until(lambda: len(order(clone.folder / RUN)) > steps)
    clone.slurm.run("scancel", job)
    log = clone.log(job)
    stop, restart = (re.search(f"{words} (\\d+)", log) for words in ("stopped at step", "continuing .* at step"))
    assert stop and restart and stop[1] == restart[1]
    assert "back into the queue" in log and "restart 1" in log
    records, expected = order(clone.folder / RUN), order(undisturbed)
    assert [line["step"] for line in records] == list(range(1, len(records) + 1))
    assert records[: len(expected)] == expected[: len(records)]


def test_a_cancelled_job_leaves_a_checkpoint_and_stays_away(clone: Clone):
    job = clone.submit("--nodes=2", "slurm/student.sh", "teacher.yaml", "train.steps=10000", "checkpoint.every=10000")
    run = clone.folder / RUN
    clone.until(lambda: (run / "order.jsonl").exists() and len(order(run)) > 20)
    clone.slurm.run("scancel", job)
    assert clone.slurm.ended(job) == "CANCELLED"
    assert artifacts.newest(run / "checkpoints")
    assert json.loads((run / "status.json").read_text())["state"] == "interrupted"
    assert clone.slurm.field(job, "Restarts") == "0"


def test_a_failure_for_good_is_not_repeated_and_cancels_what_waits_for_it(clone: Clone):
    """A failure that only the ranks detect: two ranks cannot share seven frames."""
    output = clone.run("slurm/pipeline.sh", "student.yaml", "train.global_batch_size=7", SUBMIT="--nodes=2")
    jobs = clone.jobs(output)
    assert list(jobs) == ["teacher", "label", "student", "evaluate"]
    assert clone.slurm.ended(jobs["teacher"]) == "FAILED"
    assert clone.slurm.field(jobs["teacher"], "Restarts") == "0"
    assert "tutelage: train failed: " in clone.log(jobs["teacher"])
    assert "train.global_batch_size" in clone.log(jobs["teacher"])
    for name in ("label", "student", "evaluate"):
        assert clone.slurm.ended(jobs[name]) == "CANCELLED"


def test_bad_calls_end_at_once_and_say_what_to_do(clone: Clone):
    typo = clone.submit("slurm/student.sh", "teacher.yaml", "train.step=3")
    early = clone.submit("slurm/label.sh", "teacher.yaml")
    for job, hint in ((typo, "did you mean train.steps?"), (early, "train it first")):
        assert clone.slurm.ended(job) == "FAILED" and clone.slurm.field(job, "Restarts") == "0"
        assert hint in clone.log(job)
