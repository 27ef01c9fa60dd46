"""Cost of interruptions and of the preparation for them: stops, restarts, checkpoints, lost launchers.

    python -m benchmarks.interruption CONFIG [key=value ...] [--ranks N] [--rounds N] [--late STEP]

Measured on real processes, one thread each, with a run folder in a temporary directory (TMPDIR selects the disk):

stop          SIGTERM to the last of N ranks, at a random moment of a step, until a checkpoint is written and all ended
lost          kill -9 to the launcher, likewise, until all ranks have ended
first batch   from the start of ``tutelage train`` to the first loaded batch, in a new run and in one that continues;
              and the loader's part of it, at steps 0, STEP and 1,000,000 in turn, with and without loader threads
checkpoint    time that the training loop is held (a copy of the state), and steps during its writing, compared with
              other steps of the same run
"""

import argparse
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from benchmarks.scaling import Job, end_like_ctrl_c
from shards.stream import Batches
from trainer.experiment import Experiment
from trainer.overlap import Background
from trainer.runs import artifacts
from trainer.runs.folder import claim
from trainer.runs.records import Records
from trainer.trainer import Trainer
from trainer.trainingdata import TrainingData
from trainer.trainstage import trainer_of

EVERY = 10
"""Steps between the checkpoints whose cost is measured; each must be written within that time."""
FAR = 10**6
"""A step that a long run may continue from."""

# The command itself, which exits where its first step would begin
FIRST_BATCH = """
import json, sys, time
from launchers.cli import main
from trainer.trainer import Trainer

def optimise(trainer, micro):
    print("answer:", json.dumps(time.time()), flush=True)
    sys.exit()

Trainer.optimise = optimise
main(["train", *sys.argv[1:]])
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("config")
    arguments.add_argument("overrides", nargs="*", metavar="key=value")
    arguments.add_argument("--ranks", type=int, default=2, help="ranks of the stopped and the lost run (default: 2)")
    arguments.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement (default: 5)")
    arguments.add_argument("--late", type=int, default=100, help="step that a run is continued from (default: 100)")
    options = arguments.parse_intermixed_args()
    end_like_ctrl_c()
    with tempfile.TemporaryDirectory() as name:
        call = [options.config, *options.overrides, "evaluate.every=0"]
        endless = [*call, f"train.steps={10 * FAR}", f"checkpoint.every={10 * FAR}", "train.log_every=1"]
        figures = Figures()
        run = Run(Path(name) / "run", endless, options.ranks)
        for number in range(options.rounds):
            run.measure_stop(figures, after=0 if number else options.late)
        for _ in range(options.rounds):
            run.measure_loss(figures)
        for number in range(options.rounds):
            new = Path(name) / f"new-{number}"
            figures.add("first batch: new run, from its start", first_batch(endless, new))
            title = f"first batch: run continued at step {run.saved_step()}, from its start"
            figures.add(title, first_batch(endless, run.folder))
        for extra, setting in (([], "as configured"), (["data.num_workers=0"], "data.num_workers=0")):
            for step, seconds in run_function("loader", str(options.rounds), str(options.late), *call, *extra).items():
                figures.add(f"first batch: loader at step {int(step):,}, {setting}", *seconds)
        for title, seconds in run_function("checkpoints", str(options.rounds), name, *call).items():
            figures.add(f"checkpoint: {title}", *seconds)
        size = sum(file.stat().st_size for file in run.newest_checkpoint().iterdir())
    title = f"{options.ranks} ranks, one thread each, {os.cpu_count()} processors, checkpoints of {size / 1e6:.1f} MB"
    Console(width=120).print(figures.table(title))


@dataclass
class Figures:
    """Measured seconds by title."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, title: str, *seconds: float) -> None:
        if seconds:
            self.seconds.setdefault(title, []).extend(seconds)

    def table(self, title: str) -> Table:
        table = Table(title=title)
        for name in ("", "median", "least", "most", "of"):
            table.add_column(name, justify="right" if name else "left")
        group = ""
        for name, seconds in self.seconds.items():
            if group and not name.startswith(group):
                table.add_section()
            group = name.partition(":")[0]
            values = (statistics.median(seconds), min(seconds), max(seconds))
            table.add_row(name, *(f"{1000 * value:,.1f} ms" for value in values), str(len(seconds)))
        return table


