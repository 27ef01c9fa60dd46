"""What an interruption costs, and what being ready for one does: stops, restarts, checkpoints, lost launchers.

    python -m benchmarks.interruption CONFIG [key=value ...] [--ranks N] [--rounds N] [--late STEP]

On real processes, one thread each, with a run folder in a temporary directory (TMPDIR says on which disk):

stop          SIGTERM to the last of N ranks, at a random moment of a step; until a checkpoint is written and all ended
lost          kill -9 to the launcher, likewise; until all ranks have ended
first batch   from the start of ``tutelage train`` to the first batch in hand, in a new run and in one that continues;
              and the loader's part of it, at steps 0, STEP and 1,000,000 in turn, with and without loader threads
checkpoint    how long the training loop is held (a copy of the state), and steps while it is being written, against
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
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.runs.records import Records
from trainer.trainer import Trainer
from trainer.trainingdata import TrainingData
from trainer.trainstage import trainer_of

EVERY = 10
"""Steps between the checkpoints whose cost is measured; none may take longer to write."""
FAR = 10**6
"""A step that a long run may continue from."""

# The command itself, which ends where its first step would begin
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
    arguments.add_argument("--ranks", type=int, default=2, help="of the stopped and the lost run (default: 2)")
    arguments.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (default: 5)")
    arguments.add_argument("--late", type=int, default=100, help="step that a run is continued from (default: 100)")
    options = arguments.parse_intermixed_args()
    end_like_ctrl_c()
    with tempfile.TemporaryDirectory() as name:
        call = [options.config, *options.overrides, "evaluate.every=0"]
        endless = [*call, f"train.steps={10 * FAR}", f"checkpoint.every={10 * FAR}", "train.log_every=1"]
        figures = Figures()
        run = Run(Path(name) / "run", endless, options.ranks)
        for number in range(options.rounds):
            run.stop(figures, after=0 if number else options.late)
        for _ in range(options.rounds):
            run.lose(figures)
        for number in range(options.rounds):
            new = Path(name) / f"new-{number}"
            figures.add("first batch: new run, from its start", first_batch(endless, new))
            title = f"first batch: run continued at step {run.saved()}, from its start"
            figures.add(title, first_batch(endless, run.folder))
        for more, where in (([], "as configured"), (["data.num_workers=0"], "data.num_workers=0")):
            for step, seconds in ask("loader", str(options.rounds), str(options.late), *call, *more).items():
                figures.add(f"first batch: loader at step {int(step):,}, {where}", *seconds)
        for title, seconds in ask("checkpoints", str(options.rounds), name, *call).items():
            figures.add(f"checkpoint: {title}", *seconds)
        size = sum(file.stat().st_size for file in run.newest().iterdir())
    title = f"{options.ranks} ranks, one thread each, {os.cpu_count()} processors, checkpoints of {size / 1e6:.1f} MB"
    Console(width=120).print(figures.table(title))


@dataclass
class Figures:
    """Seconds of what was measured."""

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
        call: configuration and overrides, of a run that never ends.
    """

    def __init__(self, folder: Path, call: Sequence[str], ranks: int) -> None:
        self.folder, self.ranks = folder, ranks
        self.words = ["-m", "tutelage", "train", *call, f"run.path={folder}"]
        self.batch = Experiment(call[0], call[1:]).config.train.global_batch_size

    def newest(self) -> Path:
        """The newest checkpoint."""
        path = checkpoint.newest(self.folder / "checkpoints")
        if path is None:
            sys.exit("a stopped run left no checkpoint")
        return path

    def saved(self) -> int:
        """The step it continues from."""
        return int(self.newest().name.rpartition("-")[2])

    def stop(self, figures: Figures, after: int) -> None:
        """SIGTERM to one rank, at least ``after`` steps into the run."""
        with Job(*self.words, ranks=self.ranks) as job:
            ranks, step = self.at_work(job, after)
            began, done = time.time(), self.step()
            ended, gone = endings(job, ranks, ranks[-1].terminate)
            if self.saved() < done:
                sys.exit(f"the run was stopped without a checkpoint\n{job.said()}")
        figures.add("stop: a step of the run", step)
        figures.add("stop: from SIGTERM to a whole checkpoint", self.newest().stat().st_ctime - began)
        figures.add("stop: to the end of all ranks", ended)
        figures.add("stop: to the end of launcher and loader threads", gone)

    def lose(self, figures: Figures) -> None:
        """kill -9 to the launcher."""
        with Job(*self.words, ranks=self.ranks) as job:
            ranks, _ = self.at_work(job, 0)
            ended, gone = endings(job, ranks, job.process.kill)
        figures.add("lost: from kill -9 of the launcher to the end of all ranks", ended)
        figures.add("lost: to the end of loader threads", gone)

    def at_work(self, job: Job, after: int) -> tuple[list[psutil.Process], float]:
        """The ranks, at a random moment of a step that is not among the first; and what a step takes them."""
        goal = max(self.step() + 5, after)
        while self.step() < goal:
            if job.process.poll() is not None:
                sys.exit(f"the run ended by itself\n{job.said()}")
            time.sleep(0.02)
        step = statistics.median(seconds for _, seconds in self.lines()[-4:])
        time.sleep(random.uniform(0, step))
        children = psutil.Process(job.process.pid).children()
        ranks = [child for child in children if "tutelage" in child.cmdline()]
        return sorted(ranks, key=lambda rank: int(rank.environ().get("RANK", "0"))), step

    def step(self) -> int:
        """The last step that was logged."""
        return max((step for step, _ in self.lines()), default=0)

    def lines(self) -> list[tuple[int, float]]:
        """Steps that were logged, and the seconds that each took."""
        path = self.folder / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(line["step"], self.batch / line["speed"]["samples_per_second"]) for line in lines if "speed" in line]


