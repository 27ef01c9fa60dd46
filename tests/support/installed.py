"""An installation of Tutelage with the distributions that it requires: outside the clone, and without extras."""

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
    """Build a source distribution of this tree and a wheel from it; return the wheel's path."""
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


def _build(distribution: str, source: Path, out: Path) -> str:
    command = [sys.executable, "-c", BUILD, f"build_{distribution}", str(out)]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def required(requirements: Iterable[str]) -> set[str]:
    """Return the distributions of this environment that are required without extras, directly or indirectly."""
    names: set[str] = set()
    pending = [Requirement(requirement) for requirement in requirements]
    while pending:
        requirement = pending.pop()
        name = requirement.name.lower()
        if name not in names and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            names.add(name)
            pending += map(Requirement, importlib.metadata.requires(name) or ())
    return names


@dataclass(frozen=True)
class Installed:
    """An installation without extras.

    Args:
        folder: the folder of the installed packages, which contains nothing else.
    """

    folder: Path

    @classmethod
    def into(cls, folder: Path, wheel: Path) -> "Installed":
        """Install a wheel, and link the distributions that it requires."""
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        command = [*pip, "--disable-pip-version-check", "--target", str(folder), str(wheel)]
        subprocess.run(command, check=True, capture_output=True)
        (metadata,) = importlib.metadata.distributions(name="tutelage", path=[str(folder)])
        for name in required(metadata.requires or ()):
            distribution = importlib.metadata.distribution(name)
            site = Path(str(distribution.locate_file("")))
            for part in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
                if not (folder / part).exists():
                    (folder / part).symlink_to(site / part)
        return cls(folder)

    def __call__(self, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the command ``tutelage``."""
        return self.python(str(self.folder / "bin" / "tutelage"), *arguments, cwd=cwd, **env)

    def python(self, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python without other packages on its path (-S)."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TUTELAGE", "PYTEST"))}
        environment |= {"PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1", **env}
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False
        )
