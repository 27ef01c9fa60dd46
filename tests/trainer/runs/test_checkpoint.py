"""Checkpoints: complete or absent, and refused for another network."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from shards.atomic import disk_errors
from shards.errors import UserError
from shards.tasks import Task
from trainer.engine.plain import Plain
from trainer.model.network import Architecture, build
from trainer.runs import artifacts, checkpoint
from trainer.runs.start import match_start_normalisation
from trainer.runtime import make_accelerator

DEPTH = Task("depth", "scalar", scale=0.001, unit="m")
NORMALS = Task("normals", "unit_vector")


def small_engine(width: int = 4, steps: int = 1) -> Plain:
    """Return an engine around a small network with buffers, channels_last as in the trainer, after ``steps`` steps."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)).to(memory_format=torch.channels_last)
    engine = Plain(make_accelerator("fp32"), network, torch.optim.Adam(network.parameters(), fused=True), None, "fp32")
    for _ in range(steps):
        train_step(engine)
    return engine


def train_step(engine: Plain) -> float:
    loss = engine.network(torch.rand(2, 3, 8, 8)).square().sum()
    engine.backward(loss)
    engine.step()
    return loss.item()


def save(folder: Path, step: int, keep: int = 2, engine: Plain | None = None, **options) -> Path:
    engine = engine or small_engine()
    loss, counters = torch.tensor([1.5, 2.5]), {"summed": 2, "skipped": 1}
    state = checkpoint.State(step, engine.weights(), engine.moments(), loss, counters)
    return checkpoint.save(folder, state, keep, **options)


def read(path: Path, width: int = 4) -> checkpoint.State:
    return checkpoint.read(path, checkpoint.shapes_of(small_engine(width, steps=0).plain))


def test_a_machine_that_resumes_goes_on_as_if_nothing_had_happened(tmp_path):
    engine, resumed = small_engine(steps=3), small_engine(steps=1)
    path = save(tmp_path, 3, engine=engine)
    torch.manual_seed(1)
    losses = [train_step(engine) for _ in range(3)]
    state = read(path)
    assert (state.step, state.counters, state.loss.tolist()) == (3, {"summed": 2, "skipped": 1}, [1.5, 2.5])
    resumed.load(state.weights, state.moments)
    torch.manual_seed(1)
    assert [train_step(resumed) for _ in range(3)] == losses, "weights, buffers and moments"
    for name, tensor in engine.weights().items():
        assert torch.equal(tensor, resumed.weights()[name]), name


def test_nothing_that_could_be_unpickled_is_written(tmp_path):
    files = sorted(path.name for path in save(tmp_path, 1).iterdir())
    assert files == ["model.safetensors", "state.json", "training.safetensors"]


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 10, 100, 15):
        save(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000015", "step-00000100"]
    assert artifacts.newest(tmp_path) == tmp_path / "step-00000100"


def test_what_a_killed_writer_left_does_not_count(tmp_path):
    whole = save(tmp_path, 5)
    (tmp_path / ".step-00000010.ab12.tmp").mkdir()
    (tmp_path / ".step-00000010.ab12.tmp" / "model.safetensors").write_text("half")
    (tmp_path / "step-00000020").mkdir()
    (tmp_path / "step-00000020" / "model.safetensors").write_text("removed in part")
    assert artifacts.newest(tmp_path) == whole
    assert artifacts.newest(tmp_path / "nowhere") is None


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_refused(tmp_path, name, damage):
    path = save(tmp_path, 5)
    data = bytearray((path / name).read_bytes())
    if damage == "remove":
        (path / name).unlink()
    else:
        data[-5] ^= 1
        (path / name).write_bytes(data if damage == "flip" else data[:-5])
    with pytest.raises(UserError, match=rf"step-00000005/{name}: is missing or differs .*; delete this folder"):
        read(path)


def test_a_damaged_state_is_refused(tmp_path):
    path = save(tmp_path, 5)
    (path / "state.json").write_text('{"step": 5')
    with pytest.raises(UserError, match=r"step-00000005/state\.json: cannot be read .*; delete this folder"):
        read(path)
    (path / "state.json").write_text("{}")
    with pytest.raises(UserError, match=r"state\.json: lacks some of best, .*; delete this folder; the run then"):
        read(path)


def test_a_full_disk_is_told(tmp_path):
    """/dev/full can be opened, and every write to it fails."""
    (tmp_path / "model.safetensors").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"model: cannot be written .*; free some space"), disk_errors(Path("model")):
        checkpoint._write({"weight": torch.zeros(3)}, tmp_path / "model.safetensors")


