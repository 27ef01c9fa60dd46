"""Networks that start from a network that was trained before."""

import json
import logging
import shutil

import pytest
import torch

from shards.errors import UserError
from trainer.runs import artifacts, checkpoint
from trainer.stages import check
from trainer.trainstage import network_of, train


@pytest.fixture
def last(finished):
    return finished("student").checkpoints / "last"


def test_all_weights_are_those_of_the_start(make, last, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    network = network_of(make("plain", f"model.start={last}", "seed=5"))
    start_weights = checkpoint.exported_weights(last)
    assert {*start_weights} == {*network.state_dict()}
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(weight, start_weights[name], rtol=0, atol=0)
    assert "start anew" not in caplog.text


def test_heads_of_other_tasks_start_anew_and_are_named(make, last, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    network = network_of(make("plain", f"model.start={last}", "tasks=[semseg]", "evaluate.every=0"))
    start_weights = checkpoint.exported_weights(last)
    for name, weight in network.backbones.state_dict(prefix="backbones.").items():
        torch.testing.assert_close(weight, start_weights[name], rtol=0, atol=0)


def change_export(last, other, change):
    """Copy an exported network, and change the description of it."""
    shutil.copytree(last, other)
    facts = json.loads((other / "model.json").read_text())
    change(facts["architecture"])
    (other / "model.json").write_text(json.dumps(facts))
    return other


def test_predictions_of_other_classes_or_units_start_anew_though_their_shapes_fit(make, last, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")

    def other_tasks(architecture):
        by_name = {task["name"]: task for task in architecture["tasks"]}
        by_name["semseg"]["classes"] = [f"other {name}" for name in by_name["semseg"]["classes"]]
        by_name["depth"]["unit"] = "px"

    network = network_of(make("plain", f"model.start={change_export(last, tmp_path / 'other', other_tasks)}", "seed=5"))
    before, state = checkpoint.exported_weights(last), network.state_dict()
    anew = {name.rpartition(".")[0] for name in state if not torch.equal(state[name], before[name])}
    named = caplog.text.partition("without ")[2].partition(", which start anew")[0].split(", ")
    layers = {
        name
        for name, module in network.named_modules()
        for task in ("semseg", "depth")
        if any(module is layer for layer in network.last_layers(task))
    }
    assert layers and anew == layers == {*named}


def test_quantities_are_normalised_as_those_of_the_start(make, finished, tmp_path):
    start = finished("teacher").checkpoints / "last"

    def other_statistics(architecture):
        architecture["statistics"]["depth"] = [40.0, 20.0]

    def other_unit(architecture):
        other_statistics(architecture)
        architecture["input_tasks"][0]["unit"] = "px"

    for number, (change, same) in enumerate(((other_statistics, True), (other_unit, False))):
        folder = change_export(start, tmp_path / str(number), change)
        statistics = network_of(make("teacher", f"model.start={folder}")).architecture.statistics
        assert (statistics["depth"] == (40.0, 20.0)) is same


def test_rgb_is_normalised_as_that_of_the_start(make, last, tmp_path):
    normalisation = {"rgb_mean": [0.5, 0.5, 0.5], "rgb_std": [0.25, 0.25, 0.25]}
    other = change_export(last, tmp_path / "other", lambda architecture: architecture.update(normalisation))
    assert network_of(make("plain", f"model.start={other}")).architecture.rgb_mean == (0.5, 0.5, 0.5)


def test_another_network_is_refused(make, last):
    with pytest.raises(
        UserError, match=r"last: model\.start: is of another network: it has no backbones\.depth\S+; start"
    ):
        network_of(make("teacher", f"model.start={last}"))
    with pytest.raises(UserError, match=r"model\.start: holds no exported network; give the checkpoints/last of a run"):
        check(make("plain", f"model.start={last.parent}"))


def test_a_run_goes_on_training_in_another_folder_and_knows_its_start(make, last, tmp_path):
    run = make("plain", f"model.start={last}", f"run.root={tmp_path / 'further'}", "train.steps=2")
    train(run)
    facts = json.loads((run.folder / "data.json").read_text())
    assert facts["model.start"] == artifacts.read_exported(last)["sha256"]
    before, after = (checkpoint.exported_weights(folder / "last") for folder in (last.parent, run.checkpoints))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_error_for_a_longer_run_says_how_to_go_on(finished):
    with pytest.raises(UserError, match=r"to train on from what this one has learnt, model\.start=\S+checkpoints/last"):
        check(finished("student", "train.steps=50"))


@pytest.mark.parametrize("option", ["model.start", "model.pretrained"])
def test_a_run_continues_without_the_weights_that_it_started_from(make, finished, last, tmp_path, option):
    """Be they moved or deleted; with others it is another run."""
    suffix = "" if option == "model.start" else "/model.safetensors"

    def run(start):
        options = (f"{option}={start}{suffix}", f"run.root={tmp_path / 'further'}", "train.steps=4")
        return make("plain", *options, "checkpoint.every=2")

    normalisation = {"rgb_mean": [0.5, 0.5, 0.5], "rgb_std": [0.25, 0.25, 0.25]}
    start = change_export(last, tmp_path / "start", lambda architecture: architecture.update(normalisation))
    train(run(start))
    export, moved = run(start).checkpoints / "last", tmp_path / "moved"
    expected = (export / "model.safetensors").read_bytes()
    start.rename(moved)
    for step in ("move", "delete"):
        shutil.rmtree(export)
        if step == "delete":
            shutil.rmtree(moved)
        check(run(moved))
        train(run(moved))
        assert (export / "model.safetensors").read_bytes() == expected
        assert artifacts.read_exported(export)["architecture"]["rgb_mean"] == [0.5, 0.5, 0.5]
    with pytest.raises(UserError, match=rf"{option}: holds a run with "):
        check(run(finished("teacher").checkpoints / "last"))
