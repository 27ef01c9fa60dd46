"""Data that never arrive: a run that waits for them ends on a signal, and later continues as if it had not hung."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm import python

from trainer.runs import artifacts

SCRIPT = Path(__file__).parents[1] / "support" / "hanging.py"


_started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def end_processes() -> Iterator[None]:
    yield
    for process in _started:
        process.kill()
        process.wait()
    _started.clear()


def start(out: Path, data: Path, workers: int, at: int, where: str = "train") -> subprocess.Popen[str]:
    command = [python(), str(SCRIPT), str(out), str(data), str(workers), str(at), where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _started.append(process)
    return process


def stop(process: subprocess.Popen[str], out: Path, number: signal.Signals, steps: int) -> str:
    """Signal a run that hangs after some steps, check that it ends soon, and return its output."""
    deadline, written = time.monotonic() + 120, out / "metrics.jsonl"
    while not (written.exists() and out.with_suffix(".hangs").exists() and written.read_bytes().count(b"\n") >= steps):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    time.sleep(0.2)  # the last step may not have been wholly done when its line was written
    began = time.monotonic()
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert time.monotonic() - began < 30
    return output


@pytest.mark.parametrize(("workers", "number"), [(0, signal.SIGTERM), (2, signal.SIGUSR1), (1, signal.SIGINT)])
def test_a_reader_that_hangs_ends_with_a_checkpoint(workers, number, tmp_path, scenes_dataset):
    out = tmp_path / "run"
    output = stop(start(out, scenes_dataset.folder, workers, at=18), out, number, 4)
    step = int(artifacts.newest(out / "checkpoints").name.removeprefix("step-"))  # type: ignore[union-attr]
    assert step == 4 and f"stopped at step {step} by {number.name} while it waited for data" in output
    assert json.loads((out / "status.json").read_text())["state"] == "interrupted"


def test_and_then_continues_where_it_stood(tmp_path, scenes_dataset):
    out, other = tmp_path / "run", tmp_path / "other"
    stop(start(out, scenes_dataset.folder, 1, at=18), out, signal.SIGTERM, 4)
    for folder in (out, other):
        process = start(folder, scenes_dataset.folder, 1, at=10**6)
        assert process.wait(timeout=240) == 0, process.communicate()
    hashes = [json.loads((folder / "checkpoints/last/model.json").read_text())["sha256"] for folder in (out, other)]
    assert hashes[0] == hashes[1]


def test_before_the_first_step_there_is_nothing_to_keep(tmp_path, scenes_dataset):
    out = tmp_path / "run"
    output = stop(start(out, scenes_dataset.folder, 1, at=2), out, signal.SIGTERM, 0)
    assert "stopped at step 0 by SIGTERM while it waited for data; start the same command again to continue\n" in output
    assert artifacts.newest(out / "checkpoints") is None


def test_validation_frames_that_never_come(tmp_path, scenes_dataset):
    out = tmp_path / "run"
    output = stop(start(out, scenes_dataset.folder, 1, at=3, where="val"), out, signal.SIGTERM, 6)
    assert "stopped by SIGTERM while it waited for validation data after step 6" in output
