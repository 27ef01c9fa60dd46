"""Ranks that are asked to stop, die, hang or differ: the others notice and say so, and the run can go on."""

import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from ranks import Ranks, launch, start

from shards.errors import UserError
from trainer.experiment import Experiment
from trainer.runs import artifacts, status
from trainer.runs.lease import Lease

ENDLESS = ("train.steps=100000", "train.global_batch_size=4", "data.num_workers=1")


@pytest.fixture
def run(make) -> Experiment:
    return make("plain", *ENDLESS)


@pytest.fixture
def trained(configs, run, tmp_path) -> Iterator[Callable[..., Ranks]]:
    """``trained(count, *options)``: ranks in the middle of an endless training run."""
    started = []

    def begin(count: int, *options: str) -> Ranks:
        command = ("-m", "tutelage", "train", str(configs / "plain.yaml"), f"run.root={tmp_path / 'runs'}", *ENDLESS)
        started.append(start(count, *command, *options))
        order, deadline = run.folder / "order.jsonl", time.monotonic() + 120
        while not (order.exists() and order.read_bytes().count(b"\n") >= 3):
            assert time.monotonic() < deadline and started[-1].poll() is None, started[-1].communicate()
            time.sleep(0.02)
        return started[-1]

    yield begin
    for ranks in started:
        ranks.end()


def rank(ranks: Ranks, number: int) -> psutil.Process:
    """Return the process of a rank itself, not one of its loader workers."""
    processes = [p for p in ranks.members() if p.environ().get("RANK") == str(number)]
    return next(process for process in processes if process.parent() not in processes)


def seconds_until(ended: Callable[[], bool], limit: float) -> float:
    began = time.monotonic()
    while not ended():
        assert time.monotonic() - began < limit
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_signal_to_one_rank_stops_all_after_one_checkpoint(trained, run):
    """A second signal, also one to every process, does not change that."""
    ranks = trained(2)
    rank(ranks, 1).send_signal(signal.SIGTERM)
    for process in ranks.members():
        if "RANK" in process.environ():  # the loader workers too, which must go on until the last batch
            process.send_signal(signal.SIGUSR1)
    out, errors = ranks.communicate(timeout=60)
    assert "stopped at step" in errors and "Traceback (most recent call last)" not in out
    assert not list(ranks.members())
    (checkpoint,) = run.checkpoints.glob("step-*")
    assert artifacts.newest(run.checkpoints) == checkpoint
    record = status.read(run.folder)
    assert record.state == "interrupted" and f"stopped at step {int(checkpoint.name[5:])}" in record.why


def test_ranks_end_with_their_launcher_and_leave_the_folder_to_the_next(trained, run: Experiment):
    ranks = trained(2)
    with pytest.raises(UserError, match=r"is in use by process \d+ on "):
        Lease.take(run.folder)
    ranks.kill()
    ranks.wait()
    assert seconds_until(lambda: not list(ranks.members()), 30) < 5
    assert status.read(run.folder).state == "running", "killed, and nobody could say so"
    Lease.take(run.folder).release()


def test_a_rank_that_hangs_is_given_up_after_the_timeout(trained, run):
    ranks = trained(2, "train.timeout=30")
    first = rank(ranks, 0)
    rank(ranks, 1).suspend()
    assert seconds_until(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE, 90) > 20
    ranks.end()
    record = status.read(run.folder)
    assert record.state == "interrupted" and "rank 0: another rank ended or does not answer" in record.why


DIFFERING = """
import sys
from launchers.cli import main
from trainer.updater import Updater

step = Updater.step

def other(learner, *arguments):
    done = step(learner, *arguments)
    if learner.rank == 1:
        next(learner.engine.plain.parameters()).data.add_(1)
    return done

Updater.step = other
sys.exit(main(sys.argv[1:]))
"""


def test_ranks_that_hold_other_weights_are_found_after_the_first_step(configs, run, tmp_path):
    script = tmp_path / "differing.py"
    script.write_text(DIFFERING)
    result = launch(2, str(script), "train", str(configs / "plain.yaml"), f"run.root={tmp_path / 'runs'}", *ENDLESS[:2])
    assert result.returncode and "launch: after a step, ranks [0, 1] hold networks that differ" in result.stderr
    assert status.read(run.folder).state == "failed"


def test_bad_data_that_one_rank_meets_is_a_failure_of_the_run(configs, run, tmp_path, scenes_dataset):
    """The other ranks only report that one is missing, which does not count."""
    script = tmp_path / "meets.py"
    body = DIFFERING.replace("next(learner.engine.plain.parameters()).data.add_(1)", 'raise UserError("is bad")')
    script.write_text(body.replace("import sys\n", "import sys\nfrom shards.errors import UserError\n"))
    result = launch(2, str(script), "train", str(configs / "plain.yaml"), f"run.root={tmp_path / 'runs'}", *ENDLESS[:2])
    assert result.returncode
    assert status.read(run.folder).state == "failed" and status.read(run.folder).why == "is bad"
