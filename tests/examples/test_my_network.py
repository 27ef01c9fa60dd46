"""The example of a network: trained, continued, exported and used by every command, in processes of their own."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from warm import python

from shards.errors import UserError
from shards.tasks import Task
from trainer.model.architecture import Architecture
from trainer.predictor import Predictor
from trainer.runs import checkpoint

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "my_network:MLPDecoder"


def tutelage(*words: object, folder: Path = EXAMPLES) -> subprocess.CompletedProcess[str]:
    call = [python(), "-m", "tutelage", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_network_of_ones_own_goes_all_the_way(make, tmp_path, monkeypatch):
    """Trained with two inputs, evaluated and labelled in one process, predicted and exported in others."""
    monkeypatch.chdir(EXAMPLES)
    run = make("plain", f"model.name={NAME}", "train.steps=3", "loss.weighting=uncertainty")
    words = (run.path, *run.overrides)
    process = tutelage("run", *words)
    assert process.returncode == 0, process.stderr
    assert "M parameters in the backbone and 0.0" in process.stderr + process.stdout
    last = run.checkpoints / "last"
    assert json.loads((last / "model.json").read_text())["architecture"]["name"] == NAME
    assert 0 <= json.loads((run.folder / "result.json").read_text())["metrics"]["semseg"]["miou"] <= 1

    (tmp_path / "photos").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "photos/one.png")
    call = ["predict", last, tmp_path / "photos", "--out", tmp_path / "labels"]
    refusal = tutelage(*call)
    assert refusal.returncode == 1 and f"give --network {NAME}" in " ".join(refusal.stderr.split())
    process = tutelage(*call, "--network", NAME)
    assert process.returncode == 0, process.stderr
    process = tutelage("export", last, "--out", tmp_path / "net.pt2", "--network", NAME)
    assert process.returncode == 0, process.stderr

    labels = Predictor(last, network=NAME).predict({"rgb": picture})
    with Image.open(tmp_path / "labels/semseg/one.png") as image:
        assert np.array_equal(np.asarray(image), labels["semseg"])
    program = torch.export.load(tmp_path / "net.pt2").module()
    archived = program({"rgb": torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()})
    assert np.array_equal(archived["depth"][0].numpy(), labels["depth"])


def test_it_serves_several_inputs_and_sizes(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from my_network import MLPDecoder

    depth = Task("depth", "scalar", scale=0.001, unit="m")
    description = Architecture(
        "test_efficientnet", ("rgb", "depth"), (depth,), (depth,), statistics={"depth": (2.0, 1.0)}
    )
    inputs = {"rgb": torch.rand(2, 3, 50, 70), "depth": torch.rand(2, 1, 50, 70)}
    assert MLPDecoder(description)(inputs).final["depth"].shape == (2, 1, 50, 70)


def test_no_folder_has_a_module_imported_that_nobody_named(tmp_path, monkeypatch):
    """A description may come from an untrusted source."""
    (tmp_path / "hostile.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    depth = Task("depth", "scalar", scale=0.001, unit="m")
    description = Architecture("test_efficientnet", ("rgb",), (depth,), name="hostile:Network")
    checkpoint.export(tmp_path / "last", {}, description, 1, size=[32, 64])
    with pytest.raises(UserError, match="are of hostile:Network, which no configuration or option names"):
        Predictor(tmp_path / "last")
    with pytest.raises(UserError, match="are of hostile:Network"):
        checkpoint.load_exported(tmp_path / "last", "my_network:MLPDecoder")
