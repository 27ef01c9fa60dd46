"""Every module can be the first that is imported: no circle of imports hides behind the order of another's."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EACH = """
import importlib, sys
packages, modules = sys.argv[1].split(","), sys.argv[2:]
for name in modules:
    for known in [known for known in sys.modules if known.partition(".")[0] in packages]:
        del sys.modules[known]
    importlib.import_module(name)
"""


def modules(package: str) -> list[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / package).rglob("*.py")))
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__.py"]


@pytest.mark.parametrize("package", ["shards", "trainer", "analysis", "launchers"])
def test_a_module_can_be_imported_first(package):
    ours = "shards,trainer,analysis,launchers,tutelage"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EACH, ours, *modules(package)], text=True, capture_output=True, cwd=ROOT
    )
    assert not run.returncode, run.stderr
