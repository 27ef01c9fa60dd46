"""Tutelage as it is installed, beside as much of this environment as it asks for: no clone, and no extra."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
PARTS = ("analysis", "configs", "launchers", "shards", "slurm", "trainer", "tutelage")


def build(folder: Path) -> Path:
    """The wheel of a source distribution of this tree."""
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    (source / "slurm" / "site.env").write_text("# a site's own, which is nobody else's business\n")
    archive = folder / _build("sdist", source, folder)
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return folder / _build("wheel", unpacked, folder)


def _build(what: str, source: Path, out: Path) -> str:
    call = [sys.executable, "-c", BUILD, f"build_{what}", str(out)]
    done = subprocess.run(call, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def required(requirements: Iterable[str]) -> set[str]:
    """The distributions of this environment that requirements ask for without extras, and what those ask for."""
    found: set[str] = set()
    todo = [Requirement(each) for each in requirements]
    while todo:
        each = todo.pop()
        name = each.name.lower()
        if name not in found and (each.marker is None or each.marker.evaluate({"extra": ""})):
            found.add(name)
            todo += map(Requirement, importlib.metadata.requires(name) or ())
    return found


@dataclass(frozen=True)
class Installed:
    """An installation without extras.

    Args:
        folder: that holds what is installed, and nothing else.
    """

    folder: Path

    @classmethod
    def into(cls, folder: Path, wheel: Path) -> "Installed":
        """Install a wheel, with links to what it requires."""
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        call = [*pip, "--disable-pip-version-check", "--target", str(folder), str(wheel)]
        subprocess.run(call, check=True, capture_output=True)
        (metadata,) = importlib.metadata.distributions(name="tutelage", path=[str(folder)])
        for name in required(metadata.requires or ()):
            distribution = importlib.metadata.distribution(name)
            site = Path(str(distribution.locate_file("")))
            for part in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                if not (folder / part).exists():
                    (folder / part).symlink_to(site / part)
        return cls(folder)

    def __call__(self, *words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``tutelage``."""
        return self.python(str(self.folder / "bin" / "tutelage"), *words, cwd=cwd, **env)

    def python(self, *words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program of Python, which knows of no other packages (-S)."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TUTELAGE", "PYTEST"))}
        environment |= {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", **env}
        call = [sys.executable, "-S", *words]
        return subprocess.run(call, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False)
