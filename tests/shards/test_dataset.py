"""ShardDataset: samples by number, also in worker processes, and the order of its batches."""

import pickle
from itertools import chain

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.order import Order
from shards.pseudolabels import PseudoLabels
from shards.read import Readers
from shards.tasks import IGNORE


def test_samples_are_those_of_the_shards(tiny_dataset):
    train = ShardDataset(tiny_dataset.folder)
    assert len(train) == 12 and [task.name for task in train.tasks] == [task.name for task in tiny_dataset.tasks]
    readers, number = Readers(tiny_dataset, "train"), 0
    absent_labels = 0
    for shard in range(4):
        for position in range(3):
            expected, sample = readers[shard].decode(position), train[number]
            assert sample.keys() == expected.keys() and train.key(number) == readers[shard].key(position)
            assert all(np.array_equal(sample[name], expected[name]) for name in sample)
            absent_labels += len(train.tasks) + 1 - len(sample)
            number += 1
    assert absent_labels > 0, "some labels do not exist"
    assert train.key(-1) == train.key(11)
    for index in (12, -13):
        with pytest.raises(IndexError, match=f"sample {index} of 12, counted from 0"):
            train[index]
    last_two = train[-2:]
    assert len(train[:]) == 12 and train[12:] == [] and len(last_two) == 2
    assert all(np.array_equal(last_two[1][name], array) for name, array in train[11].items())


def test_tasks_and_size_can_be_chosen(tiny_dataset):
    val = ShardDataset(tiny_dataset, "val", tasks=["depth"], size=(16, 32))
    assert set(val[0]) <= {"rgb", "depth"} and val[0]["rgb"].shape == (16, 32, 3)
    with pytest.raises(UserError, match="height"):
        ShardDataset(tiny_dataset, "val", tasks=["height"])
    with pytest.raises(UserError, match="test"):
        ShardDataset(tiny_dataset, "test")


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_torchs_own_loader_takes_it(tiny_dataset, context):
    train = ShardDataset(tiny_dataset)
    train[0]  # opens a shard, whose file no other process may use
    samples = list(DataLoader(train, batch_size=None, num_workers=2, multiprocessing_context=context))
    assert len(samples) == 12
    for number, sample in enumerate(samples):
        expected = train[number]
        assert sample.keys() == expected.keys()
        assert all(np.array_equal(np.asarray(sample[name]), expected[name]) for name in expected)


def test_a_pickled_one_is_the_same(tiny_dataset):
    train = ShardDataset(tiny_dataset)
    train[3]
    copy = pickle.loads(pickle.dumps(train))  # noqa: S301
    assert all(np.array_equal(copy[3][name], array) for name, array in train[3].items())


def keys(batches) -> list[list[str]]:
    return [batch["key"] for batch in batches]


def test_batches_are_in_the_order_of_training(tiny_dataset):
    train = ShardDataset(tiny_dataset)
    order = Order([3, 3, 3, 3], 7, window=32)
    expected = []
    for epoch in range(2):
        locations = [order.locate(epoch, position) for position in range(12)]
        keys_of_epoch = [train.key(3 * shard + number) for shard, number in locations]
        expected += [keys_of_epoch[start : start + 4] for start in range(0, 12, 4)]
    assert keys(train.loader(4, seed=7, steps=6)) == expected
    assert all(
        sorted(chain.from_iterable(expected[start : start + 3])) == sorted(map(train.key, range(12)))
        for start in (0, 3)
    )
    assert all(keys(train.loader(4, seed=7, steps=6, num_workers=workers)) == expected for workers in (0, 3))
    assert keys(train.loader(4, seed=7, start_step=4, steps=6)) == expected[4:]
    ranks = [keys(train.loader(4, seed=7, rank=rank, world_size=2, steps=6)) for rank in range(2)]
    assert [first + second for first, second in zip(*ranks, strict=True)] == expected
    assert keys(train.loader(5, seed=7, steps=2)) != expected[:2]
    assert keys(train.loader(4, seed=8, steps=6)) != expected


def test_a_batch_has_no_label_where_a_sample_has_none(tiny_dataset):
    train = ShardDataset(tiny_dataset)
    batch = next(train.loader(12, seed=0))
    assert batch["rgb"].shape == (12, 32, 64, 3) and batch["rgb"].dtype == torch.uint8
    samples = {train.key(number): train[number] for number in range(12)}
    absent_labels = 0
    for row, key in enumerate(batch["key"]):
        for task in train.tasks:
            label = samples[key].get(task.name, task.storage.empty(32, 64))
            assert np.array_equal(batch[task.name][row].numpy(), label)
            absent_labels += task.name not in samples[key]
    assert absent_labels and (batch["semseg"] == IGNORE).flatten(1).all(1).any()


