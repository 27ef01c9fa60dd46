"""A third task of a third kind, surface normals: predicted, seen as an input, pseudo-labelled, measured, shown."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.panel import panel
from analysis.results.table import tabulate
from shards.errors import UserError
from shards.manifest import Manifest
from shards.pack import pack
from shards.read import Readers
from shards.sources.normals import WithNormals
from shards.sources.scenes import Scenes
from trainer.experiment import Experiment
from trainer.runs.result import Result
from trainer.stages import run

pytestmark = pytest.mark.slow

CONFIGS = {
    "base": """
        data: {name: scenes, path: DATASET, num_workers: 0}
        tasks: [semseg, depth, normals]
        labels: {semseg: 6, depth: 12, normals: 6}
        model: {backbone: test_efficientnet, widths: [8, 8, 16, 16]}
        train: {global_batch_size: 4, steps: 4, lr: 1.0e-3, log_every: 2}
        evaluate: {batch_size: 4}
    """,
    "alone": "inherits: base.yaml",
    "teacher": "inherits: base.yaml\ninputs: [rgb, depth]",
    "sees": "inherits: base.yaml\ninputs: [rgb, normals]",
    "student": "inherits: base.yaml\npseudo: {normals: {teacher: teacher.yaml, keep: all}}",
}
METRICS = ["mean", "median", "within_11.25", "within_22.5", "within_30", "pixels"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set with normals, and configurations."""
    folder = tmp_path_factory.mktemp("three")
    size = (32, 64)
    pack(WithNormals(Scenes(12, 4, size)), folder / "data", size=size, samples_per_shard=6)
    for name, text in CONFIGS.items():
        (folder / f"{name}.yaml").write_text(text.replace("DATASET", str(folder / "data")))
    return folder


@pytest.fixture(scope="module")
def experiments(folder) -> dict[str, Experiment]:
    """Finished runs by the names of their configurations; the teacher has labelled."""
    runs = {name: Experiment(folder / f"{name}.yaml", [f"run.root={folder / 'runs'}"]) for name in CONFIGS}
    for name in ("student", "sees"):
        run(runs[name])
    return runs


def test_every_network_is_measured_in_degrees(experiments):
    for name in ("teacher", "student", "sees"):
        metrics = json.loads((experiments[name].folder / "result.json").read_text())["metrics"]
        assert list(metrics) == ["semseg", "depth", "normals"]
        normals = metrics["normals"]
        assert list(normals) == METRICS
        assert 0 < normals["median"] < 180 and normals["within_11.25"] <= normals["within_22.5"] <= normals["within_30"]


def test_the_loss_of_every_task_is_recorded(experiments):
    lines = [json.loads(line) for line in (experiments["student"].folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss"].keys() == {"total", "semseg", "depth", "normals"} for line in lines if "loss" in line)


def test_pseudo_normals_are_unit_vectors_on_the_frames_that_lack_them(experiments):
    teacher, student = experiments["teacher"], experiments["student"]
    labels = Manifest.load(teacher.labels, kind="labels")
    assert [task.name for task in labels.tasks] == ["semseg", "normals"], "what it predicts and does not see"
    frames = student.training_frames()
    assert frames.pseudo["normals"].sum() == 6 and not (frames.pseudo["normals"] & frames.visible["normals"]).any()
    reader = next(
        shard_reader for shard_reader in map(Readers(labels, "train").__getitem__, range(2)) if len(shard_reader)
    )
    vectors = reader.decode(0)["normals"]
    assert np.abs(np.linalg.norm(vectors, axis=-1) - 1).max() < 0.01
    assert json.loads((teacher.labels / "kept.json").read_text())["normals"] == {"frames": 6, "pixels": 6 * 32 * 64}


def test_vectors_have_no_confidence_to_hold_a_threshold_against(experiments):
    student = experiments["student"]
    doubtful = Experiment(student.path, [*student.overrides, "experiment=x", "pseudo.normals.keep=0.9"])
    with pytest.raises(UserError, match=r"has no confidence.*; set pseudo\.normals\.keep=all"):
        run(doubtful)


def test_table_and_picture_show_three_tasks(experiments, tmp_path):
    rows = [Result.read(experiments[n].folder / "result.json") for n in ("teacher", "sees", "student")]
    table = tabulate(rows)
    assert table.titles[-4:] == ["semseg mIoU", "depth rmse", "depth rmse_log", "normals mean °"]
    cells = {row[0]: dict(zip(table.titles, row, strict=True)) for row in table.rows}
    assert cells["student"]["outputs"] == "S+D+normals" and cells["student"]["|normals|"] == "6+6"
    assert cells["sees"]["inputs"] == "RGB+normals" and cells["student"]["losses"].endswith("P-normals")
    panel([experiments["sees"], experiments["student"]], tmp_path / "p.png", frames=2)
    assert Image.open(tmp_path / "p.png").width == 6 + 10 * (320 + 6), "rgb, and three of each task"
