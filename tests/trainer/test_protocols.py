"""The shipped protocols of the field: what each row sees, which frames its teacher labels, and a training step."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.grid import rows_of
from analysis.results.groups import read_result
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.base import Frame
from shards.sources.cityscapes import INVERSE_DEPTH
from shards.sources.normals import WithNormals
from shards.sources.scenes import Scenes
from shards.stream import Batches
from trainer.experiment import Experiment
from trainer.losses import MultiTaskLoss
from trainer.model.network import build
from trainer.stages import check, run
from trainer.trainingdata import TrainingData

CONFIGS = Path(__file__).parents[2] / "configs"
SIZE = (32, 64)
FRAMES = 24
THIRD, HALF = FRAMES // 3, FRAMES // 2
THREE = ("semseg", "depth", "normals")
SINGLE = {"umst-s": "semseg", "umst-d": "depth", "umst-n": "normals"}


def three_task_rows(count: int, *multi_task_rows: str) -> dict[str, dict[str, int]]:
    """Return the named rows of three tasks and the single-task rows, with ``count`` frames for each task."""
    return {row: {task: count} for row, task in SINGLE.items()} | {
        row: dict.fromkeys(THREE, count) for row in multi_task_rows
    }


ROWS = {
    "nyudv2-onelabel": three_task_rows(THIRD, "ummt", "ummt-pu"),
    "nyudv2-randomlabel": three_task_rows(HALF, "ummt", "ummt-ps", "ummt-pu") | {"mmst": {"semseg": FRAMES // 6}},
    "cityscapes-onelabel": {
        "umst-s": {"semseg": HALF},
        "umst-d": {"inverse_depth": HALF},
        "ummt": {"semseg": HALF, "inverse_depth": HALF},
        "ummt-pu": {"semseg": HALF, "inverse_depth": HALF},
    },
}
"""How many of 24 frames show each task, by row."""
CELLS = [(protocol, name) for protocol, rows in ROWS.items() for name in rows]


class InverseScenes:
    """The rendered rooms with inverse depth in place of depth."""

    name = "scenes"

    def __init__(self) -> None:
        self.source = Scenes(FRAMES, 4, SIZE)
        self.splits, self.options = self.source.splits, self.source.options

    @cached_property
    def tasks(self):
        return tuple(INVERSE_DEPTH if task.name == "depth" else task for task in self.source.tasks)

    def load(self, split: str, position: int) -> Frame:
        frame = self.source.load(split, position)
        depth = frame.labels["depth"]
        inverse = np.divide(1, depth.clip(min=1.01), out=np.zeros_like(depth), where=depth > 0)  # 1/m is not stored
        return replace(frame, labels={"semseg": frame.labels["semseg"], "inverse_depth": inverse})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    three = pack(WithNormals(Scenes(FRAMES, 4, SIZE)), tmp_path_factory.mktemp("three"), size=SIZE, samples_per_shard=8)
    two = pack(InverseScenes(), tmp_path_factory.mktemp("two"), size=SIZE, samples_per_shard=8)
    return {"nyudv2-onelabel": three, "nyudv2-randomlabel": three, "cityscapes-onelabel": two}


def experiment_of(protocol: str, name: str, data: dict[str, Manifest], root: Path, *more: str) -> Experiment:
    overrides = [f"run.root={root}", f"data.path={data[protocol].folder}", "model.pretrained=false", *more]
    return Experiment(
        CONFIGS / protocol / f"{name}.yaml",
        ["model.backbone=test_efficientnet", "model.widths=[8,8,16,16]", "train.global_batch_size=4", *overrides],
    )


def test_every_row_is_tested():
    assert {(protocol, path.stem) for protocol in ROWS for path in rows_of(CONFIGS / protocol)} == set(CELLS)


@pytest.mark.parametrize("protocol", ROWS)
def test_every_row_sees_as_many_samples(protocol):
    rows = [Experiment(path).config for path in rows_of(CONFIGS / protocol)]
    assert len({config.train.steps * config.train.global_batch_size for config in rows}) == 1


@pytest.mark.parametrize(("protocol", "name"), CELLS, ids=lambda value: value)
def test_a_row_sees_what_the_protocol_shows(protocol, name, data, tmp_path):
    experiment = experiment_of(protocol, name, data, tmp_path)
    config = experiment.config
    check(experiment)  # with its teachers, as far as can be said before they are trained
    frames, expected = experiment.training_frames(pseudo=False), ROWS[protocol][name]
    mask = frames.to_train(config.inputs, config.tasks)
    assert frames.counts(mask, config.tasks) == expected
    counts = np.sum(list(frames.visible.values()), axis=0)
    assert set(counts.tolist()) == ({1, 2} if "random" in protocol else {1})
    for task, teacher in experiment.teachers.items():
        assert teacher.frames_to_label()[1].sum() == (THIRD if name == "ummt-ps" else FRAMES - expected[task])


@pytest.mark.parametrize(("protocol", "name"), [cell for cell in CELLS if "-p" not in cell[1]], ids=lambda value: value)
def test_a_row_takes_a_step(protocol, name, data, tmp_path):
    experiment = experiment_of(protocol, name, data, tmp_path, "train.global_batch_size=4", "data.num_workers=0")
    config = experiment.config
    network = build(experiment.architecture)
    criterion = MultiTaskLoss(experiment.tasks, dict(config.loss.weights), config.loss.normalise)
    batch = next(TrainingData.of(config, experiment.training_frames()).batches(Batches(4), 0, 1))
    predictions = network(batch.inputs(config.inputs, torch.channels_last))
    loss = criterion(predictions, batch.labels, criterion.counts(batch.labels))
    assert loss.isfinite() and loss > 0


@pytest.mark.parametrize(("protocol", "name"), [("cityscapes-onelabel", "ummt-pu"), ("nyudv2-randomlabel", "ummt-ps")])
def test_a_student_is_taught_and_its_result_names_the_protocol(protocol, name, data, tmp_path):
    overrides = ["train.global_batch_size=4", "train.steps=2", "data.num_workers=0", "evaluate.batch_size=2"]
    experiment = experiment_of(protocol, name, data, tmp_path, *overrides)
    run(experiment)
    result = read_result(experiment.folder / "result.json")
    assert result.assignment == ("random" if "random" in protocol else "one")
    assert result.labels == ROWS[protocol][name]
    expected = {"semseg": THIRD} if name == "ummt-ps" else dict.fromkeys(experiment.config.tasks, HALF)
    assert result.pseudo_labels == expected
    assert set(result.metrics) == set(experiment.config.tasks)
