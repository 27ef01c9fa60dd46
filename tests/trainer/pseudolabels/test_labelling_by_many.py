"""Labelling by processes that join, stop, wake and are killed at any moment: the labels are those of one process."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shards.manifest import NAME, Manifest
from shards.pack import pack
from shards.sources.scenes import Scenes
from trainer.experiment import Experiment
from trainer.pseudolabels.stage import label
from trainer.trainstage import train

SHARDS = 14
CONFIG = """
data: {name: scenes, path: DATASET, num_workers: 0}
inputs: [rgb, depth]
labels: {semseg: 4, depth: 28}
model: {backbone: test_efficientnet, widths: [8, 8, 16, 16]}
train: {global_batch_size: 2, steps: 2}
evaluate: {every: 0}
label: {batch_size: 2, threshold: 0.1}
"""

# Importing torch takes seconds, so processes are forked from one that has done so and nothing else. Each is a whole
# `tutelage label`. It logs the shards that it labels, and takes its time, so that there is a moment to be killed in.
NURSERY = """
import os, signal, sys, time, traceback
from pathlib import Path
import launchers.experiment, timm, trainer.pseudolabels.stage
from launchers.cli import main
from trainer.pseudolabels import sharing
from trainer.pseudolabels.labeller import Labeller
from trainer.runs import lease

lease.BEAT, sharing.POLL = 0.1, 0.05
log, arguments = Path(sys.argv[1]), sys.argv[2:]
original, encode = Labeller.outputs, Labeller.encode

def outputs(self, number):
    with log.open("a") as file:
        file.write(f"{os.getpid()} {number}\\n")
    return original(self, number)

def slowly(self, frame):
    time.sleep(0.02)
    return encode(self, frame)

def hit(count, when, name):
    real = Path.replace
    def strike(now):
        if count == 0 and when == now:
            os.kill(os.getpid(), signal.Signals[name])
            time.sleep(0.1)  # another thread may be the one that hears of it
    def replace(self, target):
        nonlocal count
        count -= 1
        strike("before")
        real(self, target)
        strike("after")
    Path.replace = replace

Labeller.outputs, Labeller.encode = outputs, slowly
for command in sys.stdin:
    word, *rest = command.split()
    if word == "wait":
        print(os.waitstatus_to_exitcode(os.waitpid(int(rest[0]), 0)[1]), flush=True)
    elif (pid := os.fork()) > 0:
        print(pid, flush=True)
    else:
        try:
            os.dup2(os.open(f"{log}.{os.getpid()}", os.O_WRONLY | os.O_CREAT), 1)
            os.dup2(1, 2)
            lease.LIMIT = float(rest[0])
            if rest[1:]:
                hit(int(rest[1]), *rest[2:])
            status = main(arguments)
        except BaseException:
            traceback.print_exc()
            status = 99
        sys.stdout.flush()
        os._exit(status)
