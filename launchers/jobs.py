"""What a job script asks between its launches: may it start, how did it end, and how are the ranks told to stop.

A launcher's exit status says only that something ended. What says more is there in the run's folder: what the stage
makes, ``status.json``, and the note that :func:`begin` leaves for one job and stage::

    .restarts-train-4711.json    {"progress": 500, "without": 0, "status": {...}}

The shell reads one word from standard output; what is for people goes to standard error.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from shards.atomic import read_json, write_json
from shards.errors import UserError
from trainer.progress import show as show_table
from trainer.runs import status

FINISHED, START, AGAIN, FAILED = "finished", "start", "again", "failed"


def begin(options: argparse.Namespace) -> None:
    """Answer ``start``, or ``finished`` if nothing is left to do.

    Raises:
        UserError: what would fail again and again; or too many restarts of this job came no further.
    """
    from trainer.runs.folder import claim

    stage = _stage(options)
    claim(stage.experiment)
    if stage.finished():
        print(FINISHED)
        return
    stage.check()
    path, limit = _note(stage), int(os.environ.get("RESTARTS", "3"))
    last = read_json(path, "delete it") if path.exists() else {"progress": -1, "without": 0}
    progress = stage.progress()
    without = 0 if progress > last["progress"] else last["without"] + 1
    if without > limit:
        what = f"was started {without + 1} times and came no further than {progress}"
        hint = "see above, and in status.json, how it ended each time; then submit it again"
        raise UserError(what, file=stage.experiment.folder, key=stage.name, hint=hint)
    before = status.read(stage.experiment.folder)
    write_json(path, {"progress": progress, "without": without, "status": before.to_json() if before else {}})
    print(START)


def end(options: argparse.Namespace) -> None:
    """Answer ``finished``; ``failed`` if it would fail again; or ``again`` if the job should be started again."""
    stage = _stage(options)
    path, said = _note(stage), status.read(stage.experiment.folder)
    if said and (said.job != os.environ.get("SLURM_JOB_ID") or said == _before(path)):
        said = None  # of another job, or of an earlier launch
    if stage.finished():
        answer, why = FINISHED, str(stage.experiment.folder)
    elif said and said.state == status.FAILED:
        answer, why = FAILED, str(said.why)
    else:
        answer, why = AGAIN, (said.why or "killed") if said else "ended before it began"
    if answer != AGAIN:
        path.unlink()
    print(f"tutelage: {stage.name} {answer}: {why}", file=sys.stderr)
    print(answer)


def stages(options: argparse.Namespace) -> None:
    """Answer the stages that a job does, one after the other, in one line."""
    from trainer.pipeline import STAGES

    print(*STAGES[options.job])


def stop(options: argparse.Namespace) -> None:
    """Ask this job's ranks on this host to stop: SIGUSR1 to each, and to nobody else."""
    for rank in _ranks(os.environ.get("SLURM_JOB_ID", "")):
        with suppress(ProcessLookupError):
            os.kill(rank, signal.SIGUSR1)


def show(options: argparse.Namespace) -> None:
    """Print where the jobs of an experiment stand: a table or, for scripts, tab-separated words in the order of its
    columns, without titles."""
    from launchers.stage import standing
    from trainer.experiment import Experiment

    rows = []
    for number, (job, state, said) in enumerate(standing(Experiment(options.config, options.overrides))):
        folder = job.experiment.folder if job.stages else job.experiment.config.data.path
        after, why = ",".join(map(str, job.after)) or "-", " ".join(said.split())
        call = [job.experiment.spelling, *job.experiment.overrides]
        rows.append((str(number), job.name, state, str(folder), why, after, call))
    if options.tsv:
        for _, *words, call in rows:
            print(*words, *call, sep="\t")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "job", "state", "folder", "", "after"):
        table.add_column(title, overflow="fold")
    for *words, _ in rows:
        table.add_row(*words)
    show_table(table)


def _ranks(job: str) -> Iterator[int]:
    """Processes that a launcher started: they carry its mark, and their parents (it, or a container) do not."""
    marked, parents = set(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended, or is another user's
            words = (folder / "environ").read_bytes().split(b"\0")
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            names = [word.partition(b"=")[0] for word in words]
            if b"ACCELERATE_MIXED_PRECISION" in names and f"SLURM_JOB_ID={job}".encode() in words:
                marked.add(int(folder.name))
    return (each for each in marked if parents[each] not in marked)


def _stage(options: argparse.Namespace) -> Any:
    from launchers.stage import Stage
    from trainer.experiment import Experiment

    return Stage(options.stage, Experiment(options.config, options.overrides))


def _before(note: Path) -> status.Status | None:
    """The status that :func:`begin` found."""
    found = read_json(note, "submit the job again")["status"]
    return status.Status.from_json(found, note) if found else None


def _note(stage: Any) -> Path:
    return stage.experiment.folder / f".restarts-{stage.name}-{os.environ.get('SLURM_JOB_ID', '0')}.json"