class Run:
    """A run on several ranks that is interrupted again and again.

    Args:
        call: configuration and overrides of a run that never ends.
    """

    def __init__(self, folder: Path, call: Sequence[str], ranks: int) -> None:
        self.folder, self.ranks = folder, ranks
        self.words = ["-m", "tutelage", "train", *call, f"run.path={folder}"]
        self.batch = Experiment(call[0], call[1:]).config.train.global_batch_size

    def newest_checkpoint(self) -> Path:
        """Return the newest checkpoint."""
        path = artifacts.newest(self.folder / "checkpoints")
        if path is None:
            sys.exit("a stopped run left no checkpoint")
        return path

    def saved_step(self) -> int:
        """Return the step that it continues from."""
        return int(self.newest_checkpoint().name.rpartition("-")[2])

    def measure_stop(self, figures: Figures, after: int) -> None:
        """Measure a SIGTERM to one rank, at least ``after`` steps into the run."""
        with Job(*self.words, ranks=self.ranks) as job:
            ranks, step = self.wait_for_steps(job, after)
            start, last_step = time.time(), self.logged_step()
            ended, all_ended = time_endings(job, ranks, ranks[-1].terminate)
            if self.saved_step() < last_step:
                sys.exit(f"the run was stopped without a checkpoint\n{job.read_output()}")
        figures.add("stop: a step of the run", step)
        figures.add("stop: from SIGTERM to a whole checkpoint", self.newest_checkpoint().stat().st_ctime - start)
        figures.add("stop: to the end of all ranks", ended)
        figures.add("stop: to the end of launcher and loader threads", all_ended)

    def measure_loss(self, figures: Figures) -> None:
        """Measure a kill -9 to the launcher."""
        with Job(*self.words, ranks=self.ranks) as job:
            ranks, _ = self.wait_for_steps(job, 0)
            ended, all_ended = time_endings(job, ranks, job.process.kill)
        figures.add("lost: from kill -9 of the launcher to the end of all ranks", ended)
        figures.add("lost: to the end of loader threads", all_ended)

    def wait_for_steps(self, job: Job, after: int) -> tuple[list[psutil.Process], float]:
        """Wait for a random moment of a later step. Return the ranks and the seconds of a step."""
        goal = max(self.logged_step() + 5, after)
        while self.logged_step() < goal:
            if job.process.poll() is not None:
                sys.exit(f"the run ended by itself\n{job.read_output()}")
            time.sleep(0.02)
        step = statistics.median(seconds for _, seconds in self.logged_steps()[-4:])
        time.sleep(random.uniform(0, step))
        children = psutil.Process(job.process.pid).children()
        ranks = [child for child in children if "tutelage" in child.cmdline()]
        return sorted(ranks, key=lambda rank: int(rank.environ().get("RANK", "0"))), step

    def logged_step(self) -> int:
        """Return the last logged step."""
        return max((step for step, _ in self.logged_steps()), default=0)

    def logged_steps(self) -> list[tuple[int, float]]:
        """Return the logged steps and the seconds of each."""
        path = self.folder / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(line["step"], self.batch / line["speed"]["samples_per_second"]) for line in lines if "speed" in line]


