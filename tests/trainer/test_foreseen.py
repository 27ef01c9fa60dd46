"""Errors that are detectable before the first step are raised before it."""

import shutil
from pathlib import Path

import pytest

from shards.errors import UserError
from shards.pack import pack
from shards.sources.base import Frame
from shards.sources.scenes import Scenes
from trainer import trainstage
from trainer.experiment import Experiment
from trainer.stages import check
from trainer.trainstage import train


class Unlabelled(Scenes):
    """Validation frames without semseg."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        if split == "val":
            del frame.labels["semseg"]  # type: ignore[attr-defined]
        return frame


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_):
        raise AssertionError("training began")

    monkeypatch.setattr(trainstage, "trainer_of", fail)


@pytest.fixture
def make_on_copy(make, tmp_path: Path, scenes_dataset):
    """``make_on_copy(*overrides)``: an experiment on a copy of the data set, which a test may damage."""
    shutil.copytree(scenes_dataset.folder, tmp_path / "own")
    return lambda *overrides: make("plain", f"data.path={tmp_path / 'own'}", *overrides)


def test_the_best_of_a_task_that_no_validation_frame_shows(make, tmp_path, no_training):
    pack(Unlabelled(8, 4, (32, 64)), tmp_path / "d", size=(32, 64))
    experiment = make(
        "plain", f"data.path={tmp_path / 'd'}", "labels.semseg=null", "labels.depth=null", "evaluate.every=1"
    )
    with pytest.raises(
        UserError, match=r"evaluate.best: 'semseg.miou' is not measured: no frame of val shows semseg; use"
    ):
        train(experiment)


def test_a_task_that_no_validation_frame_shows_is_noted_before_training(make, tmp_path, monkeypatch, caplog):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    monkeypatch.setattr(trainstage, "trainer_of", stop)
    pack(Unlabelled(8, 4, (32, 64)), tmp_path / "d", size=(32, 64))
    with pytest.raises(Stop):
        train(make("plain", f"data.path={tmp_path / 'd'}", "labels.semseg=null", "labels.depth=null"))
    assert "note: semseg: no frame of val shows it, so it will not be measured" in caplog.text
    assert "depth: no frame" not in caplog.text
    pack(Scenes(8, 0, (32, 64)), tmp_path / "without-val", size=(32, 64))
    with pytest.raises(Stop):  # a split without frames is another matter
        train(make("plain", f"data.path={tmp_path / 'without-val'}", "labels.semseg=null", "labels.depth=null"))
    assert caplog.text.count("no frame of val") == 1


@pytest.mark.parametrize(("share", "count"), [(0.1, 0), (0.95, 4)])
def test_a_share_of_pseudo_labels_that_a_batch_cannot_have(make, share, count, no_training):
    experiment = make("student", f"train.pseudo_share={share}")
    message = rf"student\.yaml: train\.pseudo_share: {share} of a batch of 4 would be {count} frames; give a larger"
    with pytest.raises(UserError, match=message):
        check(experiment)


def test_a_share_of_pseudo_labels_where_all_frames_have_some(configs, tmp_path, no_training):
    """No frame shows both tasks, and the teacher labels the other task of each."""
    budgets = "assignment: one\nlabels: {semseg: null, depth: null}\n"
    (tmp_path / "t.yaml").write_text(f"inherits: {configs}/plain.yaml\n{budgets}")
    pseudo = "pseudo: {semseg: {teacher: t.yaml, keep: all}, depth: {teacher: t.yaml, keep: all}}\n"
    (tmp_path / "s.yaml").write_text(f"inherits: {configs}/plain.yaml\n{budgets}{pseudo}train: {{pseudo_share: 0.5}}\n")
    with pytest.raises(
        UserError, match=r"s\.yaml: train\.pseudo_share: all 24 frames have pseudo-labels; leave it out"
    ):
        check(Experiment(tmp_path / "s.yaml", [f"run.root={tmp_path}"]))
    check(Experiment(tmp_path / "s.yaml", [f"run.root={tmp_path}", "train.pseudo_share=1"]))


def test_an_input_whose_holes_pseudo_labels_would_fill(configs, tmp_path, no_training):
    (tmp_path / "t.yaml").write_text(f"inherits: {configs}/plain.yaml\nlabel: {{frames: all}}\n")
    pseudo = "pseudo: {depth: {teacher: t.yaml, keep: all, holes: true}}\n"
    (tmp_path / "s.yaml").write_text(f"inherits: {configs}/plain.yaml\ninputs: [rgb, depth]\n{pseudo}")
    message = r"s\.yaml: pseudo\.depth\.holes: depth is an input, and pseudo-labels fill its holes; set pseudo"
    with pytest.raises(UserError, match=message):
        check(Experiment(tmp_path / "s.yaml", [f"run.root={tmp_path}"]))


def test_no_validation_frame_carries_the_inputs(make, tmp_path):
    pack(Unlabelled(8, 4, (32, 64)), tmp_path / "d", size=(32, 64))
    overrides = ["labels.semseg=null", "labels.depth=null", "inputs=[rgb, semseg]", "tasks=[depth]"]
    with pytest.raises(UserError, match="no frame to evaluate on: none of val carries rgb and semseg"):
        check(make("plain", f"data.path={tmp_path / 'd'}", *overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.global_batch_size=100", "train.global_batch_size: 100 samples per step, but an epoch has only"),
        ("train.gradient_accumulation_steps=3", "cannot be cut into 1 ranks × 3 accumulation steps"),
        ("data.crop=64x64", "data.crop: 64x64 is larger than the frames' 32x64"),
        ("model.pretrained=nowhere.safetensors", "nowhere.safetensors: model.pretrained: does not exist"),
        ("model.backbone=vit_tiny_patch16_224", "vit_tiny_patch16_224 does not take inputs of any size"),
        ("loss.weighting=no.such:Thing", "loss.weighting"),
        ("train.precision=fp16", "fp16 needs a GPU"),
    ],
)
def test_options_that_cannot_be_served(override, message, make, no_training):
    for name in ("plain", "student"):  # of a student, before its teacher is trained
        experiment = make(name, override)
        with pytest.raises(UserError) as error:
            check(experiment)
        assert message in str(error.value)
    with pytest.raises(UserError):
        train(make("plain", override))


def test_pretrained_inputs_that_are_no_inputs_of_the_network(make, reference, no_training):
    weights = f"model.pretrained={reference.checkpoints / 'last/model.safetensors'}"
    message = r"plain\.yaml: model\.pretrained_inputs: depth is not an input of this network, .*\(rgb\), or set"
    for name in ("plain", "student"):  # the student's teacher sees depth
        with pytest.raises(UserError, match=message.replace("plain", name)):
            check(make(name, weights, "model.pretrained_inputs=[depth]"))
    check(make("plain", "model.pretrained_inputs=[depth]"))  # from scratch, as configured


@pytest.mark.parametrize("file", ["train-000002.tar", "train-000001.index.json"])
def test_a_shard_that_is_missing(file, make_on_copy, tmp_path, no_training):
    (tmp_path / "own" / file).unlink()
    with pytest.raises(UserError, match=f"{file}: is missing; copy the shard again"):
        train(make_on_copy())


def test_a_shard_that_is_cut_short(make_on_copy, tmp_path, no_training):
    path = tmp_path / "own" / "train-000002.tar"
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(UserError, match=r"train-000002.tar: has \d+ bytes, where the manifest says"):
        train(make_on_copy())


def test_a_best_checkpoint_that_nobody_keeps(make):
    with pytest.raises(UserError, match=r"evaluate.checkpoint: no best checkpoint is kept; set evaluate.every"):
        check(make("plain", "evaluate.checkpoint=best"))


def test_zoom_and_jitter_are_checked_when_they_are_read(configs: Path):
    for override in ("augment.zoom=[0.5]", "augment.jitter=2"):
        with pytest.raises(UserError, match="command line: augment"):
            Experiment(configs / "plain.yaml", [override])


def test_a_task_that_no_training_frame_shows(make, no_training):
    with pytest.raises(UserError, match=r"tasks: no training frame shows semseg, so it would be learnt from nothing"):
        train(make("plain", "labels.semseg=0"))


NETWORK = """
import torch
from trainer.model.base import to_full_size
from trainer.model.pyramid import PyramidNetwork

class Net(PyramidNetwork):
    def __init__(self, architecture):
        super().__init__(architecture)
        self.rates = [rate.item() for rate in torch.linspace(0, 0.1, 4)]
        heads = {task.name: torch.nn.Conv2d(self.widths[0], task.channels, 1) for task in architecture.tasks}
        self.heads = torch.nn.ModuleDict(heads)

    def forward(self, inputs):
        finest = self.features(inputs)[0]
        finest = finest + torch.linspace(-1, 1, finest.shape[-1], device="cpu")
        size = self.size(inputs)
        return self.predictions({task: to_full_size(head(finest), size) for task, head in self.heads.items()})
"""


def test_a_network_of_ones_own_may_compute_with_values(make, tmp_path, monkeypatch):
    """Which tensors on the device that sizes are counted on do not have."""
    (tmp_path / "value_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = make("plain", "model.name=value_network:Net", "train.steps=1")
    check(run)
    assert (train(run) / "model.json").exists()
