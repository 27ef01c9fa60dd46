"""The labelling pass as a component: of any network, for any data set, without a configuration."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import launch

import tutelage as tt
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.scenes import Scenes
from trainer.model.base import Network, Predictions
from trainer.pseudolabels.labeller import Labeller
from trainer.runs import checkpoint
from trainer.sections import Label
from trainer.weighting import Uncertainty

BUDGETS = {"semseg": 8, "depth": 16}
OPTIONS = {"batch_size": 3, "threshold": 0.4}
"""Both as in the configuration of the teacher."""

PROGRAM = """
import json, sys
from pathlib import Path
import tutelage as tt
from trainer.runs import checkpoint

model, _ = checkpoint.load_exported(Path(sys.argv[1]))
budgets, options = json.loads(sys.argv[4]), json.loads(sys.argv[5])
tt.label(model, tt.ShardDataset(sys.argv[2], labels=budgets), sys.argv[3], **options)
"""


class Wrapped(torch.nn.Module):
    """A network that says nothing of itself."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: dict[str, torch.Tensor]) -> Predictions:
        return self.network(inputs)


@pytest.fixture
def teacher(finished_root) -> Path:
    """The run of a teacher that has labelled."""
    return finished_root / "scenes/teacher/seed-0"


@pytest.fixture
def network(teacher) -> Network:
    return checkpoint.load_exported(teacher / "checkpoints/last")[0]


@pytest.fixture
def train(scenes_dataset) -> tt.ShardDataset:
    return tt.ShardDataset(scenes_dataset, "train", labels=BUDGETS)


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in [*folder.glob("train-*"), folder / "kept.json"]}


def test_the_labels_are_those_of_the_command(teacher, network, train, tmp_path):
    kept = tt.label(network, train, tmp_path / "labels", **OPTIONS)
    assert shards(tmp_path / "labels") == shards(teacher / "labels/train")
    assert kept == json.loads((tmp_path / "labels/kept.json").read_text())
    own, commands = (Manifest.load(f, kind="labels") for f in (tmp_path / "labels", teacher / "labels/train"))
    assert {**own.source, "teacher": 0} == {**commands.source, "teacher": 0}
    described, exported = own.source["teacher"], commands.source["teacher"]
    assert described["checkpoint_sha256"] == exported["checkpoint_sha256"], "the hash that an export has"
    assert described["step"] is None and described["threads"] == exported["threads"]
    config = described["config"]
    assert (config["inputs"], config["tasks"]) == (["rgb", "depth"], ["semseg"])
    assert config["architecture"] == json.loads((teacher / "checkpoints/last/model.json").read_text())["architecture"]


def test_so_are_those_of_a_network_that_says_nothing_of_itself(teacher, network, train, tmp_path):
    model = Wrapped(network.train())
    with pytest.raises(tt.UserError, match="model: does not name its inputs and tasks; give them"):
        tt.label(model, train, tmp_path / "labels")
    tasks = [train.manifest.task("semseg")]
    tt.label(model, train, tmp_path / "labels", inputs=["rgb", "depth"], tasks=tasks, **OPTIONS)
    assert shards(tmp_path / "labels") == shards(teacher / "labels/train")
    config = Manifest.load(tmp_path / "labels", kind="labels").source["teacher"]["config"]
    assert config["architecture"] is None and config["class"].endswith(":Wrapped")


def test_so_are_those_of_two_ranks(teacher, scenes_dataset, tmp_path):
    words = [teacher / "checkpoints/last", scenes_dataset.folder, tmp_path / "labels"]
    done = launch(2, "-c", PROGRAM, *map(str, words), json.dumps(BUDGETS), json.dumps(OPTIONS))
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / "labels") == shards(teacher / "labels/train")
    assert sorted(path.name for path in (tmp_path / "labels").glob("[!t]*")) == [
        ".label.json",
        "MANIFEST.json",
        "kept.json",
    ]


def test_small_shards_are_written_as_they_come(network, tmp_path, monkeypatch):
    """Not many of them at once: an error in a later one would discard them all, and others could label them."""
    data, folder = (
        pack(Scenes(24, 1, (32, 64)), tmp_path / "data", size=(32, 64), samples_per_shard=2),
        tmp_path / "out",
    )
    started, original = [], Labeller.outputs

    def record(self, number):
        written = len([*folder.glob("[!.]*.tar")])
        started.append((number, len(started) + 1 - written))
        return original(self, number)

    monkeypatch.setattr(Labeller, "outputs", record)
    tt.label(network, tt.ShardDataset(data), folder, frames="all", batch_size=8)
    assert len(started) == 12 and max(unfinished for _, unfinished in started) <= 5, started


