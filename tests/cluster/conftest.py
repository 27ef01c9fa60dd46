"""A cluster of three hosts, a clone of the repository with a tiny experiment in it, and its jobs."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one

from clone import Clone
from hosts import Cluster, missing, running

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys.executable).parent
ENVIRONMENT = {
    "PATH": f"{PYTHON}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "PREPARE": "--train 36 --val 6 --size 32x64 --samples-per-shard 6",
}
# a global batch size that 2, 3, 4 and 6 ranks can share
BASE = """
data: {name: scenes, path: data/scenes, num_workers: 0}
labels: {semseg: 16, depth: 36}
model: {backbone: test_efficientnet, widths: [8, 8, 16, 16]}
train: {global_batch_size: 12, steps: 8, lr: 1.0e-3, log_every: 2, trace: true}
evaluate: {batch_size: 2}
label: {batch_size: 2}
"""
TEACHER = "inherits: base.yaml\ninputs: [rgb, depth]"
STUDENT = "inherits: base.yaml\npseudo: {semseg: {teacher: teacher.yaml, keep: all}}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)
            if reason:
                item.add_marker(pytest.mark.skip(reason=f"a cluster {reason}"))


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """Slurm on node1, node2 and node3."""
    with tempfile.TemporaryDirectory(prefix="tutelage-slurm-") as folder:  # munge cannot enter pytest's own folders
        Path(folder).chmod(0o755)
        # accelerate's whole command line imports timm for another of its commands: 2.5 s of CPU time at every start
        launcher = Path(folder) / "bin/accelerate"
        launcher.parent.mkdir()
        launcher.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -m accelerate.commands.launch "$@"\n')
        launcher.chmod(0o755)
        ENVIRONMENT["PATH"] = f"{launcher.parent}:{ENVIRONMENT['PATH']}"
        with running(Path(folder), 3, ENVIRONMENT) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set, as the clone's own job would prepare it. Shared: do not write to it."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    call = [sys.executable, "-m", "tutelage", "prepare", "scenes", str(folder), *ENVIRONMENT["PREPARE"].split()]
    subprocess.run([*call, "--jobs", "1"], check=True, cwd=ROOT, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def new_clone(slurm: Cluster, tmp_path_factory: pytest.TempPathFactory, data: Path) -> Callable[..., Clone]:
    """``new_clone()`` makes a clone with the data set; ``new_clone(False)`` one without."""

    def make(with_data: bool = True) -> Clone:
        folder = tmp_path_factory.mktemp("clone")
        for name in (".git", "shards", "trainer", "analysis", "launchers", "tutelage", "configs"):
            (folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "slurm", folder / "slurm")
        for name, text in {"base": BASE, "teacher": TEACHER, "student": STUDENT}.items():
            (folder / f"{name}.yaml").write_text(text)
        if with_data:
            shutil.copytree(data, folder / "data/scenes")
        return Clone(folder, slurm)

    return make


@pytest.fixture
def clone(new_clone: Callable[..., Clone], slurm: Cluster) -> Iterator[Clone]:
    """A clone with the data set; afterwards no job is left, and every host is on."""
    yield new_clone()
    for partition in ("all", "urgent"):
        slurm.run("scancel", f"--partition={partition}")
    for name in slurm.names:
        slurm.power_on(name)
    slurm.until_idle()
