"""Every row of every table as it is shipped: its budgets, what its teacher labels, and a step of its network.

The shipped files are copied with their numbers of frames made small, so that a number that is not the table's has no
frames to stand for and fails.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from framekeys import keys_of

from analysis.grid import rows_of
from shards.stream import Batches
from trainer.experiment import Experiment
from trainer.losses import MultiTaskLoss
from trainer.model.network import build
from trainer.trainingdata import TrainingData

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = {
    "nyudv2": {500: 16, 250: 8, 395: 4},
    "scenes": {400: 24, 100: 8},
    "cityscapes": {2975: 24, 2725: 16, 300: 12, 200: 6},
}
"""Numbers of frames of the real data sets, and what they become among 24 training and 6 validation frames."""
FEW_MANY = {"nyudv2": (8, 16), "scenes": (8, 24), "cityscapes": (16, 24), "cityscapes-l": (6, 12)}
"""How many frames carry the scarce label, and how many there are."""
FEW, MANY, REST = "few", "many", "rest"
ROWS = {
    "umst-s": (["rgb"], ["semseg"], {"semseg": FEW}, {}),
    "umst-m": (["rgb"], ["semseg"], {"semseg": FEW}, {}),
    "umst-d": (["rgb"], ["depth"], {"depth": FEW}, {}),
    "ummt": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": FEW}, {}),
    "ummt-h": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": FEW}, {}),
    "ummt-d": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": MANY}, {}),
    "ummt-d-all": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": MANY}, {}),
    "mmst": (["rgb", "depth"], ["semseg"], {"semseg": FEW, "depth": FEW}, {}),
    "mmmt-d": (["rgb", "depth"], ["semseg", "depth"], {"semseg": FEW, "depth": FEW}, {}),
    "mmmt-s": (["rgb", "semseg"], ["semseg", "depth"], {"semseg": FEW, "depth": FEW}, {}),
    "fmst": (["rgb", "depth"], ["semseg"], {"semseg": FEW, "depth": FEW}, {}),
    "ummt-ps": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": MANY}, {"semseg": "mmmt-d"}),
    "ummt-pd": (["rgb"], ["semseg", "depth"], {"semseg": MANY, "depth": FEW}, {"depth": "mmmt-s"}),
    "ummt-pu": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": MANY}, {"semseg": "ummt"}),
    "ummt-ps1": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": MANY}, {"semseg": "mmst"}),
    "ummt-pu1": (["rgb"], ["semseg", "depth"], {"semseg": FEW, "depth": MANY}, {"semseg": "umst-s"}),
}
"""Inputs, outputs, frames with ground truth that an epoch holds, and the teacher of all the other frames."""
HEADS = ("umst-s", "umst-d", "mmst", "fmst", "ummt-h")
"""The rows without MTI-Net's modules."""
FULL = ("umst-s", "ummt", "mmmt-d", "ummt-ps", "ummt-pu")
"""The rows of Cityscapes, whose -L rows are the same with fewer labels."""
FURTHER = ("umst-m", "umst-d", "ummt-h", "mmst", "ummt-ps1", "ummt-pu1")
"""Its rows without an -L row."""
CELLS = [(data, name, name) for data in ("nyudv2", "scenes") for name in ROWS]
CELLS += [("cityscapes", name, name) for name in (*FULL, *FURTHER)]
CELLS += [("cityscapes", "mmmt-l" if name == "mmmt-d" else f"{name}-l", name) for name in FULL]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The shipped configurations with small numbers."""
    root = tmp_path_factory.mktemp("configs")
    for data, numbers in TINY.items():
        (root / data).mkdir()
        large = "|".join(map(str, numbers))
        for path in (CONFIGS / data).glob("*.yaml"):
            (root / data / path.name).write_text(
                re.sub(
                    rf"(?<=: )({large})\b", lambda match, numbers=numbers: str(numbers[int(match[0])]), path.read_text()
                )
            )
    return root


def test_every_row_is_tested():
    shipped = {(data, path.stem) for data in TINY for path in rows_of(CONFIGS / data)}
    assert shipped == {(data, name) for data, name, _ in CELLS}


@pytest.mark.slow
@pytest.mark.parametrize(("data", "name", "row"), CELLS, ids=lambda value: value)
def test_a_row_is_the_tables(data, name, row, small, scenes_dataset, tmp_path, write_labels):
    overrides = [f"run.root={tmp_path}", f"data.path={scenes_dataset.folder}", "data.num_workers=0", "data.crop=null"]
    overrides += ["model.backbone=test_efficientnet", "model.widths=[8,8,16,16]", "model.pretrained=false"]
    experiment = Experiment(small / data / f"{name}.yaml", overrides)
    config = experiment.config
    few, many = FEW_MANY[f"{data}-l" if name.endswith("-l") else data]
    counts = {FEW: few, MANY: many, REST: many - few}
    inputs, tasks, truth, pseudo = ROWS[row]
    if (data, row) == ("cityscapes", "ummt-pu1"):
        pseudo = {"semseg": "mmst-rgb"}  # Cityscapes' umst-s sees every label, so it labels nothing
    if data == "cityscapes" and row in ("umst-s", "umst-m"):
        truth = {"semseg": MANY}  # of every frame
    assert (config.inputs, config.tasks) == (inputs, tasks)

    teachers = experiment.teachers
    suffix = name.endswith("-l")
    names = {task: teacher.replace("mmmt-d", "mmmt") + "-l" if suffix else teacher for task, teacher in pseudo.items()}
    assert {task: teacher.config.experiment for task, teacher in teachers.items()} == names
    for task, teacher in teachers.items():
        frames, mask = teacher.frames_to_label()
        assert mask.sum() == counts[REST]
        keys = keys_of(frames, mask)
        label_task = scenes_dataset.task(task)
        label = np.zeros((32, 64), np.uint8) if label_task.kind == "classes" else np.ones((32, 64), np.float32)
        confidence = dict.fromkeys(keys, np.full((32, 64), 0.95, np.float32)) if label_task.kind == "classes" else None
        write_labels(teacher.labels, scenes_dataset, label_task, dict.fromkeys(keys, label), confidence)

    frames = experiment.training_frames()
    mask = frames.to_train(inputs, tasks)
    assert frames.counts(mask, list(truth)) == {task: counts[number] for task, number in truth.items()}
    assert {task: (pseudo_mask & mask).sum() for task, pseudo_mask in frames.pseudo.items()} == dict.fromkeys(
        pseudo, counts[REST]
    )
    assert mask.sum() == max(counts[number] for number in truth.values())
    if data == "nyudv2":
        assert experiment.evaluation_frames.chosen.sum() == 4

    network = build(experiment.architecture)
    assert bool(network.initial) == (row not in HEADS)
    assert len(network.backbones) == (1 if row == "fmst" else len(inputs))
    criterion = MultiTaskLoss(experiment.tasks, dict(config.loss.weights), config.loss.normalise)
    batch = next(TrainingData.of(config, frames).batches(Batches(config.train.global_batch_size), 0, 1))
    assert len(batch.keys) == config.train.global_batch_size
    predictions = network(batch.inputs(config.inputs, torch.channels_last))
    loss = criterion(predictions, batch.labels, criterion.counts(batch.labels))
    assert loss.isfinite() and loss > 0


@pytest.mark.parametrize("data", TINY)
def test_every_row_of_a_table_sees_as_many_samples(data):
    rows = [Experiment(path).config for path in rows_of(CONFIGS / data)]
    seen = {
        config.train.steps * config.train.global_batch_size for config in rows if not config.experiment.endswith("-l")
    }
    assert len(seen) == 1
