"""The queries of a job script between its launches: whether to start, how a launch ended, and stopping the ranks.

A launcher's exit status does not tell why it ended. The run's folder does: the output of the stage, ``status.json``,
and the note that :func:`begin` writes for one job and stage::

    .restarts-train-4711.json    {"progress": 500, "without": 0, "status": {...}}

The shell reads one word from standard output; messages for users go to standard error.
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

from launchers.console import print_table
from shards.atomic import read_json, write_json
from shards.errors import UserError
from trainer.pipeline import TRAIN
from trainer.runs import status

FINISHED, START, AGAIN, FAILED = "finished", "start", "again", "failed"


def begin(options: argparse.Namespace) -> None:
    """Print ``start``, or ``finished`` if there is nothing left to do.

    Raises:
        UserError: for an error that restarts cannot fix, or after too many restarts without progress.
    """
    from trainer.runs.folder import verify

    stage = _stage(options)
    verify(stage.experiment)
    if stage.finished():
        print(FINISHED)
        return
    path, limit = _note_path(stage), int(os.environ.get("RESTARTS", "3"))
    first = not path.exists()
    if first or stage.name != TRAIN:  # training's check takes seconds, and its ranks repeat it
        stage.check()
    last_start = {"progress": -1, "without": 0} if first else read_json(path, "delete it")
    progress = stage.progress()
    fruitless_starts = 0 if progress > last_start["progress"] else last_start["without"] + 1
    if fruitless_starts > limit:
        message = f"was started {fruitless_starts + 1} times and came no further than {progress}"
        hint = "see above, and in status.json, how it ended each time; then submit it again"
        raise UserError(message, file=stage.experiment.folder, key=stage.name, hint=hint)
    last_status = status.read(stage.experiment.folder)
    entry = last_status.to_json() if last_status else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"progress": progress, "without": fruitless_starts, "status": entry})
    print(START)


def end(options: argparse.Namespace) -> None:
    """Print ``finished``, ``failed`` if it would fail again, or ``again`` if the job should be restarted."""
    stage = _stage(options)
    path, last_status = _note_path(stage), status.read(stage.experiment.folder)
    if last_status and (last_status.job != os.environ.get("SLURM_JOB_ID") or last_status == _status_at_start(path)):
        last_status = None  # it belongs to another job or an earlier launch
    if stage.finished():
        answer, reason = FINISHED, str(stage.experiment.folder)
    elif last_status and last_status.state == status.FAILED:
        answer, reason = FAILED, str(last_status.why)
    else:
        answer, reason = AGAIN, (last_status.why or "killed") if last_status else "ended before it began"
    if answer != AGAIN:
        path.unlink()
    print(f"tutelage: {stage.name} {answer}: {reason}", file=sys.stderr)
    print(answer)


def stages(options: argparse.Namespace) -> None:
    """Print the stages that a job runs, in their order, on one line."""
    from trainer.pipeline import STAGES

    print(*STAGES[options.job])


def stop(options: argparse.Namespace) -> None:
    """Ask this job's ranks on this host to stop: send SIGUSR1 to each of them, and to no other process."""
    for rank in _ranks(os.environ.get("SLURM_JOB_ID", "")):
        with suppress(ProcessLookupError):
            os.kill(rank, signal.SIGUSR1)


def show(options: argparse.Namespace) -> None:
    """Print the states of an experiment's jobs: as a table or, for scripts, as tab-separated words in the order of its
    columns, without titles."""
    from launchers.stage import job_states
    from trainer.experiment import Experiment

    rows = []
    for number, (job, state, state_reason) in enumerate(job_states(Experiment(options.config, options.overrides))):
        folder = job.experiment.folder if job.stages else job.experiment.config.data.path
        dependencies, reason = ",".join(map(str, job.after)) or "-", " ".join(state_reason.split())
        call = [job.experiment.spelling, *job.experiment.overrides]
        rows.append((str(number), job.name, state, str(folder), reason, dependencies, call))
    if options.tsv:
        for _, *words, call in rows:
            print(*words, *call, sep="\t")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "job", "state", "folder", "reason", "after"):
        table.add_column(title, overflow="fold")
    for *words, _ in rows:
        table.add_row(*words)
    print_table(table)


def _ranks(job: str) -> Iterator[int]:
    """Return the processes started by a launcher: they have its variables in their environment, their parents not."""
    launched, parents = set(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process ended, or belongs to another user
            environment = (folder / "environ").read_bytes().split(b"\0")
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            names = [variable.partition(b"=")[0] for variable in environment]
            if b"ACCELERATE_MIXED_PRECISION" in names and f"SLURM_JOB_ID={job}".encode() in environment:
                launched.add(int(folder.name))
    return (pid for pid in launched if parents[pid] not in launched)


def _stage(options: argparse.Namespace) -> Any:
    from launchers.stage import Stage
    from trainer.experiment import Experiment

    return Stage(options.stage, Experiment(options.config, options.overrides))


def _status_at_start(note: Path) -> status.Status | None:
    """Return the status that :func:`begin` recorded."""
    entry = read_json(note, "submit the job again")["status"]
    return status.Status.from_json(entry, note) if entry else None


def _note_path(stage: Any) -> Path:
    return stage.experiment.folder / f".restarts-{stage.name}-{os.environ.get('SLURM_JOB_ID', '0')}.json"
