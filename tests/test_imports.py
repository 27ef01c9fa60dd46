"""What modules import: no circle, so that each can be the first, and timm only where a network is built."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("shards", "trainer", "analysis", "launchers", "tutelage")
PROGRAM = """
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
    for node in body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from statements(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)


def imports(root: Path) -> dict[str, set[str]]:
    """The modules of this project that each module loads, and the packages that contain them."""
    paths = modules(root)
    graph: dict[str, set[str]] = {}
    for module, path in paths.items():
        imported: set[str] = set()
        for statement in statements(ast.parse(path.read_text(encoding="utf-8")).body):
            if isinstance(statement, ast.Import):
                imported |= {alias.name for alias in statement.names}
            else:
                names = {f"{statement.module}.{alias.name}" for alias in statement.names}
                imported |= {name if name in paths else str(statement.module) for name in names}
        graph[module] = set()
        for name in imported & paths.keys():
            graph[module].add(name)
            while name := name.rpartition(".")[0]:
                if not f"{module}.".startswith(f"{name}."):  # its own packages are being loaded already
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


def closure(graph: dict[str, set[str]], name: str) -> set[str]:
    """The modules that importing one loads, itself included."""
    found, waiting = {name}, [name]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_timm_is_imported_in_one_place_which_losses_and_kinds_do_not_load():
    """timm takes longer to import than torch, and imports torchvision, which may need its repair first."""
    paths, graph = modules(ROOT), imports(ROOT)
    external = {"timm": set(), "torchvision": set()}
    for module, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(node.module)]
                for package in {name.partition(".")[0] for name in names} & external.keys():
                    external[package].add(module)
    assert external == {"timm": {"trainer.model.repaired"}, "torchvision": {"trainer.vision"}}
    light = ["trainer.losses", "trainer.kinds", "trainer.metrics", "trainer.weighting", "trainer.experiment"]
    light += [name for name in paths if name.startswith(("shards", "analysis.results", "analysis.curve"))]
    for name in light:
        assert not {"trainer.model.repaired", "trainer.vision"} & closure(graph, name), name
    assert "trainer.model.repaired" in closure(graph, "trainer.model.network")


EFFECTS = {"os.getenv", "atexit.register", "threads_per_rank", "rank", "ranks", "ranks_here"}


def loaded(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a module that are evaluated when it is loaded."""
    for child in ast.iter_child_nodes(node):
        yield child
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in (*child.decorator_list, child.args):
                yield from loaded(part)
        elif not isinstance(child, ast.Lambda):
            yield from loaded(child)


def test_importing_reads_no_environment_and_registers_nothing_at_exit():
    """A program may set its environment after the import, and decides itself what happens when it ends."""
    for module, path in modules(ROOT).items():
        if not module.endswith("__main__"):
            nodes = list(loaded(ast.parse(path.read_text(encoding="utf-8"))))
            assert not EFFECTS & {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}, module
            assert "os.environ" not in {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}, module


@pytest.mark.long
@pytest.mark.parametrize("package", PACKAGES)
def test_a_module_can_be_imported_first(package):
    names = [name for name in modules(ROOT) if name.partition(".")[0] == package and not name.endswith("__main__")]
    call = [sys.executable, "-W", "ignore", "-c", PROGRAM, ",".join(PACKAGES), *names]
    process = subprocess.run(call, text=True, capture_output=True, cwd=ROOT)
    assert not process.returncode, process.stderr
