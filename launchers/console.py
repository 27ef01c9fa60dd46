"""What the commands show on standard output: their own lines and tables, and what the library reports meanwhile."""

import logging
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from launchers.output import SafeStream
from shards.log import logger
from trainer.progress import Report, show_progress
from trainer.ranks import rank

_INTERVAL = 10.0
"""Seconds between the plain lines that replace a bar where the output is not a terminal."""


def _console(width: int | None = None) -> Console:
    """Create a console without markup, since the text it prints contains names of files, classes and runs."""
    file = cast(IO[str], SafeStream("stdout"))
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


console = _console()


def print_line(line: str) -> None:
    """Print a line, once for all ranks."""
    if rank() == 0:
        console.print(line, soft_wrap=True)


def print_table(table: RenderableType) -> None:
    """Print a table, once for all ranks; in its full width where the output is not a terminal."""
    if rank() == 0:
        (console if console.is_terminal else _console(240)).print(table)


@contextmanager
def show_reports() -> Iterator[None]:
    """Context in which the library's messages are printed as lines, and its progress is shown."""
    handler, level, propagate = _LineHandler(), logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a user's module may have configured the root logger, which would print them again
    try:
        with show_progress(_bar):
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


class _LineHandler(logging.Handler):
    """Prints messages as lines, and tracebacks to standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            traceback.print_exception(record.exc_info[1])
        print_line(record.getMessage())


@contextmanager
def _bar(title: str, total: int, done: int) -> Iterator[Report]:
    """Show a bar with counts, figures and the remaining time on a terminal, and plain lines elsewhere."""
    if not console.is_terminal:
        yield _PlainLines(title, total, done)
        return
    # the figures come last, so that a narrow terminal truncates them and not the counts or the time
    counts = MofNCompleteColumn(table_column=Column(no_wrap=True))
    remaining = TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7))
    figures_column = TextColumn(
        "{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
    )
    columns = (TextColumn("{task.description}", markup=False), BarColumn(16), counts, remaining, figures_column)
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task(title, total=total, completed=done, figures="")

        def update(advance: int, figures: str = "") -> None:
            bar.update(task, advance=advance)
            if figures:
                bar.update(task, figures=figures)

        yield update


class _PlainLines:
    def __init__(self, title: str, total: int, done: int) -> None:
        self.title, self.total, self.start, self.done = title, total, done, done
        self.started_at = self.printed_at = time.monotonic()
        self.figures = ""

    def __call__(self, advance: int, figures: str = "") -> None:
        self.done += advance
        self.figures = figures or self.figures
        now = time.monotonic()
        if now - self.printed_at < _INTERVAL and self.done < self.total:
            return
        self.printed_at = now
        remaining = (now - self.started_at) / max(self.done - self.start, 1) * (self.total - self.done)
        print(
            f"{self.title} {self.done}/{self.total} {self.figures} {_clock(remaining)} left".replace("  ", " "),
            file=console.file,
            flush=True,
        )


def _clock(seconds: float) -> str:
    """Format seconds as ``h:mm:ss``."""
    total = round(seconds)
    return f"{total // 3600}:{total // 60 % 60:02d}:{total % 60:02d}"