def endings(job: Job, ranks: list[psutil.Process], end: Callable[[], object]) -> tuple[float, float]:
    """Seconds from an action to the end of all ranks, and to the end of all that a job started."""
    began = time.perf_counter()
    end()
    while any(lives(rank) for rank in ranks):
        time.sleep(0.002)
    ended = time.perf_counter() - began
    while job.process.poll() is None or job.members():
        time.sleep(0.02)
    return ended, time.perf_counter() - began


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def first_batch(call: Sequence[str], folder: Path) -> float:
    """Seconds from the start of a process, without a launcher, to its first batch."""
    began = time.time()
    with Job("-c", FIRST_BATCH, *call, f"run.path={folder}") as job:
        return answer(job) - began


def ask(function: str, *words: str) -> dict[str, list[float]]:
    """What a function of this module finds in a process of its own, whose loader threads need not import it."""
    with Job("-c", f"from benchmarks import interruption; interruption.{function}()", *words) as job:
        return answer(job)


def answer(job: Job) -> Any:
    """The value that a process of this program printed."""
    found = re.search("^answer: (.*)$", job.finish(), re.MULTILINE)
    if not found:
        sys.exit(f"no answer\n{job.said()}")
    return json.loads(found[1])


def loader() -> None:
    """Prints the seconds from a loader's creation to its first batch, by the step that it starts at."""
    rounds, late, config, *overrides = sys.argv[1:]
    experiment = Experiment(config, overrides)
    options = experiment.config
    batches = Batches(options.train.global_batch_size, options.train.gradient_accumulation_steps)
    seconds: dict[int, list[float]] = {0: [], int(late): [], FAR: []}
    for number in range(int(rounds) + 1):
        for step, taken in seconds.items():
            frames = experiment.training_frames()  # with no file open yet
            began = time.perf_counter()
            stream = TrainingData.of(options, frames).batches(batches, step, step + 1)
            next(stream)
            taken += [time.perf_counter() - began] if number else []  # the first round warms up
            stream.close()
    print("answer:", json.dumps(seconds), flush=True)


Spans = list[tuple[float, float]]


def watch_checkpoints(trainer: Trainer) -> tuple[list[float], Spans]:
    """Lists that will hold how long each checkpoint holds the loop, and when it began and ended being written."""
    held: list[float] = []
    written: Spans = []
    checkpointer = trainer.checkpointer
    checkpointer.writer.close()
    checkpointer.writer = TimedBackground(written)
    save = checkpointer.save

    def timed_save(step: int, records: Records | None) -> None:
        began = time.perf_counter()
        save(step, records)
        held.append(time.perf_counter() - began)

    checkpointer.save = timed_save  # type: ignore[method-assign]
    return held, written


class TimedBackground(Background):
    """Notes when each call began and ended."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans
        super().__init__(limit=1)

    def submit(self, call: Callable[[], object]) -> None:
        def timed() -> None:
            began = time.perf_counter()
            call()
            self.spans.append((began, time.perf_counter()))

        super().submit(timed)


def checkpoints() -> None:
    """Prints what checkpoints cost a run that writes one every few steps."""
    rounds, folder, config, *overrides = sys.argv[1:]
    steps = EVERY * (int(rounds) + 1)
    fixed = [f"train.steps={steps}", f"checkpoint.every={EVERY}", f"run.path={folder}/checkpoints"]
    experiment = Experiment(config, [*overrides, *fixed])
    claim(experiment)
    trainer = trainer_of(experiment)
    held, written = watch_checkpoints(trainer)
    spans, began = [], time.perf_counter()
    for step in trainer.iterate():
        ended = time.perf_counter()
        if step > EVERY and step % EVERY:  # without the steps at whose end a checkpoint is made
            spans.append((began, ended))
        began = time.perf_counter()
    trainer.checkpointer.writer.close()
    beside: list[float] = []
    others: list[float] = []
    for began, ended in spans:
        overlaps = any(began < end and start < ended for start, end in written)
        (beside if overlaps else others).append(ended - began)
    usual = statistics.median(others or beside)
    extra = sum(seconds - usual for seconds in beside) / len(written)
    found = {
        "training loop held": held,
        "being written, in the background": [end - start for start, end in written],
        "a step meanwhile": beside,
        "any other step": others,
        "what one costs the run in all (means)": [statistics.fmean(held) + extra],
    }
    print("answer:", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