def test_defaults_are_those_of_the_configuration():
    defaults = {name: entry.default for name, entry in inspect.signature(tt.label).parameters.items()}
    for name in ("frames", "batch_size", "flip", "soft", "soft_scale", "threshold"):
        assert defaults[name] == getattr(Label(), name)


def test_finished_labels_stay_and_those_of_other_weights_are_not_mixed_with_them(network, train, tmp_path, monkeypatch):
    out, passes = tmp_path / "labels", []
    original = Labeller.outputs
    monkeypatch.setattr(Labeller, "outputs", lambda self, number: passes.append(number) or original(self, number))
    tt.label(network, train, out)
    assert sorted(passes) == [0, 1, 2]
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    tt.label(network, train, out)
    assert len(passes) == 3 and times == {path: path.stat().st_mtime_ns for path in out.iterdir()}
    for changed in ({"soft": 0}, {"flip": True}, {"batch_size": 3}, {"size": (16, 32)}):
        with pytest.raises(tt.UserError, match=r"labels: \w+: holds labels of other options; give another out"):
            tt.label(network, train, out, **changed)
    with torch.no_grad():
        next(network.parameters()).mul_(1.5)
    message = r"labels: checkpoint: holds labels of another network; give another out.*replace=True"
    with pytest.raises(tt.UserError, match=message):
        tt.label(network, train, out)
    assert len(passes) == 3 and times == {path: path.stat().st_mtime_ns for path in out.iterdir()}
    tt.label(network, train, out, replace=True)
    assert len(passes) == 6


def test_labels_without_soft_ones_are_not_taken_for_those_with(network, train, tmp_path):
    tt.label(network, train, tmp_path / "labels", soft=0)
    with pytest.raises(tt.UserError, match="labels: soft: holds labels of other options"):
        tt.label(network, train, tmp_path / "labels")


def test_selected_samples_of_any_split_are_labelled(network, scenes_dataset, tmp_path):
    val = tt.ShardDataset(scenes_dataset, "val")
    with pytest.raises(tt.UserError, match=r"MANIFEST\.json: val: all samples show their labels; label them"):
        tt.label(network, val, tmp_path / "val")
    half = range(0, len(val), 2)
    assert tt.label(network, val.select(half), tmp_path / "val", frames="all")["semseg"]["frames"] == len(half)
    labels = LabelShards(tmp_path / "val", scenes_dataset, "val", val.tasks[0], None)
    assert labels.keys(0) == {val.key(number) for number in half}


def test_samples_without_an_input_are_left_out(network, scenes_dataset, tmp_path):
    train = tt.ShardDataset(scenes_dataset, labels={"semseg": 0, "depth": 3})
    assert tt.label(network, train, tmp_path / "labels", frames="all")["semseg"]["frames"] == 3


def test_refusals(network, train, tmp_path):
    def refused(
        match: str, out: str | Path = tmp_path / "new", data: tt.ShardDataset = train, **options: object
    ) -> None:
        with pytest.raises(tt.UserError, match=match):
            tt.label(network, data, out, **options)  # type: ignore[arg-type]

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    refused("mine: out: holds other files than labels; give another out", tmp_path / "mine")
    refused("s3://bucket/labels: out: is a URL", "s3://bucket/labels")
    refused("batch_size: 0 is less than 1", batch_size=0)
    refused("threshold: 1 is not a threshold", threshold=1)
    refused("frames: 'some' is unknown", frames="some")
    refused("model: predicts nothing but its own inputs", tasks=[])
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["mine"]


class Spoilt(torch.nn.Module):
    """Predicts a value at one pixel of the second frame of each batch."""

    def __init__(self, task: tt.Task, value: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.task, self.value = task, value

    def forward(self, inputs: dict[str, torch.Tensor]) -> Predictions:
        count, _, height, width = inputs["rgb"].shape
        output = self.scale * torch.full((count, self.task.channels, height, width), 1.5)
        output[1, 0, 3, 5] = self.value
        return Predictions({self.task.name: output}, [])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["semseg", "depth"])
