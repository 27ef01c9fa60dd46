"""Fixtures: a prepared data set, a working directory with two configurations, and their finished runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from launchers.cli import main

Python = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = """
data: {name: scenes, path: DATASET, num_workers: 0}
labels: {semseg: 4, depth: 8}
model: {backbone: test_efficientnet}
train: {global_batch_size: 4, steps: 1}
"""


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scenes() -> list[str]:
    """Options of ``prepare scenes`` for 8 + 4 frames of 32×64."""
    return ["--train", "8", "--val", "4", "--size", "32x64", "--samples-per-shard", "4", "--jobs", "1"]


@pytest.fixture(scope="session")
def dataset(scenes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of four training frames, one of four validation frames. Shared: do not write to it."""
    path = tmp_path_factory.mktemp("data") / "scenes"
    assert main(["prepare", "scenes", str(path), *scenes]) == 0
    return path


@pytest.fixture
def workdir(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``teacher.yaml`` and its ``student.yaml``."""
    monkeypatch.chdir(tmp_path)
    base = CONFIG.replace("DATASET", str(dataset))
    Path("teacher.yaml").write_text(base + "inputs: [rgb, depth]\n")
    Path("student.yaml").write_text(base + "pseudo: {semseg: {teacher: teacher.yaml}}\n")
    return tmp_path


@pytest.fixture(scope="session")
def ran(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the finished runs of teacher and student. Shared: do not write to it."""
    folder = tmp_path_factory.mktemp("ran")
    base = CONFIG.replace("DATASET", str(dataset))
    (folder / "teacher.yaml").write_text(base + "inputs: [rgb, depth]\n")
    (folder / "student.yaml").write_text(base + "pseudo: {semseg: {teacher: teacher.yaml}}\n")
    assert main(["run", str(folder / "student.yaml"), f"run.root={folder / 'runs'}"]) == 0
    return folder / "runs"


@pytest.fixture
def done(ran: Path, workdir: Path) -> Path:
    """The working directory, with a copy of the finished runs."""
    shutil.copytree(ran, workdir / "runs")
    return workdir


@pytest.fixture(scope="session")
def python() -> Python:
    """``python("-m", "tutelage", ...)`` runs a Python process and returns its exit status and output."""

    def start(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TUTELAGE_DEBUG": ""}
        return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, **options)

    return start
