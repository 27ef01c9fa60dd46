"""Fixtures that tests of several packages share."""

import ast
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

# Tests compare bits and start more ranks than a machine has GPUs. Set before torch is loaded, for child processes too.
os.environ["CUDA_VISIBLE_DEVICES"] = ""
# With oneDNN's bf16 kernels for AMX, a process that has computed values which are not finite, as tests do, may compute
# others from finite ones later (docs/distributed.md).
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
sys.path.insert(0, str(Path(__file__).parent / "support"))  # for `import tiny`, in worker processes as well

from tiny import Tiny

from shards.manifest import Manifest
from shards.pack import pack

# a shell starts background jobs with SIGINT ignored, and so would be every process that a test starts and interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("tutelage", deadline=None)  # a busy machine must not fail a test
hypothesis.settings.load_profile("tutelage")

_PROCESS_MARKERS = re.compile(
    r"\b(subprocess|multiprocessing|Popen|DataLoader|Launch|from ranks)\b|jobs=[2-9]|--jobs\W+[2-9]|chromium"
)
"""Matches the text of a test file whose tests start processes."""
_WORK_CALLS = re.compile(r"\b(train|run|label|merge|main|goes|curve|study|tutelage|compile|batches_of|evaluate)\(")
"""Matches the source of a test that trains, or runs a command that does the work."""
_SLOW_FIXTURES = frozenset({"finished", "finished_root", "reference", "process", "ran", "done", "python"})
"""Fixtures that start processes or train networks."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Start two workers per processor: tests of stops, timeouts and retries wait most of the time. The quick tests wait
    for nothing."""
    processors = os.cpu_count() or 1
    return processors if "not slow" in config.getoption("markexpr") else 2 * processors


def _functions_that_work(text: str) -> set[str]:
    """Return the names of a file's test functions that call what :data:`_WORK_CALLS` matches."""
    lines = text.splitlines()
    return {
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and _WORK_CALLS.search("\n".join(lines[node.lineno - 1 : node.end_lineno]))
    }


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ``make test-quick`` leaves out as ``slow``, and run the files with most of them first: when
    the last files are quick ones, no processor is left idle (``--no-loadscope-reorder``)."""
    starts_processes: dict[Path, bool] = {}
    working: dict[Path, set[str]] = {}
    for item in items:
        if item.path not in working:
            text = item.path.read_text("utf-8")
            starts_processes[item.path] = _PROCESS_MARKERS.search(text) is not None
            working[item.path] = _functions_that_work(text)
        if (
            starts_processes[item.path]
            or not _SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
            or getattr(item, "originalname", None) in working[item.path]
        ):
            item.add_marker(pytest.mark.slow)
    slow_tests = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: slow_tests[item.path], reverse=True)  # tests of a file stay together, in their order


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return a data set of 12 training frames in 4 shards and 5 validation frames in 2, of 32×64 pixels.

    :class:`tiny.Tiny` says which frame has which label. All tests share it: a test that changes files copies it first.
    """
    return pack(Tiny(), tmp_path_factory.mktemp("tiny"), samples_per_shard=3)
