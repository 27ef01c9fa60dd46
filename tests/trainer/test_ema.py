"""The average of weights: its arithmetic, and runs that are evaluated, exported and continued with it."""

import copy
import shutil

import pytest
import torch
from runs import LONG, assert_same_run
from safetensors.torch import load_file

from shards.errors import UserError
from trainer.ema import AveragedWeights, decay_of
from trainer.runs import artifacts
from trainer.runs.folder import claim
from trainer.trainstage import train, trainer_of

EMA = "train.ema=0.8"


def test_the_decay_rises_to_its_value():
    assert [decay_of(step, 0.5) for step in (0, 1, 7, 8, 9, 1000)] == [0.1, 2 / 11, 8 / 17, 0.5, 0.5, 0.5]


def test_weights_and_statistics_are_averaged_and_counters_copied():
    state = {"w": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    average = AveragedWeights(state, 0.9)
    state["w"].copy_(torch.tensor([2.0, 4.0]))
    state["count"].fill_(7)
    average.update(0)
    average.update(1000)
    with average.in_network():
        expected = [0.9 * (0.1 * 1 + 0.9 * 2) + 0.1 * 2, 0.9 * (0.1 * 2 + 0.9 * 4) + 0.1 * 4]
        assert state["w"].tolist() == pytest.approx(expected) and state["count"] == 7
    assert state["w"].tolist() == [2, 4]


def test_a_weight_under_two_names_is_itself_again_afterwards():
    layer = torch.nn.Linear(2, 2)
    state = torch.nn.ModuleDict({"one": layer, "other": layer}).state_dict()
    average = AveragedWeights(state, 0.5)
    with torch.no_grad():
        layer.weight.fill_(3)
        average.update(1000)
        with average.in_network():
            assert not torch.equal(layer.weight, torch.full((2, 2), 3.0))
    assert torch.equal(layer.weight, torch.full((2, 2), 3.0))


def test_the_average_is_what_is_evaluated_and_exported(make, monkeypatch):
    experiment = make("plain", EMA, "evaluate.every=1", "train.global_batch_size=16")
    evaluated, average = [], None

    def evaluate(_, network, *__, **___):
        evaluated.append(copy.deepcopy(network.state_dict()))
        return {"semseg": {"miou": 0.0}}

    monkeypatch.setattr("trainer.trainstage.evaluate_network", evaluate)
    claim(experiment)
    trainer = trainer_of(experiment)
    state = trainer.updater.engine.local_state()
    average = {name: tensor.clone() for name, tensor in state.items()}
    for step in trainer.iterate():
        decay = decay_of(step - 1, 0.8)
        for name, tensor in state.items():
            if tensor.is_floating_point():
                average[name] = decay * average[name] + (1 - decay) * tensor
    trainer.checkpointer.export("last", trainer.step)
    exported = load_file(experiment.checkpoints / "last/model.safetensors")
    moved = 0
    for name, tensor in average.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(evaluated[-1][name], tensor, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(exported[name], tensor.contiguous(), rtol=1e-4, atol=1e-6)
            moved += not torch.allclose(state[name], tensor, rtol=1e-3)
    assert moved > 20, "the weights themselves are others"


def test_a_run_that_continues_has_the_average_of_the_undisturbed_one(make):
    whole = make("plain", *LONG, EMA, "experiment=whole")
    train(whole)
    resumed = make("plain", *LONG, EMA, "experiment=whole", f"run.path={whole.folder}-again")
    shutil.copytree(whole.folder, resumed.folder, ignore=shutil.ignore_patterns("last", "step-00000024"))
    assert artifacts.newest(resumed.checkpoints) is not None
    train(resumed)
    assert_same_run(resumed.folder, whole.folder)


def test_a_checkpoint_whose_average_is_damaged_is_refused(make):
    run = make("plain", *LONG, EMA)
    train(run)
    path = artifacts.newest(run.checkpoints)
    file = path / "average.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    shutil.rmtree(run.checkpoints / "last")
    with pytest.raises(UserError, match=r"average\.safetensors: is missing or differs from what was written"):
        train(run)


@pytest.mark.parametrize("decay", ["0", "1", "-0.5"])
def test_a_decay_that_is_none_is_refused(make, decay):
    with pytest.raises(UserError, match=r"train\.ema: .* is not a decay; give more than 0 and less than 1"):
        make("plain", f"train.ema={decay}")
