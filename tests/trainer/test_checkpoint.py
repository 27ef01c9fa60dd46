"""Checkpoints: complete, whole or absent, and refused where they do not belong."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from shards.atomic import disk_errors
from shards.errors import UserError
from shards.tasks import Task
from trainer import checkpoint
from trainer.model.network import Architecture, build

DEPTH = Task("depth", "metric", scale=0.001, unit="m")


class Machine:
    """A small network with buffers, in channels_last as the trainer's is, and steps that use random numbers."""

    def __init__(self, seed: int, width: int = 4) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Dropout(0.5))
        self.network.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), fused=True)

    def step(self) -> float:
        loss = self.network(torch.rand(2, 3, 8, 8)).square().sum()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def save(self, folder: Path, step: int, keep: int = 2) -> Path:
        loss = torch.tensor([1.5, 2.5])
        return checkpoint.save(folder, step, self.network, self.optimizer, None, loss, step - 1, keep)

    def resume(self, path: Path) -> checkpoint.Resumed:
        return checkpoint.resume(path, self.network, self.optimizer, None)


def test_a_machine_that_resumes_goes_on_as_if_nothing_had_happened(tmp_path):
    one, other = Machine(0), Machine(1)
    for _ in range(3):
        one.step()
    path = one.save(tmp_path, 3)
    undisturbed = [one.step() for _ in range(3)]
    other.step()
    resumed = other.resume(path)
    assert (resumed.step, resumed.logged) == (3, 2) and resumed.loss.tolist() == [1.5, 2.5]
    assert [other.step() for _ in range(3)] == undisturbed, "weights, buffers, moments and random numbers"
    for name, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, other.network.state_dict()[name]), name


def test_nothing_that_could_be_unpickled_is_written(tmp_path):
    files = sorted(path.name for path in Machine(0).save(tmp_path, 1).iterdir())
    assert files == ["model.safetensors", "state.json", "training.safetensors"]


def test_only_the_newest_are_kept(tmp_path):
    machine = Machine(0)
    for step in (5, 10, 100, 15):
        machine.save(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000015", "step-00000100"]
    assert checkpoint.newest(tmp_path) == tmp_path / "step-00000100"


def test_what_a_killed_writer_left_does_not_count(tmp_path):
    machine = Machine(0)
    whole = machine.save(tmp_path, 5)
    (tmp_path / ".step-00000010.ab12.tmp").mkdir()
    (tmp_path / ".step-00000010.ab12.tmp" / "model.safetensors").write_text("half")
    (tmp_path / "step-00000020").mkdir()
    (tmp_path / "step-00000020" / "model.safetensors").write_text("removed in part")
    assert checkpoint.newest(tmp_path) == whole
    assert not list(tmp_path.glob(".*.tmp"))
    assert checkpoint.newest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_refused(tmp_path, name, how):
    path = Machine(0).save(tmp_path, 5)
    data = bytearray((path / name).read_bytes())
    if how == "remove":
        (path / name).unlink()
    else:
        data[-5] ^= 1
        (path / name).write_bytes(data if how == "flip" else data[:-5])
    with pytest.raises(UserError, match=rf"step-00000005/{name}: is missing or differs .*; delete this folder"):
        Machine(0).resume(path)


def test_a_damaged_state_is_refused(tmp_path):
    path = Machine(0).save(tmp_path, 5)
    (path / "state.json").write_text('{"step": 5')
    with pytest.raises(UserError, match=r"step-00000005/state\.json: cannot be read .*; delete this folder"):
        Machine(0).resume(path)
    (path / "state.json").write_text("{}")
    with pytest.raises(UserError, match=r"state\.json: lacks some of logged, .*; delete this folder; the run then"):
        Machine(0).resume(path)


def test_a_full_disk_is_told(tmp_path):
    """A file of /dev/full opens, and takes no byte."""
    (tmp_path / "model.safetensors").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"model: cannot be written .*; free some space"), disk_errors(Path("model")):
        checkpoint._write({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")


def test_another_architecture_is_refused_by_name(tmp_path):
    path = Machine(0).save(tmp_path, 5)
    with pytest.raises(
        UserError, match=r"0\.bias: belongs to another architecture: \[4\], where the network has \[5\]"
    ):
        Machine(0, width=5).resume(path)
    deeper = Machine(0)
    deeper.network.append(nn.Conv2d(4, 4, 1))
    with pytest.raises(UserError, match=r"3\.bias: belongs to another architecture: only the network has this tensor"):
        deeper.resume(path)


# Exported networks


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return Architecture("test_efficientnet", ("rgb", "depth"), (DEPTH,), (DEPTH,), statistics={"depth": (2.0, 1.5)})


def test_an_exported_network_is_rebuilt_from_its_folder_alone(tmp_path, architecture):
    network = build(architecture).to(memory_format=torch.channels_last).eval()
    checkpoint.export(tmp_path / "last", network, architecture, 7, value=0.5)
    again, facts = checkpoint.load_exported(tmp_path / "last")
    assert (facts["step"], facts["value"]) == (7, 0.5) and again.architecture == architecture
    inputs = {"rgb": torch.rand(1, 3, 32, 64), "depth": torch.rand(1, 1, 32, 64)}
    with torch.no_grad():
        assert torch.equal(again.eval()(inputs).final["depth"], network(inputs).final["depth"])
    assert checkpoint.exported(tmp_path / "last") == facts
    assert checkpoint.exported(tmp_path / "best") is None


def test_an_export_replaces_the_one_before(tmp_path, architecture):
    for step in (1, 2):
        checkpoint.export(tmp_path / "best", build(architecture), architecture, step)
    assert json.loads((tmp_path / "best/model.json").read_text())["step"] == 2
    checkpoint.load_exported(tmp_path / "best")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_an_export_that_is_damaged_missing_or_anothers_is_refused(tmp_path, architecture):
    with pytest.raises(UserError, match=r"last/model\.json: does not exist; train the network first"):
        checkpoint.load_exported(tmp_path / "last")
    checkpoint.export(tmp_path / "last", build(architecture), architecture, 1)
    text = (tmp_path / "last/model.json").read_text()
    for broken, what in ((text[:-9], "cannot be read"), ("{}", "lacks some of")):
        (tmp_path / "last/model.json").write_text(broken)
        with pytest.raises(UserError, match=rf"last/model\.json: {what} .*; delete this folder and train again"):
            checkpoint.exported(tmp_path / "last")
    facts = json.loads(text)
    facts["architecture"]["inputs"] = ["rgb"]
    (tmp_path / "last/model.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"backbones\.depth\.\S+: belongs to another architecture: only the file has"):
        checkpoint.load_exported(tmp_path / "last")
    weights = tmp_path / "last/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"last/model\.safetensors: is missing or differs"):
        checkpoint.load_exported(tmp_path / "last")