def test_a_batch_has_the_weights_and_soft_labels_of_pseudo_labels(tiny_dataset, tmp_path, write_labels):
    task = tiny_dataset.task("semseg")
    keys = [ShardDataset(tiny_dataset).key(index) for index in range(12)]
    folder = write_labels(tmp_path / "labels", tiny_dataset, task, {key: np.ones((32, 64), np.uint8) for key in keys})
    half = PseudoLabels(folder, keep=lambda task, label, confidence, statistics: np.full(label.shape, 0.5, np.float32))
    train = ShardDataset(tiny_dataset, pseudo={"semseg": half}, labels={"semseg": 3})
    batch = next(train.loader(12, seed=0))
    weights = batch["semseg.weight"]
    assert weights.shape == (12, 32, 64, 1) and weights.dtype == torch.uint8
    own = torch.tensor([train.label(keys.index(key), "semseg") is not None for key in batch["key"]])
    assert own.sum() == 3 and (weights[own] == 255).all() and (weights[~own] == 128).all()
    samples = {train.key(number): train[number] for number in range(12)}
    for row, key in enumerate(batch["key"]):
        if "semseg.weight" in samples[key]:
            assert np.array_equal(weights[row].numpy(), samples[key]["semseg.weight"])


def test_shards_of_pseudo_labels_stay_open_as_long_as_those_of_frames(tiny_dataset, tmp_path, write_labels):
    task = tiny_dataset.task("semseg")
    label = {ShardDataset(tiny_dataset).key(0): np.ones((32, 64), np.uint8)}
    folder = write_labels(tmp_path / "labels", tiny_dataset, task, label)
    train = ShardDataset(tiny_dataset, pseudo={"semseg": PseudoLabels(folder)})
    next(train.loader(4, shuffle_window=100))
    assert train.frames.readers.keep == train.frames.label_shards["semseg"].readers.keep == 200


def test_too_large_a_batch_is_refused(tiny_dataset):
    with pytest.raises(UserError, match="13 samples per step, but an epoch has only 12"):
        next(ShardDataset(tiny_dataset).loader(13))
    with pytest.raises(UserError, match="cannot be cut into 2 ranks"):
        next(ShardDataset(tiny_dataset).loader(3, world_size=2))
    with pytest.raises(UserError, match="num_workers: -1 threads; give 0 or more"):
        next(ShardDataset(tiny_dataset).loader(4, num_workers=-1))
    for options in ({"start_step": -1}, {"steps": -1}, {"seed": -1}, {"steps": 2.5}):
        ((name, value),) = options.items()
        with pytest.raises(UserError, match=f"^{name}: is {value}; give a whole number from 0 up"):
            next(ShardDataset(tiny_dataset).loader(4, **options))


def test_frames_that_are_trained_on_can_be_chosen(tiny_dataset):
    """Whose loader has the order of training where some frames show no target."""
    train = ShardDataset(tiny_dataset, tasks=["semseg", "depth"], labels={"semseg": 5})
    shown = [number for number in range(len(train)) if "semseg" in train[number]]
    chosen = train.with_targets(["semseg"], size=(16, 32))
    assert [chosen.key(number) for number in range(len(chosen))] == [train.key(number) for number in shown]
    assert chosen[0].keys() == {"rgb", "semseg"} and chosen[0]["rgb"].shape == (16, 32, 3)
    assert train.with_targets(["semseg"], ["rgb", "depth"])[0].keys() == {"rgb", "semseg", "depth"}
    assert len(train.with_targets()) == sum({*train[number]} > {"rgb"} for number in range(len(train)))


@pytest.mark.parametrize("inputs", ["rgb", ["rgb", "normals"]])
def test_inputs_are_names_of_tasks(tiny_dataset, inputs):
    train = ShardDataset(tiny_dataset)
    for call in (train.with_inputs, lambda names: train.with_targets(inputs=names)):
        with pytest.raises(UserError, match=r"inputs: is 'rgb'; give a list|has no task 'normals'; use"):
            call(inputs)


@pytest.mark.parametrize("samples", [["train-000"], [0.5], [[0, 1]]])
def test_only_indices_select(tiny_dataset, samples):
    with pytest.raises(UserError, match=r"^samples: are no indices; give whole numbers, or a mask of bool"):
        ShardDataset(tiny_dataset).select(samples)


def test_shards_are_numbered_like_a_list(tiny_dataset):
    train = ShardDataset(tiny_dataset)
    assert (train.shard(0), train.shard(-1)) == (range(3), range(9, 12))
    with pytest.raises(IndexError):
        train.shard(4)