def test_another_architecture_is_refused_by_name(tmp_path):
    path = save(tmp_path, 5)
    with pytest.raises(
        UserError, match=r"0\.bias: belongs to another architecture: \[4\], where the network has \[5\]"
    ):
        read(path, width=5)
    deeper = small_engine().plain
    deeper.append(nn.Conv2d(4, 4, 1))
    with pytest.raises(UserError, match=r"2\.bias: belongs to another architecture: only the network has this tensor"):
        checkpoint.read(path, checkpoint.shapes_of(deeper))


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    good, engine = save(tmp_path, 1), small_engine()
    engine.plain[0].bias.data[2] = torch.inf
    with pytest.raises(UserError, match=r"step-00000002: 0\.bias: has values that are not finite .*lower"):
        save(tmp_path, 2, engine=engine)
    assert list(tmp_path.iterdir()) == [good]


def test_a_check_that_fails_leaves_nothing(tmp_path):
    def taken_over() -> None:
        raise UserError("was taken over")

    with pytest.raises(UserError, match="was taken over"):
        save(tmp_path, 1, check=taken_over)
    assert not list(tmp_path.iterdir())


# Exported networks


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return Architecture("test_efficientnet", ("rgb", "depth"), (DEPTH,), (DEPTH,), statistics={"depth": (2.0, 1.5)})


def test_an_exported_network_is_rebuilt_from_its_folder_alone(tmp_path, architecture):
    network = build(architecture).to(memory_format=torch.channels_last).eval()
    checkpoint.export(tmp_path / "last", network.state_dict(), architecture, 7, value=0.5)
    loaded, facts = checkpoint.load_exported(tmp_path / "last")
    assert (facts["step"], facts["value"]) == (7, 0.5) and loaded.architecture == architecture
    inputs = {"rgb": torch.rand(1, 3, 32, 64), "depth": torch.rand(1, 1, 32, 64)}
    with torch.no_grad():
        assert torch.equal(loaded.eval()(inputs).final["depth"], network(inputs).final["depth"])
    assert artifacts.read_exported(tmp_path / "last") == facts
    assert artifacts.read_exported(tmp_path / "best") is None


def test_an_export_of_another_version_is_refused_by_its_file(tmp_path, architecture):
    checkpoint.export(tmp_path / "last", build(architecture).state_dict(), architecture, 7)
    facts = json.loads((tmp_path / "last/model.json").read_text())
    facts["architecture"]["version"] = 1
    (tmp_path / "last/model.json").write_text(json.dumps(facts))
    message = r"last/model\.json: version: is of a network of version 1, not 2; train it again"
    for read in (checkpoint.load_exported, lambda path: match_start_normalisation(architecture, path)):
        with pytest.raises(UserError, match=message):
            read(tmp_path / "last")


def test_an_export_replaces_the_one_before(tmp_path, architecture):
    for step in (1, 2):
        checkpoint.export(tmp_path / "best", build(architecture).state_dict(), architecture, step)
    assert json.loads((tmp_path / "best/model.json").read_text())["step"] == 2
    checkpoint.load_exported(tmp_path / "best")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_an_export_that_is_damaged_missing_or_anothers_is_refused(tmp_path, architecture):
    with pytest.raises(UserError, match=r"last/model\.json: does not exist; train the network first"):
        checkpoint.load_exported(tmp_path / "last")
    checkpoint.export(tmp_path / "last", build(architecture).state_dict(), architecture, 1)
    text = (tmp_path / "last/model.json").read_text()
    for broken, message in ((text[:-9], "cannot be read"), ("{}", "lacks some of")):
        (tmp_path / "last/model.json").write_text(broken)
        with pytest.raises(UserError, match=rf"last/model\.json: {message} .*; delete this folder and train again"):
            artifacts.read_exported(tmp_path / "last")
    facts = json.loads(text)
    facts["architecture"]["inputs"] = ["rgb"]
    (tmp_path / "last/model.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match=r"backbones\.depth\.\S+: belongs to another architecture: only the file has"):
        checkpoint.load_exported(tmp_path / "last")
    weights = tmp_path / "last/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"last/model\.safetensors: is missing or differs"):
        checkpoint.load_exported(tmp_path / "last")