"""


@dataclass
class Nursery:
    """Starts real processes that label one experiment.

    Args:
        expected: the labels' folder after one undisturbed process has labelled everything.
    """

    experiment: Experiment
    log: Path
    process: subprocess.Popen
    expected: dict[str, bytes]
    limit: float = 1.0
    """Seconds without a heartbeat after which a process is taken for dead."""

    def _ask(self, command: str) -> int:
        self.process.stdin.write(command + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return int(self.process.stdout.readline())  # type: ignore[union-attr]

    def start(self, fate: str = "") -> int:
        """Start a process and return its id.

        ``fate`` "3 before SIGKILL" sends it that signal before the third file gets its final name.
        """
        return self._ask(f"start {self.limit} {fate}")

    def wait(self, pid: int) -> int:
        """Return the process's exit status, or the negative number of the signal that ended it."""
        return self._ask(f"wait {pid}")

    def output(self, pid: int) -> str:
        return Path(f"{self.log}.{pid}").read_text()

    def finish(self) -> None:
        """Run one more process, undisturbed."""
        pid = self.start()
        assert self.wait(pid) == 0, self.output(pid)

    def shards_begun(self) -> list[tuple[int, int]]:
        """Return the process id and the number of every shard that was begun."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(pid), int(number)) for pid, number in (line.split() for line in lines)]

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    @property
    def folder(self) -> Path:
        return self.experiment.labels

    def labels(self) -> dict[str, bytes]:
        return content(self.folder)


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file by its relative path, hidden files and subfolders included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def shared_nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    folder, size = tmp_path_factory.mktemp("many"), (32, 64)
    manifest = pack(Scenes(2 * SHARDS, 2, size), folder / "data", size=size, samples_per_shard=2)
    (folder / "many.yaml").write_text(CONFIG.replace("DATASET", str(manifest.folder)))
    arguments = [str(folder / "many.yaml"), f"run.root={folder / 'runs'}"]
    call = [sys.executable, "-c", NURSERY, str(folder / "log"), "label", *arguments]
    environment, pipe = os.environ | {"OMP_NUM_THREADS": "1"}, subprocess.PIPE
    process = subprocess.Popen(call, env=environment, text=True, stdin=pipe, stdout=pipe, start_new_session=True)
    experiment = Experiment(folder / "many.yaml", arguments[1:])
    train(experiment)
    label(experiment)
    expected = content(experiment.labels)
    assert len(expected) == 2 * SHARDS + 3
    yield Nursery(experiment, folder / "log", process, expected)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def nursery(shared_nursery: Nursery) -> Nursery:
    """Its network is trained and has not labelled yet."""
    shutil.rmtree(shared_nursery.folder)
    shared_nursery.log.unlink(missing_ok=True)
    shared_nursery.limit = 1.0
    return shared_nursery


@pytest.fixture
def expected(shared_nursery: Nursery) -> dict[str, bytes]:
    return shared_nursery.expected


def kill_until_done(nursery: Nursery, seed: int) -> None:
    """Start rounds of one to four processes and kill some at random moments, until a round has labelled everything."""
    rng = random.Random(seed)
    killed = 0
    while not (nursery.folder / NAME).exists():
        pids = [nursery.start() for _ in range(rng.randint(1, 4))]
        victims = pids[: rng.randint(1, len(pids))] if killed < 12 else []
        begun = len(nursery.shards_begun())
        nursery.wait_until(lambda begun=begun: len(nursery.shards_begun()) > begun or (nursery.folder / NAME).exists())  # type: ignore[misc]
        for pid in victims:
            time.sleep(rng.uniform(0, 0.15))
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            status = nursery.wait(pid)
            killed += status == -signal.SIGKILL
            assert status == 0 or (pid in victims and status == -signal.SIGKILL), nursery.output(pid)
    nursery.finish()  # the last process removes what a killed one left behind
    assert killed >= 1
    assert nursery.labels() == nursery.expected
    assert len(nursery.shards_begun()) <= SHARDS + 7 * killed, "what was whole was not done again"


@pytest.mark.parametrize("seed", [1, 2])
def test_processes_that_are_killed_at_random_leave_the_labels_of_one(nursery, seed):
    kill_until_done(nursery, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 160))
def test_processes_that_are_killed_at_random_leave_the_labels_of_one_for_long(nursery, seed):
    kill_until_done(nursery, seed)


LAST = 2 + 2 * SHARDS + 2
"""Files that get a final name: the note, status.json, tars and indexes, kept.json and the manifest."""


def die_and_continue(nursery: Nursery, count: int, when: str) -> None:
    nursery.limit = 1e9
    first = nursery.start(f"{count} {when} SIGKILL")
    assert nursery.wait(first) == -signal.SIGKILL, nursery.output(first)
    assert (nursery.folder / NAME).exists() == ((count, when) == (LAST, "after")), "it comes last"
    nursery.finish()
    assert nursery.labels() == nursery.expected


@pytest.mark.parametrize("death", [(1, "before"), (2, "after"), (5, "before"), (LAST - 1, "after"), (LAST, "after")])
def test_a_process_that_dies_at_a_final_name_is_followed_without_waiting_for_its_heartbeat(nursery, death):
    die_and_continue(nursery, *death)


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("count", range(1, LAST + 1))
def test_a_process_that_dies_at_any_final_name_is_followed(nursery, count, when):
    die_and_continue(nursery, count, when)


def test_who_joins_late_takes_a_share_and_no_shard_is_done_twice(nursery, expected):
    nursery.limit = 1e9
    first = nursery.start()
    nursery.wait_until(lambda: len(nursery.shards_begun()) >= 3)
    os.kill(first, signal.SIGSTOP)  # else a busy machine lets it finish before the others are there
    others = [nursery.start(), nursery.start()]
    nursery.wait_until(lambda: set(others) <= {pid for pid, _ in nursery.shards_begun()})
    os.kill(first, signal.SIGCONT)
    assert [nursery.wait(pid) for pid in [first, *others]] == [0, 0, 0]
    assert nursery.labels() == expected
    assert sorted(number for _, number in nursery.shards_begun()) == list(range(SHARDS))


@pytest.mark.parametrize("fate", ["5 before", "5 after", "6 before"])
def test_the_shards_of_a_stopped_process_are_taken_over_and_it_harms_nothing_when_it_wakes(nursery, expected, fate):
    """Stopped before a tar gets its final name, after it when the index is still missing, and so on."""
    first = nursery.start(f"{fate} SIGSTOP")
    nursery.wait_until(lambda: Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    begun = len(nursery.shards_begun())
    second = nursery.start()
    assert nursery.wait(second) == 0
    assert nursery.labels() == expected
    numbers = [number for _, number in nursery.shards_begun()[begun:]]
    assert len(set(numbers)) == len(numbers) == SHARDS - 1, "all but the one that was written"
    tars = {path: path.stat().st_mtime_ns for path in nursery.folder.glob("*.tar")}
    os.kill(first, signal.SIGCONT)
    assert nursery.wait(first) == 0, nursery.output(first)
    assert nursery.labels() == expected
    assert tars == {path: path.stat().st_mtime_ns for path in nursery.folder.glob("*.tar")}, "it wrote none"


@pytest.mark.parametrize("noted", [False, True])
def test_wrong_bytes_under_a_final_name_are_found_and_done_again(nursery, expected, noted):
    """Left by an earlier pass, or (noted) changed after a process had verified them."""
    first = nursery.start(f"{LAST} before SIGKILL")
    assert nursery.wait(first) == -signal.SIGKILL
    if not noted:
        shutil.rmtree(nursery.folder / ".pass")
    tars = sorted(nursery.folder.glob("*.tar"))
    data = bytearray(tars[3].read_bytes())
    data[700] ^= 1
    tars[3].write_bytes(data)
    tars[7].write_bytes(tars[8].read_bytes())
    tars[11].with_name("train-000011.index.json").write_bytes(b"{")
    begun = len(nursery.shards_begun())
    assert [nursery.wait(pid) for pid in [nursery.start() for _ in range(3)]] == [0, 0, 0]
    assert sorted(number for _, number in nursery.shards_begun()[begun:]) == [3, 7, 11]
    assert nursery.labels() == expected


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_it_at_once_and_another_continues_at_once(nursery, expected, number, status):
    nursery.limit = 1e9
    first = nursery.start()
    nursery.wait_until(lambda: len(nursery.shards_begun()) >= 4)
    began = time.monotonic()
    os.kill(first, number)
    assert nursery.wait(first) == status
    assert time.monotonic() - began < 2
    assert "Traceback" not in nursery.output(first)
    assert {name: data for name, data in nursery.labels().items() if name.startswith("train-")}.items() <= (
        expected.items()
    )
    nursery.finish()
    assert nursery.labels() == expected


def test_who_labels_with_a_checkpoint_that_was_replaced_is_told(nursery, expected):
    """The folder switches to the newer labels at once; what the older process still writes is lost."""
    first = nursery.start()
    nursery.wait_until(lambda: len(nursery.shards_begun()) >= 3)
    os.kill(first, signal.SIGSTOP)  # or a busy machine may let it finish before the newer one begins
    try:
        label(Experiment(nursery.experiment.path, [*nursery.experiment.overrides, "label.batch_size=1"]))
    finally:
        os.kill(first, signal.SIGCONT)
    assert nursery.wait(first) == 1
    assert "was deleted or given to labels of other options while this process labelled" in nursery.output(first)
    written = nursery.labels()
    assert json.loads(written[".label.json"])["job"]["batch"] == 1
    assert sorted(written) == sorted(expected)
    assert Manifest.load(nursery.folder, kind="labels").complete()
    assert [path.name for path in nursery.folder.parent.iterdir() if path.name.endswith(".tmp")] == []
