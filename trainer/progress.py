"""Progress of long jobs, hidden unless a command shows it, and the figures displayed with it."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol


class Report(Protocol):
    """Called with the number of items finished since the last call, and figures to show beside the bar."""

    def __call__(self, advance: int, figures: str = "") -> None: ...


Display = Callable[[str, int, int], AbstractContextManager[Report]]
"""Shows the progress of a job, given its title, the number of all items, and that of those finished before."""


@contextmanager
def _hidden(title: str, total: int, done: int) -> Iterator[Report]:
    yield lambda advance, figures="": None


_display: Display = _hidden


def progress(title: str, total: int, *, done: int = 0, show: bool = True) -> AbstractContextManager[Report]:
    """Return a context in which a job reports its progress, shown as :func:`show_progress` says.

    Args:
        title: the job's name.
        total, done: number of all items, and of those finished before.
        show: False for ranks that show nothing.
    """
    return (_display if show else _hidden)(title, total, done)


@contextmanager
def show_progress(display: Display) -> Iterator[None]:
    """Context in which a display shows the progress of all jobs."""
    global _display
    before, _display = _display, display
    try:
        yield
    finally:
        _display = before


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


def memory_megabytes() -> float:
    """Return the peak memory of this process: GPU memory if there is a GPU, else resident memory."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
