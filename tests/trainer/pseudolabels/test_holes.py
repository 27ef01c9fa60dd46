"""Pseudo-labels for the unlabelled pixels (holes) of labelled frames, from preparation to the student's batches."""

import numpy as np
import pytest

from shards.dataset import ShardDataset
from shards.holes import fill_holes
from shards.manifest import Manifest
from shards.pack import pack
from shards.resize import resize_frame
from shards.sources.base import Frame
from shards.sources.scenes import Scenes
from shards.stream import Position
from trainer.adjustment import soft_frequencies
from trainer.augment import Augmentation
from trainer.data import FrameLoader
from trainer.experiment import Experiment
from trainer.pseudolabels.merge import merge
from trainer.sections import Augment
from trainer.stages import run

pytestmark = pytest.mark.slow

IGNORE, SIZE = 255, (32, 64)


class Sparse(Scenes):
    """Rooms whose labels are missing in the left half."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        frame.labels["semseg"][:, :32] = IGNORE
        return frame


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Manifest:
    return pack(Sparse(16, 4, SIZE), tmp_path_factory.mktemp("sparse"), size=SIZE, samples_per_shard=8)


@pytest.fixture(scope="module")
def student(data, configs, tmp_path_factory) -> Experiment:
    overrides = [f"run.root={tmp_path_factory.mktemp('runs')}", f"data.path={data.folder}", "labels.semseg=6"]
    experiment = Experiment(
        configs / "student.yaml", [*overrides, "labels.depth=12", "pseudo.semseg.holes=true", "pseudo.semseg.keep=all"]
    )
    run(experiment)
    return experiment


def test_a_teacher_labels_the_frames_that_show_labels_too(student):
    teacher = student.teacher("semseg")
    assert teacher.labels.name == "train-all"
    assert Manifest.load(teacher.labels, kind="labels").samples("train") == 12


def test_open_pixels_are_the_teachers_and_the_others_are_not(student, data):
    frames, _ = student.frames_to_train()
    plain = student.training_frames(pseudo=False)
    assert frames.holes["semseg"].sum() == 6 and not (frames.holes["semseg"] & frames.pseudo["semseg"]).any()
    row = int(np.flatnonzero(frames.holes["semseg"])[0])
    shard, position = row // 8, row % 8
    key, truth = plain.read(shard, position, ["semseg"])
    teacher = frames.label_shards["semseg"].read(shard, key)
    target = FrameLoader(ShardDataset.of(frames, ["semseg"], SIZE))[row][1]["semseg"].numpy()
    assert (truth["semseg"][:, :32] == IGNORE).all() and (teacher[:, :32] != IGNORE).all()
    np.testing.assert_array_equal(target[:, :32], teacher[:, :32])
    np.testing.assert_array_equal(target[:, 32:], truth["semseg"][:, 32:])


def test_without_holes_nothing_is_filled_and_other_labels_are_made(student):
    plain = Experiment(student.path, [override for override in student.overrides if "holes" not in override])
    assert plain.teacher("semseg").labels.name == "train"
    assert plain.teacher("semseg").frames_to_label()[1].sum() == 6


def test_merged_data_are_filled_too(student, tmp_path):
    teacher = Experiment(
        student.path.with_name("teacher.yaml"), [*student.teacher("semseg").overrides, "label.threshold=0"]
    )
    statistics = merge(teacher, tmp_path / "merged").statistics["train"]["semseg"]
    assert (statistics["frames"], sum(statistics["pixels"])) == (12, 12 * 32 * 64)


@pytest.mark.parametrize("holes", [True, False])
def test_crops_of_tiles_hold_what_crops_of_whole_frames_hold(configs, tmp_path, holes):
    """For ground truth, pseudo-labels in its place, soft labels of another scale, and pseudo-labels in its holes."""
    manifest = pack(Sparse(16, 4, SIZE), tmp_path / "tiled", size=SIZE, samples_per_shard=8, profile="train")
    overrides = [f"run.root={tmp_path / 'runs'}", f"data.path={manifest.folder}", "labels.semseg=6", "labels.depth=12"]
    overrides += [
        "pseudo.semseg.keep=all",
        "pseudo.semseg.target=soft",
        f"pseudo.semseg.holes={holes}",
        "data.crop=20x40",
    ]
    student = Experiment(configs / "student.yaml", [*overrides, "train.steps=1"])
    run(student)
    frames, _ = student.frames_to_train()
    augment = Augmentation(student.tasks, (20, 40), Augment())
    samples = ShardDataset.of(frames, student.config.tasks)
    loader = FrameLoader(samples, augment=augment, seed=4)
    whole = FrameLoader(ShardDataset.of(frames, student.config.tasks, SIZE), augment=augment, seed=4)
    members = set()
    for number in range(16):
        place = Position(0, number, number // 8, number % 8)
        key, tensors = loader(place)
        _, arrays = samples.stored(number)
        read_key, expected = whole(place)
        assert key == read_key and expected.keys() == tensors.keys()
        for name, tensor in expected.items():
            assert tensor.equal(tensors[name]), name
        members.add(tuple(sorted(arrays)))
    task = student.manifest.task("semseg")
    if holes:
        frames.pseudo["semseg"] &= False  # soft labels in holes alone
        counts = np.zeros(task.channels)
        for number in np.flatnonzero(frames.holes["semseg"]):
            arrays = samples.stored(number)[1]
            soft_label = fill_holes(resize_frame(arrays, SIZE), student.tasks)["semseg.soft"].astype(int)
            for plane in range(4):
                np.add.at(counts, soft_label[..., plane].ravel(), soft_label[..., 4 + plane].ravel())
        assert counts.sum() > 0
        smooth = (counts + 1e-3 * counts.sum() / task.channels) / (counts.sum() * 1.001)
        np.testing.assert_allclose(soft_frequencies(frames, task), smooth)
    assert any("semseg.soft" in names for names in members)
    assert any("semseg.fill" in names for names in members) == holes
