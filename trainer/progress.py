"""What a person sees of a long job: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol, cast

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from trainer.output import Lasting
from trainer.ranks import rank


def _console(width: int | None = None) -> Console:
    """Names of files, classes and runs stand in what it prints, and mean nothing but themselves."""
    file = cast(IO[str], Lasting("stdout"))
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False)


console = _console()


def show(table: RenderableType) -> None:
    """Print a table, once for all ranks: as wide as it is where that is not a terminal."""
    if rank() == 0:
        (console if console.is_terminal else _console(240)).print(table)


def say(line: str) -> None:
    """Print a line, once for all ranks."""
    if rank() == 0:
        console.print(line, soft_wrap=True)


class Report(Protocol):
    """Called with what has been finished since the last call, and figures to show beside the bar."""

    def __call__(self, advance: int, figures: str = "") -> None: ...


@contextmanager
def progress(title: str, total: int, *, done: int = 0, show: bool = True, every: float = 10.0) -> Iterator[Report]:
    """A bar with counts, figures and the time left.

    Args:
        total, done: of whatever is counted.
        show: False for ranks that stay silent.
        every: seconds between the plain lines that stand in for the bar where the output is not a terminal.
    """
    if not show:
        yield lambda advance, figures="": None
    elif console.is_terminal:
        # the figures stand last and give way: a narrow terminal cuts them, not the counts or the time
        counts = MofNCompleteColumn(table_column=Column(no_wrap=True))
        left = TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7))
        rest = TextColumn(
            "{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
        )
        columns = (TextColumn("{task.description}", markup=False), BarColumn(16), counts, left, rest)
        with Progress(*columns, console=console, expand=True) as bar:
            task = bar.add_task(title, total=total, completed=done, figures="")

            def live(advance: int, figures: str = "") -> None:
                bar.update(task, advance=advance)
                if figures:
                    bar.update(task, figures=figures)

            yield live
    else:
        yield _PlainLines(title, total, done, every)


class _PlainLines:
    def __init__(self, title: str, total: int, done: int, every: float) -> None:
        self.title, self.total, self.start, self.done, self.every = title, total, done, done, every
        self.began = self.shown = time.monotonic()
        self.figures = ""

    def __call__(self, advance: int, figures: str = "") -> None:
        self.done += advance
        self.figures = figures or self.figures
        now = time.monotonic()
        if now - self.shown < self.every and self.done < self.total:
            return
        self.shown = now
        left = (now - self.began) / max(self.done - self.start, 1) * (self.total - self.done)
        print(
            f"{self.title} {self.done}/{self.total} {self.figures} {clock(left)} left".replace("  ", " "),
            file=console.file,
            flush=True,
        )


class Speed:
    """Samples a second, and the share of the time that was spent waiting for data, from one reading to the next."""

    def __init__(self) -> None:
        self.samples, self._waited, self._began = 0, 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self._waited += time.perf_counter() - before

    def read(self) -> dict[str, float]:
        """The figures since the last reading, as ``metrics.jsonl`` keeps them."""
        seconds = time.perf_counter() - self._began
        figures = {
            "samples_per_second": round(self.samples / seconds, 2),
            "waiting_for_data": round(self._waited / seconds, 4),
            "memory_megabytes": round(memory_megabytes()),
        }
        self.__init__()  # type: ignore[misc]
        return figures


def figures_line(entry: Mapping[str, Any]) -> str:
    """A log entry of training for the progress line."""
    losses = " ".join(f"{name} {value:.3f}" for name, value in entry.get("loss", {}).items() if name != "total")
    speed = entry["speed"]
    return (
        f"{losses} · {speed['samples_per_second']:.1f} samples/s · {speed['waiting_for_data']:.0%} waiting for data · "
        f"{speed['memory_megabytes'] / 1000:.1f} GB"
    )


def clock(seconds: float) -> str:
    """``h:mm:ss``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def memory_megabytes() -> float:
    """Peak memory of this process: of the device where there is one, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
