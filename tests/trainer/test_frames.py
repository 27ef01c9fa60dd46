"""Budgets: which frames show which label, and that what is hidden is never read."""

from itertools import pairwise

import numpy as np
import pytest

from shards.errors import UserError
from shards.frames import Frames
from shards.labels import LabelShards
from shards.read import ShardReader
from shards.stream import Batches
from trainer.trainingdata import TrainingData


def frames_of(manifest, seed=0, split="train", **options) -> Frames:
    return Frames(manifest, split, seed=seed, **options)


def shown(frames: Frames, task: str) -> set[int]:
    return set(np.flatnonzero(frames.visible[task]).tolist())


# The queue


def test_budgets_nest_within_and_across_tasks(scenes_dataset):
    by_budget = [frames_of(scenes_dataset, budgets={"semseg": n, "depth": 16}) for n in range(17)]
    for smaller, larger in pairwise(by_budget):
        assert shown(smaller, "semseg") < shown(larger, "semseg")
        assert shown(smaller, "depth") == shown(larger, "depth")
        assert len(shown(larger, "semseg")) == len(shown(smaller, "semseg")) + 1
    assert shown(by_budget[16], "semseg") == shown(by_budget[16], "depth")


@pytest.mark.parametrize(("seed", "first"), [(0, [11, 13, 18, 19]), (1, [22, 9, 1, 18])])
def test_the_queue_is_what_it_always_was(scenes_dataset, seed, first):
    """Runs that are compared must have seen the same frames, so another queue would be a breaking change."""
    queue: list[int] = []
    for budget in range(1, 5):
        queue += shown(frames_of(scenes_dataset, seed, budgets={"semseg": budget}), "semseg") - set(queue)
    assert queue == first


def test_every_experiment_of_a_seed_sees_the_same_frames(make):
    overrides = ([], ["inputs=[rgb, depth]"], ["tasks=[semseg]"], ["train.lr=1", "model.backbone=hrnet_w18"])
    experiments = [make("plain", *arguments).training_frames() for arguments in overrides]
    for frames in experiments[1:]:
        assert shown(frames, "semseg") == shown(experiments[0], "semseg")
        assert shown(frames, "depth") == shown(experiments[0], "depth")
    other = make("plain", "seed=1").training_frames()
    assert shown(other, "depth") != shown(experiments[0], "depth")


def test_an_experiment_reads_its_indexes_once_and_shares_no_pseudo_labels(make, finished):
    experiment = make("student")
    frames = experiment.training_frames()
    assert frames.pseudo
    plain = experiment.training_frames(pseudo=False)
    assert not plain.pseudo and not plain.label_shards
    assert plain.readers is frames.readers
    assert experiment.evaluation_frames.readers is experiment.evaluation_frames.readers


def test_no_budget_shows_every_label(scenes_dataset):
    frames = frames_of(scenes_dataset, budgets={"semseg": 3})
    assert len(shown(frames, "semseg")) == 3 and len(shown(frames, "depth")) == 24
    assert shown(frames_of(scenes_dataset, budgets={"semseg": 3, "depth": None}), "depth") == shown(frames, "depth")
    assert frames_of(scenes_dataset).visible["semseg"].all()


def test_a_budget_of_nothing_shows_nothing(scenes_dataset):
    frames = frames_of(scenes_dataset, budgets={"semseg": 0})
    assert not shown(frames, "semseg")
    assert frames.to_train(["rgb"], ["semseg", "depth"]).all()
    assert not frames.to_train(["rgb"], ["semseg"]).any()


@pytest.mark.parametrize("budget", [25, 1000])
def test_a_budget_larger_than_the_data_is_an_error(scenes_dataset, budget):
    with pytest.raises(
        UserError, match=rf"labels\.depth: {budget} frames, where 24 carry the label; set it to 24 or less, or to null"
    ):
        frames_of(scenes_dataset, budgets={"depth": budget})


def test_a_budget_of_a_task_that_the_data_lacks_is_an_error(scenes_dataset):
    with pytest.raises(UserError, match="no task 'normals'"):
        frames_of(scenes_dataset, budgets={"normals": 1})


# Data that is labelled in part: 12 frames, 8 carry semseg, 9 depth, 6 both, 1 none


