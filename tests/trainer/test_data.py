"""From shards to batches: what a batch holds, which label wins, and what errors say, also from a loader's worker."""

import shutil

import numpy as np
import pytest
import torch

from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.scenes import Scenes
from shards.stream import Batches
from shards.tasks import IGNORE
from trainer.batch import Collate
from trainer.data import FrameLoader, load_batches
from trainer.experiment import Experiment
from trainer.losses import label_counts
from trainer.trainingdata import TrainingData

PLAIN = ("augment.flip=false", "augment.zoom=[1.0]", "augment.jitter=0")
ALL = ("labels.semseg=null", "labels.depth=null")
SIZE = (32, 64)


def batches_of(experiment: Experiment, stop: int, start: int = 0, batches: Batches | None = None) -> list:
    batches = batches or Batches(experiment.config.train.global_batch_size)
    return list(TrainingData.of(experiment.config, experiment.training_frames()).batches(batches, start, stop))


def copy_of(manifest: Manifest, folder) -> Manifest:
    shutil.copytree(manifest.folder, folder)
    return Manifest.load(folder)


def damage(manifest: Manifest, split: str = "train") -> None:
    """Flip a byte in the middle of every shard of a split."""
    for shard in manifest.shards(split):
        path = manifest.folder / shard.file
        data = bytearray(path.read_bytes())
        for offset in range(600, len(data), 1000):
            data[offset] ^= 0xFF
        path.write_bytes(data)


# Batches


def test_a_batch_in_the_form_that_losses_take(make):
    (batch,) = batches_of(make("plain"), 1)
    assert batch.rgb.dtype == torch.uint8 and batch.rgb.shape == (4, 3, *SIZE)
    assert batch.labels["semseg"].dtype == torch.uint8 and batch.labels["semseg"].shape == (4, *SIZE)
    assert batch.labels["depth"].dtype == torch.float32 and batch.labels["depth"].shape == (4, 1, *SIZE)
    labelled = [(batch.labels["semseg"] != IGNORE).sum(), (batch.labels["depth"] != 0).sum()]
    assert label_counts(batch.labels, make("plain").tasks).tolist() == [int(count) for count in labelled]
    assert len(set(batch.keys)) == 4


def test_a_frame_without_a_label_gets_no_label(make):
    experiment = make("plain", *PLAIN)
    frames = experiment.training_frames()
    count = 0
    for batch in batches_of(experiment, 4):
        for row, key in enumerate(batch.keys):
            visible = frames.visible["semseg"][int(key.removeprefix("train_"))]
            assert (batch.labels["semseg"][row] != IGNORE).any() == visible
            assert (batch.labels["depth"][row] != 0).any()
            count += visible
    assert count == 8


def test_labels_are_those_of_their_frame(make, scenes_dataset):
    """Compared with the source."""
    source = Scenes(24, 6, SIZE)
    (batch,) = batches_of(make("plain", *ALL, *PLAIN), 1)
    for row, key in enumerate(batch.keys):
        frame = source.load("train", int(key.removeprefix("train_")))
        assert np.array_equal(batch.labels["semseg"][row].numpy(), frame.labels["semseg"])
        assert np.allclose(batch.labels["depth"][row, 0].numpy(), frame.labels["depth"], atol=0.0006)
        assert np.abs(batch.rgb[row].permute(1, 2, 0).numpy().astype(int) - np.asarray(frame.rgb)).mean() < 8  # JPEG


