"""Fixtures that tests of several packages share."""

import inspect
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# Tests compare bits and start more ranks than a machine has GPUs. Said before torch is loaded, and to all processes.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
sys.path.insert(0, str(Path(__file__).parent / "support"))  # for `import tiny`, in worker processes as well

from tiny import Tiny

from shards.manifest import Manifest
from shards.pack import pack

# a shell starts background jobs with SIGINT ignored, and so would be every process that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("tutelage", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("tutelage")

_PROCESSES = re.compile(
    r"\bsubprocess\b|\bmultiprocessing\b|\bPopen\b|jobs=[2-9]|\bDataLoader\b|\bLaunch\b|\bfrom ranks\b|chromium"
)
"""What a test file contains whose tests start processes."""
_WORKS = re.compile(r"\b(train|run|label|merge|main|goes|curve|study|tutelage|compile|batches_of|evaluate)\(")
"""What a test contains that trains, or has a command do its work."""
_TRAINS = frozenset({"finished", "finished_root", "reference", "process", "ran", "done", "python"})
"""Fixtures that start processes, or train networks."""


def pytest_xdist_auto_num_workers() -> int:
    """Start three workers per two processors: tests of stops, timeouts and retries wait for a third of the time."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``slow`` what ``make test-quick`` leaves out, and have the files that hold such tests come first: a quick
    file as the last one leaves no processor idle (``--no-loadscope-reorder``)."""
    starts: dict[Path, bool] = {}
    for item in items:
        if item.path not in starts:
            starts[item.path] = _PROCESSES.search(item.path.read_text("utf-8")) is not None
        body = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
        if starts[item.path] or not _TRAINS.isdisjoint(getattr(item, "fixturenames", ())) or _WORKS.search(body):
            item.add_marker(pytest.mark.slow)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: slow[item.path], reverse=True)  # tests of a file stay together, in their order


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """12 training frames in 4 shards and 5 validation frames in 2, of 32×64; see :class:`tiny.Tiny` for who carries
    which label. Shared by all tests, so nobody writes to its folder: copy it first."""
    return pack(Tiny(), tmp_path_factory.mktemp("tiny"), samples_per_shard=3)
