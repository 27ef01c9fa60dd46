"""Every module can be the first that is imported: no circle of imports hides behind the order of another's."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shards", "trainer", "analysis", "launchers", "tutelage")
EACH = """
import importlib, sys
packages, modules = sys.argv[1].split(","), sys.argv[2:]
for name in modules:
    for known in [known for known in sys.modules if known.partition(".")[0] in packages]:
        del sys.modules[known]
    importlib.import_module(name)
"""


def modules(root: Path) -> dict[str, Path]:
    paths = [path.relative_to(root) for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): root / path for path in paths}


def statements(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when a module is loaded."""
    for each in body:
        if isinstance(each, ast.Import | ast.ImportFrom):
            yield each
        elif isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test):
            yield from statements(each.orelse)
        elif not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(each, part, []))
            for handler in getattr(each, "handlers", []):
                yield from statements(handler.body)


def imports(root: Path) -> dict[str, set[str]]:
    """By module, which others of ours are loaded for it, and the packages those are in."""
    known = modules(root)
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        wanted: set[str] = set()
        for each in statements(ast.parse(path.read_text(encoding="utf-8")).body):
            if isinstance(each, ast.Import):
                wanted |= {alias.name for alias in each.names}
            else:
                names = {f"{each.module}.{alias.name}" for alias in each.names}
                wanted |= {name if name in known else str(each.module) for name in names}
        graph[module] = set()
        for name in wanted & known.keys():
            graph[module].add(name)
            while name := name.rpartition(".")[0]:
                if not f"{module}.".startswith(f"{name}."):  # those of its own are being loaded already
                    graph[module].add(name)
    return graph


def test_no_circle():
    graph = imports(ROOT)
    assert "trainer.losses" in graph["trainer.updater"]
    assert len(list(TopologicalSorter(graph).static_order())) > 200


def test_a_circle_is_found(tmp_path):
    (tmp_path / "trainer/parts").mkdir(parents=True)
    (tmp_path / "trainer/__init__.py").touch()
    (tmp_path / "trainer/parts/__init__.py").write_text("from trainer.parts.one import x\n")
    (tmp_path / "trainer/parts/one.py").write_text("try:\n    from trainer.parts import x\nexcept ImportError: ...\n")
    with pytest.raises(CycleError):
        TopologicalSorter(imports(tmp_path)).prepare()
    (tmp_path / "trainer/parts/one.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trainer.parts import x\n"
    )
    TopologicalSorter(imports(tmp_path)).prepare()


@pytest.mark.long
@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_can_be_imported_first(package):
    names = [name for name in modules(ROOT) if name.partition(".")[0] == package and not name.endswith("__main__")]
    call = [sys.executable, "-W", "ignore", "-c", EACH, ",".join(PACKAGES), *names]
    run = subprocess.run(call, text=True, capture_output=True, cwd=ROOT)
    assert not run.returncode, run.stderr
