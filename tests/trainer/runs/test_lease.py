"""Leases: one holder at a time, takeover from dead holders, and an error for a holder that has lost its lease."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shards.errors import UserError
from trainer.runs import lease as module
from trainer.runs.lease import Lease, LeaseLost, Seeker

BEAT, LIMIT = 0.1, 1.2

HOLD = f"""
import sys
from pathlib import Path
from trainer.runs import lease
lease.BEAT, lease.LIMIT = {BEAT}, {LIMIT}
held = lease.Lease.take(Path(sys.argv[1]))
print(held.number, flush=True)
for command in sys.stdin:
    if command == "check\\n":
        try:
            held.check()
            print("held", flush=True)
        except lease.LeaseLost as error:
            print(error, flush=True)
    else:
        held.release()
        print("released", flush=True)
"""


class Holder:
    """A real process that takes the lease of a folder."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", HOLD, str(folder)]
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def read_line(self) -> str:
        return self.process.stdout.readline().strip()  # type: ignore[union-attr]

    def send(self, command: str) -> str:
        self.process.stdin.write(command + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self.read_line()


@pytest.fixture(autouse=True)
def fast_heartbeat(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(module, "BEAT", BEAT)
    monkeypatch.setattr(module, "LIMIT", LIMIT)
    heartbeat = module._Heartbeat()  # the old one may be asleep for a slow beat
    monkeypatch.setattr(module, "_heartbeat", heartbeat)
    yield
    heartbeat._leases.clear()


@pytest.fixture
def holder(tmp_path) -> Iterator[Callable[[], Holder]]:
    """``holder()`` starts a process that has taken the lease of the test's folder."""
    started: list[Holder] = []

    def start() -> Holder:
        started.append(Holder(tmp_path))
        return started[-1]

    yield start
    for child in started:
        child.process.kill()
        child.process.communicate()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_remote_lease(folder: Path, number: int, *, beats: bool) -> None:
    """Write the lease of a holder on another machine, whose process cannot be checked from here."""
    path = folder / f".run.lease-{number:06d}"
    path.write_text(json.dumps({"host": "node7", "pid": 1, "started": "5", "boot": "b", "pids": "p"}))
    for moment in range(20 if beats else 0):
        os.utime(path, (moment, moment + 1))
        time.sleep(BEAT)


def test_numbers_rise_with_every_holder_and_one_file_is_kept(tmp_path):
    for number in (1, 2, 3):
        with Lease.take(tmp_path) as lease:
            assert lease.number == number and lease.is_held()
            assert files(tmp_path) == [f".run.lease-{number:06d}"]
            note = json.loads(lease.path.read_text())
            assert (note["pid"], note["host"]) == (os.getpid(), socket.gethostname())
        assert not lease.is_held()
    with Lease.take(tmp_path / "new" / "folder", "other") as lease, Lease.take(tmp_path / "new" / "folder"):
        assert lease.number == 1, "another name is another lease"


def test_a_second_training_is_refused_and_told_who_holds_the_folder(tmp_path, holder):
    first = holder()
    assert first.read_line() == "1"
    with pytest.raises(UserError) as error:
        Lease.take(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: is in use by process {first.pid} on {socket.gethostname()}; wait until it ends, or stop it"
    )
    assert first.send("check") == "held"


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 1e9)
    first = holder()
    assert first.read_line() == "1"
    first.process.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is not reaped: still in the process list
    with Lease.take(tmp_path) as lease:
        assert lease.number == 2
    first.process.wait()
    assert Seeker(tmp_path, "run").try_take() is not None


def test_a_restarted_job_does_not_wait_for_its_earlier_life(tmp_path, holder, monkeypatch):
    """The earlier process may still run on a node that the controller has lost; it loses the lease."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first = holder()
    assert first.read_line() == "1"
    for job, restart in (("7", "0"), ("8", "1")):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
        with pytest.raises(UserError, match=f"process {first.pid}"):
            Lease.take(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    began = time.monotonic()
    with Lease.take(tmp_path) as second:
        assert second.number == 2 and BEAT <= time.monotonic() - began < LIMIT
        assert f"was taken over by process {os.getpid()}" in first.send("check")


def test_another_process_with_a_dead_holders_number_is_not_the_holder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 1e9)
    lease = Lease.take(tmp_path)
    seeker = Seeker(tmp_path, "run")
    assert seeker.try_take() is None
    note = json.loads(lease.path.read_text())
    lease.path.write_text(json.dumps(note | {"started": "1"}))
    assert seeker.try_take() is not None


@pytest.mark.parametrize("key", ["host", "boot", "pids"])
def test_a_process_of_another_machine_is_never_looked_up_here(tmp_path, monkeypatch, key):
    lease = Lease.take(tmp_path)
    note = json.loads(lease.path.read_text())
    lease.path.write_text(json.dumps(note | {"started": "1", key: "another"}))
    with pytest.raises(UserError, match="is in use by process"):
        Lease.take(tmp_path)
    lease.release()


def test_a_holder_elsewhere_is_followed_after_its_silence_whatever_its_clock_says(tmp_path):
    write_remote_lease(tmp_path, 7, beats=False)
    for clock in (3e9, 5):
        path = max(tmp_path.glob(".run.lease-*"))
        os.utime(path, (clock, clock))
        path.write_text(path.read_text().replace(socket.gethostname(), "node7"))
        os.utime(path, (clock, clock))
        messages: list[str] = []
        began = time.monotonic()
        lease = Lease.take(tmp_path, log=messages.append)
        assert time.monotonic() - began >= LIMIT
        assert len(messages) == 1 and "for a sign of life of process" in messages[0] and "on node7" in messages[0]
        module._heartbeat._leases.discard(lease)  # it beats no more, and no process of this machine holds it
    assert lease.number == 9


def test_a_holder_elsewhere_that_beats_is_left_alone(tmp_path):
    beating = threading.Thread(target=write_remote_lease, args=(tmp_path, 7), kwargs={"beats": True})
    beating.start()
    time.sleep(BEAT)
    began = time.monotonic()
    with pytest.raises(UserError, match="is in use by process 1 on node7"):
        Lease.take(tmp_path)
    assert time.monotonic() - began < LIMIT, "told after a beat"
    seeker = Seeker(tmp_path, "run")
    while beating.is_alive():
        assert seeker.try_take() is None
        time.sleep(BEAT / 4)
    attempts = 0
    while seeker.try_take() is None:
        attempts += 1
        time.sleep(BEAT / 4)
    assert attempts > 10, "several tries prove it dead"


def test_only_time_that_was_watched_proves_a_holder_dead(tmp_path):
    """All processes of a suspended machine wake at once: that others did not beat while one slept proves nothing."""
    write_remote_lease(tmp_path, 7, beats=False)
    seeker = Seeker(tmp_path, "run")
    assert seeker.try_take() is None
    time.sleep(1.5 * LIMIT)
    assert seeker.try_take() is None


def test_who_was_stopped_for_too_long_finds_its_lease_lost(tmp_path, holder):
    """A is stopped; B takes over with the next number and releases the lease; C takes the number after; A wakes."""
    first = holder()
    assert first.read_line() == "1"
    os.kill(first.pid, signal.SIGSTOP)
    second = holder()
    assert second.read_line() == "2"
    assert second.send("release") == "released"
    third = holder()
    assert third.read_line() == "3"
    os.kill(first.pid, signal.SIGCONT)
    message = first.send("check")
    assert f"was taken over by process {third.pid} on {socket.gethostname()}" in message
    assert first.send("release") == "released", "which does no harm"
    assert third.send("check") == "held"
    assert files(tmp_path) == [".run.lease-000003"]


def test_who_was_stopped_is_told_also_when_nobody_holds_the_lease_any_more(tmp_path, holder):
    first = holder()
    assert first.read_line() == "1"
    os.kill(first.pid, signal.SIGSTOP)
    Lease.take(tmp_path).release()
    os.kill(first.pid, signal.SIGCONT)
    assert "was taken over by" in first.send("check")
    with Lease.take(tmp_path) as lease:
        assert lease.number == 3


def test_a_lease_whose_file_was_removed_is_lost(tmp_path):
    lease = Lease.take(tmp_path)
    lease.path.unlink()
    with pytest.raises(LeaseLost, match="is no longer held by this process"):
        lease.check()
    lease.release()
    assert files(tmp_path) == []


def test_who_looked_before_others_came_and_went_does_not_get_an_old_number(tmp_path, monkeypatch):
    """It saw number 1; others took 2 and 3 and removed older files: file 2 can be created, and must not be a lease."""
    Lease.take(tmp_path).release()
    seeker = Seeker(tmp_path, "run")

    def others_come_and_go(number: int) -> bool:
        for _ in range(2):
            Lease.take(tmp_path).release()
        return True

    monkeypatch.setattr(seeker, "_is_free", others_come_and_go)
    assert seeker.try_take() is None
    assert files(tmp_path) == [".run.lease-000003"]


def test_of_two_that_saw_it_free_the_slower_one_does_not_get_it(tmp_path, monkeypatch):
    Lease.take(tmp_path).release()
    seeker, others = Seeker(tmp_path, "run"), []
    monkeypatch.setattr(seeker, "_is_free", lambda number: others.append(Lease.take(tmp_path)) or True)
    assert seeker.try_take() is None
    assert others[0].number == 2 and others[0].is_held()


def test_of_many_that_want_it_at_once_one_gets_each_number(tmp_path):
    """Threads stand in for processes: the folder alone decides who has the lease."""
    numbers: list[int] = []
    holders: list[int] = []
    overlaps: list[int] = []

    def work() -> None:
        seeker = Seeker(tmp_path, "run")
        for _ in range(20):
            while (lease := seeker.try_take()) is None:
                time.sleep(0.0005)
            holders.append(lease.number)
            if len(holders) > 1:
                overlaps.append(lease.number)
            numbers.append(lease.number)
            holders.remove(lease.number)
            lease.release()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [] and sorted(numbers) == list(range(1, 121))


def test_one_thread_beats_for_all_leases_and_ends_with_them(tmp_path):
    leases = [Lease.take(tmp_path, name) for name in ("a", "b", "c")]
    thread = module._heartbeat._thread
    beats = [lease.path.stat().st_mtime_ns for lease in leases]
    time.sleep(5 * BEAT)
    assert all(lease.path.stat().st_mtime_ns > beat for lease, beat in zip(leases, beats, strict=True))
    assert module._heartbeat._thread is thread and thread.is_alive()  # type: ignore[union-attr]
    for lease in leases:
        lease.release()
    thread.join(LIMIT)  # type: ignore[union-attr]
    assert not thread.is_alive()  # type: ignore[union-attr]
    assert Lease.take(tmp_path, "a").number == 2, "and it starts again"


def test_a_folder_that_cannot_be_written_is_the_users_to_cure(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *arguments: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(UserError, match=r"cannot be written .permission denied.; choose a folder that you may write"):
        Seeker(tmp_path, "run").try_take()
    assert not list(tmp_path.iterdir())


def test_where_there_are_no_links_a_lease_is_exclusive_too(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "link", lambda *arguments: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted"))
    )
    with Seeker(tmp_path, "run").try_take() as lease:
        assert lease.number == 1 and Seeker(tmp_path, "run").try_take() is None