def test_labels_that_frames_carry_are_found(tiny_dataset):
    frames = frames_of(tiny_dataset)
    assert shown(frames, "semseg") == {i for i in range(12) if i % 3 != 2}
    assert shown(frames, "depth") == {i for i in range(12) if i % 4 != 3}


def test_frames_with_more_labels_come_first(tiny_dataset):
    frames = frames_of(tiny_dataset, budgets={"semseg": 5, "depth": 6})
    both = {i for i in range(12) if i % 3 != 2 and i % 4 != 3}
    assert shown(frames, "depth") == both
    assert shown(frames, "semseg") < both
    more = frames_of(tiny_dataset, budgets={"semseg": 8, "depth": 9})
    assert shown(more, "semseg") == shown(frames_of(tiny_dataset), "semseg")


def test_a_budget_counts_only_frames_that_carry_the_label(tiny_dataset):
    with pytest.raises(UserError, match=r"labels\.semseg: 9 frames, where 8 carry the label"):
        frames_of(tiny_dataset, budgets={"semseg": 9})


def test_training_leaves_out_frames_that_show_no_target(tiny_dataset):
    frames = frames_of(tiny_dataset)
    assert set(np.flatnonzero(~frames.to_train(["rgb"], ["semseg", "depth"]))) == {11}
    teacher = frames.to_train(["rgb", "depth"], ["semseg", "depth"])
    assert set(np.flatnonzero(teacher)) == shown(frames, "semseg") & shown(frames, "depth")
    labelled = frames.to_label(["rgb", "depth"], ["semseg"])
    assert set(np.flatnonzero(labelled)) == shown(frames, "depth") - shown(frames, "semseg")


# Teachers


def test_a_teacher_trains_on_a_and_labels_the_rest_of_b(scenes_dataset):
    frames = frames_of(scenes_dataset, budgets={"semseg": 8, "depth": 20})
    inputs, tasks = ["rgb", "depth"], ["semseg", "depth"]
    trained = set(np.flatnonzero(frames.to_train(inputs, tasks)))
    labelled = set(np.flatnonzero(frames.to_label(inputs, ["semseg"])))
    assert trained == shown(frames, "semseg") and len(trained) == 8
    assert labelled == shown(frames, "depth") - trained and len(labelled) == 12
    assert frames.counts(frames.to_train(inputs, tasks), tasks) == {"semseg": 8, "depth": 8}


def test_a_network_of_its_own_input_alone_trains_on_it(scenes_dataset):
    frames = frames_of(scenes_dataset, budgets={"depth": 5})
    assert frames.to_train(["rgb", "depth"], ["depth"]).sum() == 5


def test_pseudo_labels_stand_in_only_where_no_truth_shows(scenes_dataset, tmp_path, write_labels):
    task = scenes_dataset.task("semseg")
    keys = [f"train_{i:06d}" for i in range(0, 24, 2)]
    labels = write_labels(tmp_path, scenes_dataset, task, dict.fromkeys(keys, np.zeros((32, 64), np.uint8)))
    frames = frames_of(scenes_dataset, budgets={"semseg": 8, "depth": 10}, dev=2)
    frames.add_pseudo(LabelShards(labels, scenes_dataset, "train", task, None))
    even = {i for i in range(24) if i % 2 == 0}
    set_aside = set(np.flatnonzero(~frames.chosen))
    assert set(np.flatnonzero(frames.pseudo["semseg"])) == even - shown(frames, "semseg") - set_aside
    trained = set(np.flatnonzero(frames.to_train(["rgb"], ["semseg"])))
    assert trained == shown(frames, "semseg") | (even - set_aside)
    assert frames.counts(frames.chosen, ["semseg"]) == {"semseg": 8}, "pseudo-labels are no ground truth"


# Frames set aside


def test_dev_frames_are_outside_every_budget_and_show_everything(scenes_dataset):
    dev = frames_of(scenes_dataset, dev=4, only="dev")
    assert dev.chosen.sum() == 4
    assert shown(dev, "semseg") == shown(dev, "depth") == set(np.flatnonzero(dev.chosen))
    for budgets in ({}, {"semseg": 20, "depth": 20}, {"semseg": 3}):
        frames = frames_of(scenes_dataset, dev=4, budgets=budgets)
        assert not (frames.chosen & dev.chosen).any() and frames.chosen.sum() == 20
        assert not (shown(frames, "semseg") | shown(frames, "depth")) & set(np.flatnonzero(dev.chosen))
        assert not (frames.to_train(["rgb"], ["semseg", "depth"]) & dev.chosen).any()
        assert not (frames.to_label(["rgb"], ["semseg"]) & dev.chosen).any()


