"""A trained network from picture to labels: what it says there is what it says of prepared frames."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from shards.errors import UserError
from shards.read import Readers
from shards.resize import resize_rgb
from trainer.predictor import Predictor
from trainer.shown import Shown
from trainer.train import train


def frame_of(dataset, position: int = 0) -> dict[str, np.ndarray]:
    arrays = Readers(dataset, "val")[0].decode(position)
    return {"rgb": arrays["rgb"], "depth": arrays["depth"]}


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_a_frame_gets_the_labels_that_evaluation_sees(finished, scenes_dataset, name):
    experiment = finished(name)
    predictor = Predictor(experiment.checkpoints / "last")
    (expected,) = Shown([experiment], 1).predictions(experiment)
    found = predictor.predict(frame_of(scenes_dataset))
    assert predictor.size == (32, 64) and predictor.inputs == tuple(experiment.config.inputs)
    assert found.keys() == {"semseg", "semseg.confidence", "depth"}
    for task in ("semseg", "depth"):
        assert found[task].dtype == expected[task].dtype and np.array_equal(found[task], expected[task])
    assert found["semseg.confidence"].shape == (32, 64) and 1 / 17 < found["semseg.confidence"].min() <= 1


def test_the_file_itself_names_the_network(finished):
    weights = finished("student").checkpoints / "last" / "model.safetensors"
    assert Predictor(weights).facts == Predictor(weights.parent).facts


def test_a_picture_of_another_size_is_seen_at_the_trained_one(finished):
    """Its labels have its own size, and follow from outputs that are enlarged, not from labels that are."""
    predictor = Predictor(finished("student").checkpoints / "last")
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    found = predictor.predict({"rgb": picture})
    seen = torch.from_numpy(resize_rgb(picture, (32, 64)).copy()).permute(2, 0, 1)[None] / 255
    final = predictor.network({"rgb": seen}).final
    larger = {task: interpolate(of, (80, 100), mode="bilinear") for task, of in final.items()}
    assert np.array_equal(found["semseg"], larger["semseg"][0].argmax(0))
    np.testing.assert_allclose(found["depth"], larger["depth"][0, 0].clamp(min=0), rtol=1e-5)
    asked = Predictor(finished("student").checkpoints / "last", size=(80, 100))
    assert not np.array_equal(asked.predict({"rgb": picture})["depth"], found["depth"])


def test_frames_without_a_common_size_are_seen_as_they_are(make, tiny_dataset):
    experiment = make("plain", f"data.path={tiny_dataset.folder}", "labels.depth=4", "labels.semseg=4", "train.steps=1")
    assert experiment.size is None
    predictor = Predictor(train(experiment))
    picture = np.zeros((40, 50, 3), np.uint8)
    assert predictor.size is None and predictor.predict({"rgb": picture})["depth"].shape == (40, 50)
    with pytest.raises(UserError, match="--size: the network was trained on frames of many sizes; say which"):
        predictor.export("never.pt2")


def test_inputs_that_do_not_fit(finished, scenes_dataset):
    predictor = Predictor(finished("teacher").checkpoints / "last")
    frame = frame_of(scenes_dataset)
    with pytest.raises(UserError, match="depth: is missing; give rgb and depth"):
        predictor.predict({"rgb": frame["rgb"]})
    with pytest.raises(UserError, match="frame: inputs of 2 sizes; register them to one camera"):
        predictor.predict({"rgb": frame["rgb"], "depth": frame["depth"][:16]})


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
    """Of a network with two modalities, in a process that loads nothing of this project's networks."""
    predictor = Predictor(finished("teacher").checkpoints / "last")
    predictor.export(tmp_path / "deep" / "teacher.pt2")
    frame = frame_of(scenes_dataset, 1)
    inputs = {
        "rgb": torch.from_numpy(frame["rgb"].copy()).permute(2, 0, 1)[None].contiguous(),
        "depth": torch.from_numpy(frame["depth"])[None, None],
    }
    expected = {name: torch.from_numpy(value)[None] for name, value in predictor.predict(frame).items()}
    torch.save((inputs, expected), tmp_path / "case.pt")
    call = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "deep" / "teacher.pt2"), str(tmp_path / "case.pt")]
    done = subprocess.run(call, env={"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