def test_a_prediction_that_is_not_finite_names_the_sample_and_is_not_stored(
    scenes_dataset, tmp_path, name, value, flip
):
    data, task = tt.ShardDataset(scenes_dataset), scenes_dataset.task(name)
    options = {"inputs": ["rgb"], "tasks": [task], "frames": "all", "flip": flip}
    second = "|".join(data.key(data.shard(number)[1]) for number in range(3))  # of any shard
    match = rf"train-00000\d\.tar: ({second}): the network's prediction of {name} is not finite; label with"
    with pytest.raises(tt.UserError, match=match):
        tt.label(Spoilt(task, value), data, tmp_path, **options)
    assert not list(tmp_path.glob("*.tar"))


def test_a_class_that_is_ruled_out_is_finite(scenes_dataset, tmp_path):
    options = {"inputs": ["rgb"], "tasks": [scenes_dataset.task("semseg")], "frames": "all"}
    model = Spoilt(scenes_dataset.task("semseg"), float("-inf"))
    assert tt.label(model, tt.ShardDataset(scenes_dataset), tmp_path, **options)["semseg"]["frames"] == 24


def test_an_input_is_not_filled_with_pseudo_labels(network, scenes_dataset, write_labels, tmp_path):
    depth = scenes_dataset.task("depth")
    keys = [tt.ShardDataset(scenes_dataset).key(0)]
    folder = write_labels(
        tmp_path / "depth", scenes_dataset, depth, {key: np.ones((32, 64), np.float32) for key in keys}
    )
    pseudo = {"depth": tt.PseudoLabels(folder, holes=True)}
    data = tt.ShardDataset(scenes_dataset, labels=BUDGETS, pseudo=pseudo)
    with pytest.raises(tt.UserError, match=r"pseudo\['depth'\]: is an input, and pseudo-labels fill its holes"):
        tt.label(network, data, tmp_path / "labels")
    with pytest.raises(tt.UserError, match=r"pseudo\['depth'\]: is an input, and pseudo-labels fill its holes"):
        tt.TrainingData(data, ["rgb", "depth"], ["semseg"])


def test_a_network_with_a_loss_weighting_is_identified_by_what_is_exported(train, tmp_path, monkeypatch):
    semseg, out, labels = train.manifest.task("semseg"), tmp_path / "run", tmp_path / "labels"

    def fit_and_label() -> str:
        model = tt.create_model("fpn", backbone="test_efficientnet", inputs=["rgb"], tasks=[semseg])
        settings = {"global_batch_size": 4, "steps": 2, "lr": 1e-2, "weighting": Uncertainty(1)}
        tt.Trainer(model, tt.MultiTaskLoss([semseg]), train, out=out, **settings).fit()
        tt.label(model, train, labels)
        exported = json.loads((out / "checkpoints/last/model.json").read_text())
        teacher = Manifest.load(labels, kind="labels").source["teacher"]
        assert teacher["checkpoint_sha256"] == exported["sha256"]
        return exported["sha256"]

    first = fit_and_label()
    monkeypatch.setattr(Labeller, "outputs", lambda *_: pytest.fail("the labels exist"))
    assert fit_and_label() == first, "the finished run has a new weighting"


def test_a_student_continues_on_the_same_labels_made_elsewhere(teacher, scenes_dataset, tmp_path):
    folder, out = tmp_path / "labels", tmp_path / "student"
    shutil.copytree(teacher / "labels/train", folder)

    def fit() -> None:
        pseudo = {"semseg": tt.PseudoLabels(folder, keep="all")}
        data = tt.ShardDataset(scenes_dataset, "train", labels=BUDGETS, pseudo=pseudo)
        model = tt.create_model("fpn", backbone="test_efficientnet", tasks=data.tasks)
        options = {"global_batch_size": 4, "steps": 1, "channels_last": False}
        tt.Trainer(model, tt.MultiTaskLoss(data.tasks), data, out=out, **options).fit()

    fit()
    entry = json.loads((folder / "MANIFEST.json").read_text())
    entry["source"]["teacher"]["config"]["run"]["root"] = "moved"
    (folder / "MANIFEST.json").write_text(json.dumps(entry))
    fit()
    settings = json.loads((out / "settings.json").read_text())
    settings["label_shards"] = {"semseg": Manifest.load(folder, kind="labels").sha256}  # as earlier versions stored it
    (out / "settings.json").write_text(json.dumps(settings))
    fit()
    settings["label_shards"] = {"semseg": "another hash"}
    (out / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(tt.UserError, match="label_shards: was begun with other pseudo-labels"):
        fit()