def test_dev_frames_do_not_move_a_budget_that_has_room(scenes_dataset):
    frames = frames_of(scenes_dataset, budgets={"semseg": 8, "depth": 16})
    frames_with_dev = frames_of(scenes_dataset, budgets={"semseg": 8, "depth": 16}, dev=8)
    assert shown(frames, "depth") == shown(frames_with_dev, "depth")


def test_dev_frames_carry_every_label(tiny_dataset):
    dev = frames_of(tiny_dataset, dev=5, only="dev")
    assert np.flatnonzero(dev.chosen).tolist() == sorted(shown(dev, "semseg") & shown(dev, "depth"))
    with pytest.raises(UserError, match="dev: 7 frames, where 6 carry every label; set dev to 6 or less"):
        frames_of(tiny_dataset, dev=7)
    with pytest.raises(UserError, match=r"labels\.depth: 5 frames, where 4 carry the label"):
        frames_of(tiny_dataset, dev=5, budgets={"depth": 5})


def test_val_picks_nested_frames_by_the_seed(scenes_dataset):
    picked = [set(np.flatnonzero(frames_of(scenes_dataset, split="val", only=n).chosen)) for n in range(1, 7)]
    assert [len(positions) for positions in picked] == [1, 2, 3, 4, 5, 6]
    assert all(smaller < larger for smaller, larger in pairwise(picked))
    assert any(
        set(np.flatnonzero(frames_of(scenes_dataset, seed, split="val", only=2).chosen)) != picked[1]
        for seed in range(1, 5)
    )
    with pytest.raises(UserError, match="val: 7 frames, where split val has 6; set it to 6 or less"):
        frames_of(scenes_dataset, split="val", only=7)


def test_frames_that_are_not_there_show_and_are_labelled_nothing(scenes_dataset):
    few = frames_of(scenes_dataset, budgets={"semseg": 8, "depth": 12}, only=12)
    assert set(np.flatnonzero(few.chosen)) == shown(few, "depth"), "budgets take the first frames of the same queue"
    assert few.to_label(["rgb"], ["semseg"]).sum() == 4 and few.to_train(["rgb"], ["semseg", "depth"]).sum() == 12
    with pytest.raises(UserError, match=r"labels\.depth: 13 frames, where 12 carry the label"):
        frames_of(scenes_dataset, budgets={"depth": 13}, only=12)
    with pytest.raises(UserError, match="frames: 21 frames, where split train has 20 besides the 4 set aside"):
        frames_of(scenes_dataset, dev=4, only=21)
    assert frames_of(scenes_dataset, dev=4, only=20).chosen.sum() == 20, "frames set aside are not counted"


# What is hidden


def test_hidden_labels_are_never_read(make, finished, monkeypatch):
    """Neither by training nor by labelling: no member outside the budget is read."""
    from trainer.pseudolabels.merge import merge
    from trainer.pseudolabels.stage import label

    members_read: set[tuple[str, str]] = set()
    original = ShardReader.read

    def record(reader, position, wanted=lambda extension: True):
        members = original(reader, position, wanted)
        if "labels" not in reader.path.parts:
            members_read.update((reader.key(position), extension.partition(".")[0]) for extension in members)
        return members

    monkeypatch.setattr(ShardReader, "read", record)
    student, teacher = finished("student"), finished("teacher")
    for experiment in (student, teacher):
        frames = experiment.training_frames()
        list(TrainingData.of(experiment.config, frames).batches(Batches(4), 0, 8))
    (teacher.labels / "MANIFEST.json").unlink()
    for shard in teacher.labels.glob("*.tar"):
        shard.unlink()
    label(teacher)
    merge(teacher, teacher.folder / "merged")

    frames = student.training_frames()
    for task in ("semseg", "depth"):
        visible = {f"train_{i:06d}" for i in shown(frames, task)}
        assert {key for key, name in members_read if name == task} == visible