def test_inputs_are_what_the_network_is_to_see(make):
    (batch,) = batches_of(make("teacher"), 1)
    inputs = batch.inputs(["depth", "rgb"], torch.channels_last)
    assert list(inputs) == ["depth", "rgb"]
    assert inputs["rgb"].dtype == torch.float32 and inputs["rgb"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(inputs["rgb"], batch.rgb.float() / 255)
    assert inputs["depth"] is batch.labels["depth"]
    assert list(batch.inputs(["depth"], torch.channels_last)) == ["depth"]


def test_an_epoch_holds_every_frame_once_and_any_start_gives_the_same(make):
    experiment = make("plain")
    whole = batches_of(experiment, 8)
    keys = [key for batch in whole[:4] for key in batch.keys]
    frames = experiment.training_frames()
    assert sorted(keys) == [f"train_{i:06d}" for i in np.flatnonzero(frames.to_train(["rgb"], ["semseg", "depth"]))]
    assert [key for batch in whole[4:] for key in batch.keys] != keys
    for resumed, batch in zip(batches_of(experiment, 8, start=3), whole[3:], strict=True):
        assert resumed.keys == batch.keys and torch.equal(resumed.rgb, batch.rgb)


def test_loading_draws_no_random_number_of_the_process(make):
    """Else a run that continues, and so starts its loader again, would draw others than an undisturbed one."""
    before = torch.get_rng_state()
    batches_of(make("plain"), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_ranks_and_accumulation_cut_the_same_global_batch(make):
    """Augmentation included."""
    experiment = make("plain")
    (whole,) = batches_of(experiment, 1)
    parts = [batches_of(experiment, 1, batches=Batches(4, 2, rank, 2)) for rank in (0, 1)]
    cut = [parts[rank][step] for step in (0, 1) for rank in (0, 1)]
    assert [key for batch in cut for key in batch.keys] == whole.keys
    assert torch.equal(torch.cat([batch.rgb for batch in cut]), whole.rgb)
    assert torch.equal(torch.cat([batch.labels["depth"] for batch in cut]), whole.labels["depth"])


def test_fewer_frames_than_a_batch_are_an_error(make):
    with pytest.raises(UserError, match=r"^global_batch_size: 32 samples per step, but an epoch has only 16"):
        batches_of(make("plain", "train.global_batch_size=32"), 1)
    with pytest.raises(UserError, match="no train frame shows a label of what is to be predicted, semseg"):
        batches_of(make("plain", "tasks=[semseg]", "labels.semseg=0"), 1)


# Pseudo-labels


@pytest.fixture
def pseudo(make, scenes_dataset, tmp_path, write_labels):
    """``pseudo(threshold, confidence, shape)``: a loader of all frames, for which the teacher predicts class 3."""

    def loader(threshold: float | None, confidence: float | None = None, shape: tuple[int, int] = SIZE) -> FrameLoader:
        task = scenes_dataset.task("semseg")
        keys = [f"train_{i:06d}" for i in range(24)]
        confidences = np.full(shape, confidence or 0, np.float32)
        confidences[:, : shape[1] // 2] = 0.99
        label = np.full(shape, 3, np.uint8)
        confident = dict.fromkeys(keys, confidences) if confidence is not None else None
        folder = write_labels(tmp_path / "labels", scenes_dataset, task, dict.fromkeys(keys, label), confident)
        frames = make("plain").training_frames()
        frames.add_pseudo(LabelShards(folder, scenes_dataset, "train", task, threshold))
        return FrameLoader(ShardDataset.of(frames, ["semseg", "depth"]))

    return loader


def labels_by_frame(loader: FrameLoader) -> dict[int, torch.Tensor]:
    return {index: loader[index][1]["semseg"] for index in range(24)}


def test_ground_truth_wins_over_pseudo_labels(pseudo, scenes_dataset):
    loader = pseudo(None)
    source, labels = Scenes(24, 6, SIZE), labels_by_frame(loader)
    for i, label in labels.items():
        if loader.data.frames.visible["semseg"][i]:
            assert np.array_equal(label.numpy(), source.load("train", i).labels["semseg"])
        else:
            assert (label == 3).all()


@pytest.mark.parametrize(("threshold", "right"), [(0.9, IGNORE), (0.5, IGNORE), (0.49, 3), (0, 3), (None, 3)])
def test_the_threshold_is_applied_when_labels_are_read(pseudo, threshold, right):
    loader = pseudo(threshold, confidence=0.5)
    for i, label in labels_by_frame(loader).items():
        if loader.data.frames.pseudo["semseg"][i]:
            assert (label[:, :32] == 3).all() and (label[:, 32:] == right).all()


def test_a_pseudo_label_of_another_size_is_brought_to_its_frames(pseudo):
    """A teacher may have seen frames at another ``data.size``."""
    loader = pseudo(0.9, confidence=0.5, shape=(16, 32))
    for i, label in labels_by_frame(loader).items():
        assert label.shape == SIZE
        if loader.data.frames.pseudo["semseg"][i]:
            assert (label[:, :32] == 3).all() and (label[:, 32:] == IGNORE).all()


def test_a_threshold_needs_a_confidence(pseudo):
    loader = pseudo(0.9)
    hidden = int(np.flatnonzero(loader.data.frames.pseudo["semseg"])[0])
    with pytest.raises(UserError, match=r"has no confidence .*; set pseudo\.semseg\.keep=all"):
        loader[hidden]


def test_a_student_whose_teacher_has_not_labelled_is_told_how(make):
    with pytest.raises(UserError, match=r"pseudo\.semseg: the teacher has not labelled; .*`tutelage label .*teacher"):
        make("student").training_frames()


# Sizes


@pytest.fixture
def mixed(tmp_path) -> Manifest:
    """Frames of two sizes."""

    class Mixed(Scenes):
        def load(self, split, position):
            return Scenes(9, 3, ((32, 64), (48, 96))[position % 2], self.seed).load(split, position)

    return pack(Mixed(9, 3, (32, 64)), tmp_path / "mixed", samples_per_shard=3)


def test_frames_of_several_sizes_need_a_size_or_a_crop(make, mixed):
    overrides = [f"data.path={mixed.folder}", *ALL]
    message = r"train-00000\d\.tar: train_00000\d: frames differ in size: 32x64, 48x96; set size=HEIGHTxWIDTH or crop="
    with pytest.raises(UserError, match=message):
        batches_of(make("plain", *overrides), 2)
    for option in ("data.size=24x40", "data.crop=24x40"):
        for batch in batches_of(make("plain", *overrides, option), 2):
            assert batch.rgb.shape[-2:] == batch.labels["semseg"].shape[-2:] == (24, 40)


def test_evaluation_takes_frames_of_several_sizes_one_by_one(make, mixed):
    frames = make("plain", f"data.path={mixed.folder}", *ALL).training_frames()
    loader = FrameLoader(ShardDataset.of(frames, ["depth"]))
    collate = Collate(loader.data.tasks)
    batches = load_batches(loader, collate, range(4))
    assert [batch.keys for batch in batches] == [[f"train_00000{i}"] for i in range(4)]
    assert [batch.labels["depth"].shape[-2:] for batch in batches] == [(32, 64), (48, 96)] * 2
    assert [batch.keys for batch in load_batches(loader, collate, [0, 2])] == [["train_000000", "train_000002"]]


def test_size_resizes_and_crop_cuts(make):
    (whole,) = batches_of(make("plain", *PLAIN, *ALL), 1)
    (small,) = batches_of(make("plain", *PLAIN, *ALL, "data.size=16x32"), 1)
    (cut,) = batches_of(make("plain", *PLAIN, *ALL, "data.crop=16x32"), 1)
    assert torch.allclose(small.rgb.float(), torch.nn.functional.avg_pool2d(whole.rgb.float(), 2), atol=1)
    assert set(small.labels["semseg"].unique().tolist()) <= set(whole.labels["semseg"].unique().tolist())
    windows = whole.rgb.unfold(2, 16, 1).unfold(3, 32, 1)
    for row in range(4):
        same = (windows[row] == cut.rgb[row][:, None, None]).all(-1).all(-1).all(0)
        assert same.any(), "no window of the frame"


def test_a_zoom_about_the_centre_can_be_asked_for(make):
    (whole,) = batches_of(make("plain", *PLAIN, *ALL), 1)
    options = (*PLAIN, *ALL, "augment.zoom=[2.0]", "augment.zoom_window=centre")
    (zoomed,) = batches_of(make("plain", *options), 1)
    assert torch.equal(zoomed.labels["depth"][..., ::2, ::2] * 2, whole.labels["depth"][..., 8:24, 16:48])


def test_a_crop_larger_than_a_frame_names_the_frame(make, scenes_dataset):
    with pytest.raises(UserError, match=r"train-00000\d\.tar: train_0000\d\d: 64×64 is larger than the frame's 32×64"):
        batches_of(make("plain", "data.crop=64x64"), 1)


# Errors


def test_a_damaged_shard_names_shard_and_member(make, scenes_dataset, tmp_path):
    copy = copy_of(scenes_dataset, tmp_path / "copy")
    damage(copy)
    with pytest.raises(
        UserError, match=r"copy/train-00000\d\.tar: train_0000\d\d\.\S+: bytes differ .*; copy the shard"
    ):
        batches_of(make("plain", f"data.path={copy.folder}"), 1)


def test_a_workers_error_keeps_its_text(make, scenes_dataset, tmp_path):
    copy = copy_of(scenes_dataset, tmp_path / "copy")
    damage(copy)
    overrides = [f"data.path={copy.folder}", "data.num_workers=1"]
    with pytest.raises(
        UserError, match=r"copy/train-00000\d\.tar: train_0000\d\d\.\S+: bytes differ .*; copy the shard"
    ):
        batches_of(make("plain", *overrides), 1)


def test_a_frame_without_rgb_is_named(tmp_path, make, scenes_dataset, monkeypatch):
    from shards import read

    monkeypatch.setattr(read.ShardReader, "decode", lambda reader, position, *_: {"depth": np.ones(SIZE, np.float32)})
    with pytest.raises(UserError, match=r"train-00000\d\.tar: train_\d+: has no RGB; prepare the data set again"):
        batches_of(make("plain"), 1)