def test_selected_samples_are_those_and_no_others(tiny_dataset):
    train = ShardDataset(tiny_dataset, size=(16, 24))
    chosen = train.select([7, -1, 2, 7])
    indices = [2, 7, 11]
    assert len(chosen) == 3 and chosen.counts.sum() == 3 and chosen.size == train.size
    assert [chosen.key(index) for index in range(3)] == [train.key(index) for index in indices]
    assert [sample["rgb"].tobytes() for sample in chosen] == [train[index]["rgb"].tobytes() for index in indices]
    assert [chosen.file(index) for index in range(3)] == [train.file(index) for index in indices]
    assert len(train) == 12, "the data set itself is as it was"
    for mask in ([False, True, True], np.array([False, True, True])):
        again = chosen.select(mask)
        assert [again.key(0), again.key(-1)] == [train.key(7), train.key(11)]
    with pytest.raises(IndexError):
        train.select([12])
    for count in (0, 3):
        with pytest.raises(IndexError):
            train.select(np.ones(count, bool))
    with pytest.raises(IndexError):
        chosen.key(3)


def test_a_selection_keeps_budgets_pseudo_labels_and_masks(tiny_dataset, tmp_path, write_labels):
    task = tiny_dataset.task("semseg")
    keys = [ShardDataset(tiny_dataset).key(index) for index in range(12)]
    folder = write_labels(tmp_path / "labels", tiny_dataset, task, {key: np.ones((32, 64), np.uint8) for key in keys})
    pseudo = {"semseg": PseudoLabels(folder, holes=True)}
    for labels in ({"semseg": 3}, {"semseg": None}):
        train = ShardDataset(tiny_dataset, pseudo=pseudo, labels=labels, size=(16, 24))
        indices = [1, 4, 5, 10]
        for chosen in (train.select(indices), train.select(range(12)).select(indices)):
            for index, sample in zip(indices, chosen, strict=True):
                whole = train[index]
                assert whole.keys() == sample.keys() and all(np.array_equal(whole[k], sample[k]) for k in whole)
            assert chosen.frames.visible["semseg"].sum() == sum(train.label(i, "semseg") is not None for i in indices)
        with_depth = train.with_inputs(["rgb", "depth"])
        assert with_depth.size == train.size and {*with_depth.tasks} == {*train.tasks}
        assert all("depth" in sample for sample in with_depth) and len(with_depth) < 12
        assert [task.name for task in train.with_inputs(["rgb", "depth"], []).tasks] == ["depth"]


def test_selected_samples_are_loaded_in_one_order_on_any_number_of_ranks(tiny_dataset):
    train = ShardDataset(tiny_dataset).select(range(1, 12, 2))
    batches = list(train.loader(2, seed=3, steps=6))
    keys = [key for batch in batches for key in batch["key"]]
    assert sorted(keys[:6]) == sorted(keys[6:]) == [train.key(index) for index in range(6)], "two epochs"
    ranks = [list(train.loader(2, seed=3, steps=6, rank=rank, world_size=2)) for rank in range(2)]
    assert [batch["key"][0] for step in zip(*ranks, strict=True) for batch in step] == keys


def test_a_selection_may_be_empty_and_can_be_pickled(tiny_dataset):
    train = ShardDataset(tiny_dataset)
    assert len(train.select([])) == 0
    chosen = train.select([5])
    assert pickle.loads(pickle.dumps(chosen)).key(0) == train.key(5)  # noqa: S301


def test_a_label_is_read_by_itself(tiny_dataset, monkeypatch):
    train = ShardDataset(tiny_dataset)
    samples = [train[index] for index in range(len(train))]
    monkeypatch.setattr("shards.read.decode_picture", None)  # RGB is not decoded
    for index, sample in enumerate(samples):
        label = train.label(index, "semseg")
        assert (label is None) == ("semseg" not in sample)
        assert label is None or np.array_equal(label, sample["semseg"])
    hidden = ShardDataset(tiny_dataset, labels={"semseg": 0})
    assert all(hidden.label(index, "semseg") is None for index in range(len(hidden)))
    with pytest.raises(UserError, match="depht"):
        train.label(0, "depht")


def test_pseudo_labels_of_a_task_that_is_not_read_are_refused(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="semseg is none of the tasks depth"):
        ShardDataset(tiny_dataset, tasks=["depth"], pseudo={"semseg": PseudoLabels(tmp_path)})


def test_statistics_are_of_quantities(tiny_dataset):
    statistics = ShardDataset(tiny_dataset, "val").statistics
    assert set(statistics) == {"depth"} and statistics["depth"][1] > 0
