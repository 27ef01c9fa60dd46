"""Progress of long jobs: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from trainer.output import SafeStream
from trainer.ranks import rank


def _console(width: int | None = None) -> Console:
    """Create a console without markup, since the text it prints contains names of files, classes and runs."""
    file = cast(IO[str], SafeStream("stdout"))
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


console = _console()


def show(table: RenderableType) -> None:
    """Print a table, once for all ranks; in its full width where the output is not a terminal."""
    if rank() == 0:
        (console if console.is_terminal else _console(240)).print(table)


def log(line: str) -> None:
    """Print a line, once for all ranks."""
    if rank() == 0:
        console.print(line, soft_wrap=True)


class Report(Protocol):
    """Called with the number of items finished since the last call, and figures to show beside the bar."""

    def __call__(self, advance: int, figures: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int, *, done: int = 0, show: bool = True, every: float = 10.0) -> Iterator[Report]:
    """Show a bar with counts, figures and the remaining time.

    Args:
        title: text before the bar.
        total, done: number of all items, and of those finished before.
        show: False for ranks that print nothing.
        every: seconds between the plain lines that replace the bar where the output is not a terminal.
    """
    if not show:
        yield lambda advance, figures="": None
    elif console.is_terminal:
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
    else:
        yield _PlainLines(title, total, done, every)


class _PlainLines:
    def __init__(self, title: str, total: int, done: int, every: float) -> None:
        self.title, self.total, self.start, self.done, self.every = title, total, done, done, every
        self.started_at = self.printed_at = time.monotonic()
        self.figures = ""

    def __call__(self, advance: int, figures: str = "") -> None:
        self.done += advance
        self.figures = figures or self.figures
        now = time.monotonic()
        if now - self.printed_at < self.every and self.done < self.total:
            return
        self.printed_at = now
        remaining = (now - self.started_at) / max(self.done - self.start, 1) * (self.total - self.done)
        print(
            f"{self.title} {self.done}/{self.total} {self.figures} {clock(remaining)} left".replace("  ", " "),
            file=console.file,
            flush=True,
        )


class Speed:
    """Samples per second, and the share of time spent waiting for data, between one reading and the next."""

    def __init__(self) -> None:
        self.samples, self._waiting_seconds, self._start = 0, 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._waiting_seconds += time.perf_counter() - start

    def read(self) -> dict[str, float]:
        """Return the figures since the last reading, as stored in ``metrics.jsonl``."""
        seconds = time.perf_counter() - self._start
        figures = {
            "samples_per_second": round(self.samples / seconds, 2),
            "waiting_for_data": round(self._waiting_seconds / seconds, 4),
            "memory_megabytes": round(memory_megabytes()),
        }
        self.__init__()  # type: ignore[misc]
        return figures


def figures_line(entry: Mapping[str, Any]) -> str:
    """Format a log entry of training for the progress line."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in entry.get("loss", {}).items() if name != "total")
    speed = entry["speed"]
    return (
        f"{losses} · {speed['samples_per_second']:.1f} samples/s · {speed['waiting_for_data']:.0%} waiting for data · "
        f"{speed['memory_megabytes'] / 1000:.1f} GB"
    )


def clock(seconds: float) -> str:
    """Format seconds as ``h:mm:ss``."""
    total = round(seconds)
    return f"{total // 3600}:{total // 60 % 60:02d}:{total % 60:02d}"


def memory_megabytes() -> float:
    """Return the peak memory of this process: GPU memory if there is a GPU, else resident memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
