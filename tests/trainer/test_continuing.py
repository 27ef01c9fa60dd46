"""Real processes: interrupted, killed, started again, and two that train together."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ranks import launch
from runs import LONG, assert_same_run, lines

from trainer.runs import artifacts, checkpoint
from trainer.trainstage import train


@pytest.fixture
def steps(tmp_path: Path) -> Callable[[subprocess.Popen, int], None]:
    """``steps(process, n)`` waits until the run of ``plain`` has done n steps."""

    def wait(process: subprocess.Popen, count: int) -> None:
        order = tmp_path / "runs/scenes/plain/seed-0/order.jsonl"
        deadline = time.monotonic() + 120
        while not (order.exists() and order.read_bytes().count(b"\n") >= count):
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.005)

    return wait


def test_a_run_that_was_killed_and_then_interrupted_is_the_undisturbed_one(make, process, steps, reference):
    """kill -9 after the checkpoint of step 6; Ctrl-C in the second life; the third one finishes."""
    run = make("plain", *LONG)
    first = process("train", "plain", *LONG)
    steps(first, 9)
    first.kill()
    first.wait()
    assert artifacts.newest(run.checkpoints) == run.checkpoints / "step-00000006"

    second = process("train", "plain", *LONG, "data.num_workers=1")
    steps(second, 14)
    second.send_signal(signal.SIGINT)
    output, errors = second.communicate(timeout=60)
    assert second.returncode == 130
    assert "at step 6" in output, "it began again"
    newest = artifacts.newest(run.checkpoints)
    assert newest is not None
    step = int(newest.name.removeprefix("step-"))
    assert 14 <= step < 24
    assert errors.splitlines()[-1].endswith(
        f"stopped at step {step} by SIGINT; start the same command again to continue"
    )
    assert "Traceback" not in errors

    train(run)
    assert_same_run(run.folder, reference.folder)


def two_processes(*arguments: str) -> str:
    """Run a script or module (``-m``) on two real ranks and return their output."""
    process = launch(2, *arguments)
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_two_processes_train_on_the_samples_of_one(make, configs, tmp_path):
    overrides = ("train.steps=3", "train.log_every=1", f"run.root={tmp_path / 'runs'}")
    two_processes("-m", "tutelage", "train", str(configs / "plain.yaml"), *overrides, "experiment=two")
    two, one = make("plain", *overrides, "experiment=two"), make("plain", *overrides, "experiment=one")
    train(one)
    assert lines(two.folder, "order") == lines(one.folder, "order")
    losses = [[line["loss"]["total"] for line in lines(run.folder)] for run in (two, one)]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.05), (
        "batch norm sees half a batch, and nothing else differs"
    )
    assert checkpoint.load_exported(two.checkpoints / "last")[1]["step"] == 3


def test_two_processes_label_as_one_does(finished, configs):
    teacher = finished("teacher")
    names = ("train-*.tar", "MANIFEST.json", "kept.json")
    written = {file: file.read_bytes() for name in names for file in teacher.labels.glob(name)}
    assert len(written) > 4
    shutil.rmtree(teacher.labels)
    two_processes("-m", "tutelage", "label", str(configs / "teacher.yaml"), f"run.root={teacher.config.run.root}")
    relabelled = {file: file.read_bytes() for file in written}
    manifest = teacher.labels / "MANIFEST.json"
    assert {file for file in written if written[file] != relabelled[file]} <= {manifest}, (
        "but for the threads that it names"
    )
