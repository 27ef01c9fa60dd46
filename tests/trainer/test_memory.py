"""What becomes of memory that tensors no longer need, by the page faults of taking it again."""

import os
import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back and takes it again")

FAULTS = """
import resource, torch
from trainer.memory import keep_freed_memory
kept = keep_freed_memory()
for round in range(12):
    if round == 9:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for megabytes in (64, 24, 3):
        torch.empty(megabytes, 1 << 20, dtype=torch.uint8).fill_(1)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(**environment: str) -> tuple[str, int]:
    """Whether memory is kept, and the page faults of taking 91 MB of it three times over."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", FAULTS]
    out = subprocess.run(command, env=clean | environment, check=True, capture_output=True, text=True).stdout
    kept, faults = out.split()
    return kept, int(faults)


@glibc
def test_memory_of_freed_tensors_is_used_again():
    kept, faults = page_faults()
    assert kept == "True"
    assert faults < 200  # of 70,000 pages


@glibc
@pytest.mark.parametrize("setting", [{"MALLOC_TOP_PAD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=131072"}])
def test_what_the_environment_says_of_memory_stays(setting):
    kept, faults = page_faults(**setting)
    assert kept == "False"
    assert faults > 1000
