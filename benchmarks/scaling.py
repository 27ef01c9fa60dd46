"""Samples per second of training and labelling on several ranks compared with one, and the limit of the machine.

    python -m benchmarks.scaling CONFIG [key=value ...] [--ranks 1,2] [--steps N] [--rounds N] [--strong]

Real processes on CPUs (GPUs are hidden from them), one thread per rank, every arrangement in turn in each round:

one rank           the reference
N ranks            training with ``accelerate launch``; labelling by N commands that join the same pass
N apart            N independent single ranks at the same time: the ceiling of the machine, which is below N where
                   cores share execution units, caches or memory bandwidth

By default ``train.global_batch_size`` grows with the ranks, so that each has the same micro-batch (weak scaling). With
``--strong`` it is constant, and micro-batches shrink. In N apart, each has the batch of one rank.

Start-up is not counted. Training is timed from the first of ten log lines to the last; labelling, by a teacher of two
steps, from a quarter of the shards to the last that was finished while all processes had work; N apart are timed while
all of them were active. CONFIG must label something (a teacher), and its data set should have 32 shards or more.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from trainer.experiment import Experiment

LINES = 10
"""Log lines of a training run."""
SPEED = "speed/samples_per_second"
"""The tag that identifies the TensorBoard event of each log line, which carries its time."""
_MARK = "TUTELAGE_BENCHMARK"

Timeline = list[tuple[float, int]]
"""Times and the numbers of samples finished by then, from the end of a warm-up on."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--ranks", default="1,2", help="numbers of ranks (default: 1,2)")
    arguments.add_argument("--steps", type=int, default=100, help="steps of a training run (default: 100)")
    arguments.add_argument("--rounds", type=int, default=3, help="rounds, each with every arrangement (default: 3)")
    arguments.add_argument(
        "--strong", action="store_true", help="keep train.global_batch_size for all numbers of ranks"
    )
    options = arguments.parse_intermixed_args()
    end_like_ctrl_c()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    ranks = sorted({1, *map(int, options.ranks.split(","))})
    arrangements = [(count, together) for count in ranks for together in (True, False) if together or count > 1]
    with tempfile.TemporaryDirectory() as name:
        stages: dict[str, Callable[[int, bool], float]] = {
            "training": Training(Path(name), options.config, options.overrides, options.steps, options.strong),
            "labelling": Labelling(Path(name), options.config, options.overrides),
        }
        figures = {
            stage: [[measure(*arrangement) for arrangement in arrangements] for _ in range(options.rounds)]
            for stage, measure in stages.items()
        }
    batch = "global batch kept" if options.strong else "global batch grows with the ranks"
    table = Table(title=f"samples/s, {os.cpu_count()} processors, one thread a rank, {batch}, {options.rounds} rounds")
    for column in ("", "", "median", "least", "most", "against 1 rank", "least", "most", "of the ceiling"):
        table.add_column(column, justify="right" if column else "left")
    for stage, rounds in figures.items():
        for cells in rows(arrangements, rounds):
            table.add_row(stage, *cells)
        table.add_section()
    Console(width=140).print(table)


def rows(arrangements: Sequence[tuple[int, bool]], rounds: list[list[float]]) -> Iterator[list[str]]:
    """Yield a stage's rows of the table. Ratios are taken within a round, so that slow drifts of the machine cancel."""
    speeds = np.array(rounds)
    ratios = speeds / speeds[:, :1]
    for number, (count, together) in enumerate(arrangements):
        cells = [f"{count} rank{'s' * (count > 1)}" if together else f"{count} apart"]
        for figures, form in ((speeds[:, number], ".1f"), (ratios[:, number], ".2f")):
            cells += [format(figure, form) for figure in (np.median(figures), figures.min(), figures.max())]
        if together and count > 1:
            ceiling = speeds[:, arrangements.index((count, False))]
            cells.append(f"{statistics.median(speeds[:, number] / ceiling):.1%}")
        yield cells


