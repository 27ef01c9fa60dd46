"""A trained network from picture to labels, which are the labels that prepared frames get."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import Tiny
from torch.nn.functional import interpolate

from analysis.shown import ComparisonFrames
from shards.errors import UserError
from shards.pack import pack
from shards.read import Readers
from shards.resize import resize_rgb
from shards.sources.base import Frame
from trainer.predictor import Predictor
from trainer.trainstage import train


def frame_of(dataset, position: int = 0) -> dict[str, np.ndarray]:
    arrays = Readers(dataset, "val")[0].decode(position)
    return {"rgb": arrays["rgb"], "depth": arrays["depth"]}


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_a_frame_gets_the_labels_that_evaluation_sees(finished, scenes_dataset, name):
    experiment = finished(name)
    predictor = Predictor(experiment.checkpoints / "last")
    (expected,) = ComparisonFrames([experiment], 1).predictions(experiment)
    prediction = predictor.predict(frame_of(scenes_dataset))
    assert predictor.size == (32, 64) and predictor.inputs == tuple(experiment.config.inputs)
    assert prediction.keys() == {"semseg", "semseg.confidence", "depth"}
    for task in ("semseg", "depth"):
        assert prediction[task].dtype == expected[task].dtype and np.array_equal(prediction[task], expected[task])
    assert prediction["semseg.confidence"].shape == (32, 64) and 1 / 17 < prediction["semseg.confidence"].min() <= 1


def test_a_file_of_it_names_the_network(finished):
    last = finished("student").checkpoints / "last"
    assert Predictor(last / "model.safetensors").facts == Predictor(last / "model.json").facts == Predictor(last).facts


def test_a_picture_of_another_size_is_seen_at_the_trained_one(finished, monkeypatch):
    """Its labels have its own size: outputs, not labels, are enlarged, in bands of rows."""
    predictor = Predictor(finished("student").checkpoints / "last")
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    monkeypatch.setattr("trainer.resize._BAND", 7 * 17 * 100)
    prediction = predictor.predict({"rgb": picture})
    pixels = torch.from_numpy(resize_rgb(picture, (32, 64)).copy()).permute(2, 0, 1)[None] / 255
    final = predictor.network({"rgb": pixels}).final
    larger = {task: interpolate(output, (80, 100), mode="bilinear") for task, output in final.items()}
    assert np.mean(prediction["semseg"] == larger["semseg"][0].argmax(0).numpy()) > 0.999  # ties, to the last bit
    np.testing.assert_allclose(prediction["semseg.confidence"], larger["semseg"][0].softmax(0).amax(0), rtol=1e-4)
    np.testing.assert_allclose(prediction["depth"], larger["depth"][0, 0].clamp(min=0), rtol=1e-4)
    unresized = Predictor(predictor.folder, size=(80, 100)).predict({"rgb": picture}, sure=False)
    assert unresized.keys() == {"semseg", "depth"} and not np.array_equal(unresized["depth"], prediction["depth"])


def test_a_picture_may_be_a_reversed_view(finished, scenes_dataset):
    """``bgr[..., ::-1]`` converts OpenCV's pictures; torch takes no array with negative strides."""
    predictor = Predictor(finished("student").checkpoints / "last")
    rgb = frame_of(scenes_dataset)["rgb"]
    assert rgb.shape[:2] == predictor.size
    depths = [predictor.predict({"rgb": picture})["depth"] for picture in (rgb, rgb[..., ::-1].copy()[..., ::-1])]
    assert np.array_equal(*depths)


