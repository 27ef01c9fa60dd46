"""Fixtures: a tiny rendered data set, experiments on it, and finished runs that many tests read."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import LONG
from warm import python

from shards.labels import LabelledFrame, encode_frame, label_manifest, write_label_shard
from shards.manifest import Manifest, statistics_of
from shards.pack import pack
from shards.sources.scenes import Scenes
from shards.tasks import Task
from shards.write import whole_index
from trainer.experiment import Experiment
from trainer.stages import run
from trainer.trainstage import train

Make = Callable[..., Experiment]

DEFAULT_WIDTHS = "model.widths=[18, 36, 72, 144]"
"""An override for networks without this option, and for tests that need MTI-Net at its default size."""
CONFIGS = {
    "base": """
        data: {name: scenes, path: DATASET, num_workers: 0}
        labels: {semseg: 8, depth: 16}
        model: {backbone: test_efficientnet}
        train: {global_batch_size: 4, steps: 4, lr: 1.0e-3, log_every: 2, trace: true}
        evaluate: {batch_size: 4}
        label: {batch_size: 3, threshold: 0.4}
    """,
    "plain": "inherits: base.yaml\nmodel: {widths: [8, 8, 16, 16]}",  # halves the time of a run
    "teacher": """
        inherits: base.yaml
        inputs: [rgb, depth]
        model: {widths: [16, 16, 32, 32]}  # its files are an eighth of the default's, which tests copy and read
        train: {steps: 20, lr: 6.0e-3}
        evaluate: {every: 5}
    """,
    "student": "inherits: plain.yaml\npseudo: {semseg: {teacher: teacher.yaml, keep: 0.4}}",
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Use one thread, as the processes that tests start: sums differ in the last bits between numbers of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scenes_dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return 24 training frames in 3 shards and 6 validation frames in one, of 32×64 pixels, all with both labels.

    Tests must not change it: copy it first.
    """
    size = (32, 64)
    return pack(Scenes(24, 6, size), tmp_path_factory.mktemp("scenes"), size=size, samples_per_shard=8)


@pytest.fixture(scope="session")
def configs(scenes_dataset: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the configuration files of :data:`CONFIGS`."""
    folder = tmp_path_factory.mktemp("configs")
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(text.replace("DATASET", str(scenes_dataset.folder)))
    return folder


@pytest.fixture
def make(configs: Path, tmp_path: Path) -> Make:
    """``make("teacher", "train.steps=2")`` returns an experiment whose runs are in this test's folder."""
    return lambda name, *overrides: Experiment(configs / f"{name}.yaml", [f"run.root={tmp_path / 'runs'}", *overrides])


@pytest.fixture(scope="session")
def reference(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Return a long, uninterrupted run of ``plain``. Tests must not write to its folder."""
    experiment = Experiment(configs / "plain.yaml", [*LONG, f"run.root={tmp_path_factory.mktemp('reference')}"])
    train(experiment)
    return experiment


@pytest.fixture(scope="session")
def finished_root(configs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the root of finished runs: ``teacher`` with its labels, and ``student``. Tests must not write there."""
    root = tmp_path_factory.mktemp("finished")
    run(Experiment(configs / "student.yaml", [f"run.root={root}"]))
    return root


@pytest.fixture
def finished(finished_root: Path, make: Make, tmp_path: Path) -> Make:
    """Return ``make`` for a copy of the finished runs."""
    shutil.copytree(finished_root, tmp_path / "runs")
    return make


@pytest.fixture
def process(configs: Path, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """``process("train", "plain", ...)`` starts ``python -m tutelage`` on an experiment of ``make``: a process that
    is forked after its imports (:mod:`warm`)."""

    def start(command: str, name: str, *overrides: str) -> subprocess.Popen[str]:
        arguments = [python(), "-m", "tutelage", command, str(configs / f"{name}.yaml")]
        arguments += [f"run.root={tmp_path / 'runs'}", *overrides]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(arguments, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return start


@pytest.fixture(scope="session")
def write_labels() -> Callable[..., Path]:
    """``write_labels(folder, manifest, task, labels, confidence)`` writes arrays by key as label shards."""

    def write(
        folder: Path,
        source: Manifest,
        task: Task,
        labels: Mapping[str, np.ndarray],
        confidence: Mapping[str, np.ndarray] | None = None,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shard_infos, statistics = [], []
        for shard in source.shards("train"):
            keys = [sample["key"] for sample in json.loads((source.folder / shard.index_file).read_text())["samples"]]
            frames = [
                LabelledFrame(key, {task.name: labels[key]}, {task.name: confidence[key]} if confidence else {})
                for key in keys
                if key in labels
            ]
            shard_infos.append(
                write_label_shard(folder, shard.file, [encode_frame(frame, (task,)) for frame in frames], (task,))
            )
            statistics.append((whole_index(folder / shard.file) or {})["statistics"])
        merged_statistics = statistics_of({"train": statistics}, (task,))["train"]
        label_manifest(
            folder, source, "train", (task,), shard_infos, merged_statistics, {"checkpoint_sha256": "0"}
        ).save()
        return folder

    return write
