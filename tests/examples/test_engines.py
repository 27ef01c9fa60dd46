"""The examples of a network and of a weighting, together, under the engines that shard parameters."""

from pathlib import Path

import pytest
from ranks import launch
from runs import lines
from safetensors.torch import load_file

from trainer.runs import artifacts, checkpoint
from trainer.trainstage import train

ROOT = Path(__file__).parents[2]
OPTIONS = ("model.name=my_network:MLPDecoder", "loss.weighting=my_weighting:RandomWeights", "model.norm=frozen")
STEPS = ("train.steps=3", "checkpoint.every=2", "train.log_every=1", "train.trace=false")


@pytest.mark.parametrize("engine", ["zero3", "fsdp2"])
def test_they_learn_what_they_learn_in_one_process(make, configs, tmp_path, monkeypatch, engine):
    """Two real ranks, with frozen statistics."""
    monkeypatch.chdir(ROOT / "examples")
    single, sharded = (make("plain", *OPTIONS, *STEPS, f"experiment={name}") for name in ("alone", "parts"))
    train(single)
    words = ("-m", "tutelage", "train", str(sharded.path), *sharded.overrides)
    process = launch(2, *words, config=ROOT / "configs" / "engine" / f"{engine}.yaml")
    assert process.returncode == 0, process.stderr[-3000:]
    one, other = (checkpoint.load_exported(run.checkpoints / "last")[0].state_dict() for run in (single, sharded))
    distance = sum((one[key].float() - other[key].float()).square().sum() for key in one)
    assert distance < 1e-6 * sum(tensor.float().square().sum() for tensor in one.values())
    for line, expected in zip(lines(sharded.folder), lines(single.folder), strict=True):
        assert line["weighed"] == pytest.approx(expected["weighed"], rel=1e-3)
        assert line["weighed"] != pytest.approx(line["loss"], rel=1e-2), "drawn weights"
    state = load_file(artifacts.newest(sharded.checkpoints) / "model.safetensors")
    assert state["weighting.steps"] == 2