def test_rgb_is_normalised_as_the_network_notes(finished, scenes_dataset, tmp_path):
    """In a prediction and in an archive; older networks, which note none, had ImageNet's normalisation."""
    last = finished("student").checkpoints / "last"
    facts, frame = json.loads((last / "model.json").read_text()), frame_of(scenes_dataset)
    rgb = torch.from_numpy(frame["rgb"].copy()).permute(2, 0, 1)[None].contiguous()
    depths = {}
    for name, mean, std in (("noted", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ("half", [0.5] * 3, [0.5] * 3)):
        facts["architecture"] |= {"rgb_mean": mean, "rgb_std": std}
        (last / "model.json").write_text(json.dumps(facts))
        predictor = Predictor(last)
        depths[name] = predictor.predict(frame)["depth"]
        predictor.export(tmp_path / f"{name}.pt2")
        archived = torch.export.load(tmp_path / f"{name}.pt2").module()({"rgb": rgb})["depth"][0].numpy()
        assert np.array_equal(archived, depths[name])
    assert not np.array_equal(depths["half"], depths["noted"])
    del facts["architecture"]["rgb_mean"], facts["architecture"]["rgb_std"]
    (last / "model.json").write_text(json.dumps(facts))
    assert np.array_equal(Predictor(last).predict(frame)["depth"], depths["noted"])


class Mixed(Tiny):
    """Every second frame is narrower."""

    def load(self, split: str, position: int) -> Frame:
        frame = super().load(split, position)
        if position % 2 == 0:
            return frame
        labels = {name: label[:, :48] for name, label in frame.labels.items()}
        return Frame(frame.rgb[:, :48], labels, frame.meta, frame.files)  # type: ignore[call-overload]


BUDGETS = ["labels.depth=4", "labels.semseg=4", "train.steps=1"]


def test_frames_without_a_common_size_are_seen_as_they_are(make, tmp_path):
    data = pack(Mixed(), tmp_path / "mixed", samples_per_shard=3).folder
    experiment = make("plain", f"data.path={data}", *BUDGETS, "data.crop=32x32")
    assert experiment.size is None
    predictor = Predictor(train(experiment))
    picture = np.zeros((40, 50, 3), np.uint8)
    assert predictor.size is None and predictor.predict({"rgb": picture})["depth"].shape == (40, 50)
    with pytest.raises(UserError, match="--size: the network was trained on frames of many sizes; give the size"):
        predictor.export("never.pt2")


def test_frames_that_were_not_resized_but_have_one_size_are_seen_at_it(make, tiny_dataset):
    experiment = make("plain", f"data.path={tiny_dataset.folder}", *BUDGETS)
    assert experiment.size is None
    predictor = Predictor(train(experiment))
    assert predictor.size == (32, 64)
    picture = np.zeros((128, 256, 3), np.uint8)
    assert predictor.predict({"rgb": picture})["depth"].shape == (128, 256)


def test_inputs_that_do_not_fit(finished, scenes_dataset):
    predictor = Predictor(finished("teacher").checkpoints / "last")
    frame = frame_of(scenes_dataset)
    rgb, depth = frame["rgb"], frame["depth"]
    for wrong, message in (
        ({"rgb": rgb}, "depth: is missing; give rgb and depth"),
        ({"rgb": rgb, "depth": depth[:16]}, "frame: inputs of 2 sizes; register them to one camera"),
        ({"rgb": rgb / 255, "depth": depth}, "rgb: is float64, not uint8; give one byte per number"),
        ({"rgb": rgb[..., 0], "depth": depth}, r"rgb: has the shape \(32, 64\), expected \(height, width, 3\)"),
        (
            {"rgb": rgb, "depth": depth[..., None]},
            r"depth: has the shape \(32, 64, 1\), expected \(height, width\)",
        ),
        (
            {"rgb": rgb, "depth": (1000 * depth).astype(np.int32)},
            "depth: is int32, not a float.*; give floats in m",
        ),
    ):
        with pytest.raises(UserError, match=message):
            predictor.predict(wrong)
    with pytest.raises(UserError, match=r"rgb: is torch\.float32, not uint8; give bytes"):
        predictor({"rgb": torch.zeros(1, 3, 32, 64), "depth": torch.zeros(1, 1, 32, 64)})


def test_what_a_sensor_did_not_measure(finished, scenes_dataset):
    """However missing depth is encoded, and in any float type."""
    predictor = Predictor(finished("teacher").checkpoints / "last")
    frame = frame_of(scenes_dataset)
    frame["depth"] = np.where(np.arange(64) % 5 < 4, frame["depth"], 0)
    expected = predictor.predict(frame)
    depth = frame["depth"].astype(np.float64)
    depth[:, 4::5] = np.resize([np.inf, -np.inf, np.nan, -1.0], (32, 12))
    prediction = predictor.predict({"rgb": Image.fromarray(frame["rgb"]), "depth": depth})
    assert all(np.array_equal(prediction[name], expected[name]) for name in expected)


def test_models_that_are_none(finished, tmp_path):
    last = finished("student").checkpoints / "last"
    with pytest.raises(UserError, match=r"holds no trained network; give a run's checkpoints/last, or the model\."):
        Predictor(last.parent)
    for wrong in (tmp_path / "nowhere", last.parent.parent / "checkpoint/last", tmp_path / "checkpoints/last"):
        with pytest.raises(UserError, match=r"does not exist; correct the path, or give a run's checkpoints/last"):
            Predictor(wrong)
    with pytest.raises(UserError, match=r"best: does not exist: the run has not .* give checkpoints/last; a run has"):
        Predictor(last.parent / "best")
    last.rename(last.parent / "moved")
    for unfinished in (last, last / "model.safetensors"):
        with pytest.raises(UserError, match=r"does not exist: the run has not exported .*; start the run again to fin"):
            Predictor(unfinished)
    (last.parent / "moved").rename(last)
    facts = json.loads((last / "model.json").read_text())
    size = facts.pop("size")
    (last / "model.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="last: is of a version that did not record the network's input size; give the"):
        Predictor(last)
    assert Predictor(last, size=tuple(size)).size == (32, 64)
    (last / "model.json").write_text(json.dumps({**facts, "size": [64]}))
    with pytest.raises(UserError, match=r"model\.json: size \[64\] is not \[height, width\]; copy it again"):
        Predictor(last)


ALONE = """
import sys
import torch
program = torch.export.load(sys.argv[1]).module()
inputs, expected = torch.load(sys.argv[2], weights_only=True)
found = program(inputs)
assert found.keys() == expected.keys(), found.keys()
for name, value in expected.items():
    assert found[name].dtype == value.dtype and torch.equal(found[name], value), name
assert not {"trainer.predictor", "trainer.model", "shards", "timm"} & set(sys.modules)
"""


def test_an_archive_says_the_same_to_torch_alone(finished, scenes_dataset, tmp_path):
    """For a network with two modalities, in a process that imports none of this project's networks."""
    predictor = Predictor(finished("teacher").checkpoints / "last")
    predictor.export(tmp_path / "deep" / "teacher.pt2")
    frame = frame_of(scenes_dataset, 1)
    inputs = {
        "rgb": torch.from_numpy(frame["rgb"].copy()).permute(2, 0, 1)[None].contiguous(),
        "depth": torch.from_numpy(frame["depth"])[None, None],
    }
    expected = {name: torch.from_numpy(value)[None] for name, value in predictor.predict(frame).items()}
    torch.save((inputs, expected), tmp_path / "case.pt")
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "deep" / "teacher.pt2"), str(tmp_path / "case.pt")]
    process = subprocess.run(command, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=100)
    assert process.returncode == 0, process.stderr