def time_endings(job: Job, ranks: list[psutil.Process], end: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds from an action to the end of all ranks, and to the end of all processes of a job."""
    start = time.perf_counter()
    end()
    while any(is_alive(rank) for rank in ranks):
        time.sleep(0.002)
    ended = time.perf_counter() - start
    while job.process.poll() is None or job.members():
        time.sleep(0.02)
    return ended, time.perf_counter() - start


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def first_batch(call: Sequence[str], folder: Path) -> float:
    """Return the seconds from the start of a process, without a launcher, to its first batch."""
    start = time.time()
    with Job("-c", FIRST_BATCH, *call, f"run.path={folder}") as job:
        return read_answer(job) - start


def run_function(function: str, *words: str) -> dict[str, list[float]]:
    """Return the result of a function of this module, run in a new process."""
    with Job("-c", f"from benchmarks import interruption; interruption.{function}()", *words) as job:
        return read_answer(job)


def read_answer(job: Job) -> Any:
    """Return the value that a process of this program printed."""
    match = re.search("^answer: (.*)$", job.finish(), re.MULTILINE)
    if not match:
        sys.exit(f"no answer\n{job.read_output()}")
    return json.loads(match[1])


def loader() -> None:
    """Print the seconds from a loader's creation to its first batch, by the step that it starts at."""
    rounds, late, config, *overrides = sys.argv[1:]
    experiment = Experiment(config, overrides)
    options = experiment.config
    batches = Batches(options.train.global_batch_size, options.train.gradient_accumulation_steps)
    seconds: dict[int, list[float]] = {0: [], int(late): [], FAR: []}
    for number in range(int(rounds) + 1):
        for step, times in seconds.items():
            frames = experiment.training_frames()  # new, without open files
            start = time.perf_counter()
            stream = TrainingData.of(options, frames).batches(batches, step, step + 1)
            next(stream)
            times += [time.perf_counter() - start] if number else []  # the first round is a warm-up
            stream.close()
    print("answer:", json.dumps(seconds), flush=True)


Spans = list[tuple[float, float]]


def watch_checkpoints(trainer: Trainer) -> tuple[list[float], Spans]:
    """Return lists that training fills: seconds that each checkpoint holds the loop, and its writing spans."""
    hold_times: list[float] = []
    write_spans: Spans = []
    checkpointer = trainer.checkpointer
    checkpointer.writer.close()
    checkpointer.writer = TimedBackground(write_spans)
    save = checkpointer.save

    def timed_save(step: int, records: Records | None) -> None:
        start = time.perf_counter()
        save(step, records)
        hold_times.append(time.perf_counter() - start)

    checkpointer.save = timed_save  # type: ignore[method-assign]
    return hold_times, write_spans


class TimedBackground(Background):
    """A background worker that records when each call began and ended."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans
        super().__init__(limit=1)

    def submit(self, call: Callable[[], object]) -> None:
        def timed() -> None:
            start = time.perf_counter()
            call()
            self.spans.append((start, time.perf_counter()))

        super().submit(timed)


def checkpoints() -> None:
    """Print the cost of checkpoints for a run that writes one every few steps."""
    rounds, folder, config, *overrides = sys.argv[1:]
    steps = EVERY * (int(rounds) + 1)
    fixed = [f"train.steps={steps}", f"checkpoint.every={EVERY}", f"run.path={folder}/checkpoints"]
    experiment = Experiment(config, [*overrides, *fixed])
    claim(experiment)
    trainer = trainer_of(experiment)
    hold_times, write_spans = watch_checkpoints(trainer)
    spans, start = [], time.perf_counter()
    for step in trainer.iterate():
        end = time.perf_counter()
        if step > EVERY and step % EVERY:  # excludes steps that end with a checkpoint
            spans.append((start, end))
        start = time.perf_counter()
    trainer.checkpointer.writer.close()
    overlapping: list[float] = []
    other_steps: list[float] = []
    for start, end in spans:
        overlaps = any(start < write_end and write_start < end for write_start, write_end in write_spans)
        (overlapping if overlaps else other_steps).append(end - start)
    usual = statistics.median(other_steps or overlapping)
    extra = sum(seconds - usual for seconds in overlapping) / len(write_spans)
    results = {
        "training loop held": hold_times,
        "being written, in the background": [write_end - write_start for write_start, write_end in write_spans],
        "a step meanwhile": overlapping,
        "any other step": other_steps,
        "what one costs the run in all (means)": [statistics.fmean(hold_times) + extra],
    }
    print("answer:", json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