class Training:
    """Measurement of training: called with a number of ranks, and whether they train together or one network each."""

    def __init__(self, folder: Path, config: str, overrides: Sequence[str], steps: int, strong: bool) -> None:
        self.folder, self.config, self.strong = folder, config, strong
        log_every = max(steps // LINES, 1)
        steps = log_every * LINES
        fixed = [f"train.steps={steps}", f"train.log_every={log_every}", f"checkpoint.every={steps + 1}"]
        self.overrides = [*overrides, *fixed, "evaluate.every=0"]
        self.batch = Experiment(config, overrides).config.train.global_batch_size

    def __call__(self, count: int, together: bool) -> float:
        batch = self.batch * (count if together and not self.strong else 1)
        words = ["-m", "tutelage", "train", self.config, *self.overrides, f"train.global_batch_size={batch}"]
        folders = [self.folder / f"train-{number}" for number in range(1 if together else count)]
        ranks = count if together else 1
        run_all([[*words, f"run.path={folder}"] for folder in folders], ranks)
        speed = rate([training_timeline(folder, batch) for folder in folders])
        for folder in folders:
            shutil.rmtree(folder)
        return speed


class Labelling:
    """Measurement of labelling: called with a number of processes, and whether they share a pass or run one each."""

    def __init__(self, folder: Path, config: str, overrides: Sequence[str]) -> None:
        self.folder, self.config, self.teacher = folder, config, folder / "teacher"
        self.overrides = [*overrides, "train.steps=2", "evaluate.every=0", "evaluate.checkpoint=last"]
        Experiment(config, overrides).frames_to_label()  # raises now if there are none
        run_all([["-m", "tutelage", "train", config, *self.overrides, f"run.path={self.teacher}"]])

    def __call__(self, count: int, together: bool) -> float:
        folders = [self.folder / f"label-{number}" for number in range(1 if together else count)]
        for folder in folders:
            shutil.copytree(self.teacher, folder)
        words = ["-m", "tutelage", "label", self.config, *self.overrides]
        places = folders * count if together else folders
        run_all([[*words, f"run.path={folder}"] for folder in places])
        speed = rate([labelling_timeline(folder / "labels/train", count if together else 1) for folder in folders])
        for folder in folders:
            shutil.rmtree(folder)
        return speed


def training_timeline(folder: Path, batch: int) -> Timeline:
    """Return the samples since the start of a run at each of its log lines."""
    from tensorboard.backend.event_processing import event_file_loader as loader  # type: ignore[import-untyped]

    events = [
        event for file in (folder / "tensorboard").iterdir() for event in loader.EventFileLoader(str(file)).Load()
    ]
    lines = [event for event in events if any(value.tag == SPEED for value in event.summary.value)]
    return sorted((line.wall_time, line.step * batch) for line in lines)


def labelling_timeline(folder: Path, processes: int) -> Timeline:
    """Return the samples since the start of a pass when each shard was finished, without the first quarter.

    It ends before a process may have run out of work, and after a multiple of ``processes`` shards: processes finish
    their shards in rounds, and a partial round would count work that began before.
    """
    files = sorted(folder.glob("*.index.json"), key=lambda file: file.stat().st_mtime_ns)
    times = [file.stat().st_mtime_ns / 1e9 for file in files]
    samples = [len(json.loads(file.read_bytes())["samples"]) for file in files]
    first, last = max(len(times) // 4, processes) - 1, len(times) - processes
    last -= (last - first) % processes
    if last <= first:
        sys.exit(f"{len(times)} shards are too few for {processes} processes: prepare the data set with smaller ones")
    return list(zip(times, np.cumsum(samples).tolist(), strict=True))[first : last + 1]


def rate(timelines: Sequence[Timeline]) -> float:
    """Return the samples per second of all together, while all were active."""
    start = max(timeline[0][0] for timeline in timelines)
    end = min(timeline[-1][0] for timeline in timelines)
    if start >= end:
        sys.exit("the processes were not at work at the same time: give more --steps, or a larger data set")
    samples = 0.0
    for timeline in timelines:
        before, after = np.interp([start, end], [time for time, _ in timeline], [count for _, count in timeline])
        samples += after - before
    return samples / (end - start)


class Job:
    """A Python process, or ranks under ``accelerate launch``, with one thread each.

    A context manager that leaves no process behind: ranks have their own sessions and outlive a launcher that is
    killed, so all processes carry a mark in their environment, by which they are found.

    Args:
        words: a script and its arguments, ``-m`` and a module, or ``-c`` and code.
        ranks: number of ranks under a launcher; None for a process without one.
    """

    def __init__(self, *words: str, ranks: int | None = None) -> None:
        self.mark = secrets.token_hex(8)
        environment = os.environ | {"OMP_NUM_THREADS": "1", _MARK: self.mark}
        call = [sys.executable]
        if ranks:
            multi_gpu = ["--multi_gpu"] if ranks > 1 else []  # accelerate refuses it for a single one
            call += ["-m", "accelerate.commands.launch", *multi_gpu, "--num_processes", str(ranks)]
            call += ["--main_process_port", str(_free_port())]
            environment["ACCELERATE_USE_CPU"] = "true"
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*call, *words], env=environment, stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def members(self) -> list[psutil.Process]:
        """Return the living processes of the job."""
        members = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(_MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
        return members

    def read_output(self) -> str:
        """Return all that was printed so far."""
        self.output.seek(0)
        return self.output.read()

    def finish(self) -> str:
        """Wait for the end, and return what was printed; exit this program if the job failed."""
        if self.process.wait():
            sys.exit(f"{' '.join(map(str, self.process.args))}\n{self.read_output()}")  # type: ignore[arg-type]
        return self.read_output()

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        while members := self.members():
            for process in members:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(members, timeout=5)
        self.process.wait()
        self.output.close()


def run_all(calls: Sequence[Sequence[str]], ranks: int | None = None) -> None:
    """Start jobs at the same time, and wait for all of them to finish."""
    with ExitStack() as stack:
        for job in [stack.enter_context(Job(*words, ranks=ranks)) for words in calls]:
            job.finish()


def end_like_ctrl_c() -> None:
    """Make SIGTERM end this program as Ctrl-C does, with its child processes and temporary files."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _free_port() -> int:
    with socket.socket() as connection:
        connection.bind(("localhost", 0))
        return connection.getsockname()[1]


if __name__ == "__main__":
    main()
