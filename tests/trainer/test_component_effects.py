"""Components from Python: none changes another's state, and no argument is without effect."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from torch import nn

import tutelage as tt
from shards.manifest import Manifest
from trainer.sections import Checkpoint, Train
from trainer.validation import Validation
from trainer.weighting import Uncertainty

NAMES = ["semseg", "depth"]


@pytest.fixture
def train(tiny_dataset: Manifest) -> tt.ShardDataset:
    return tt.ShardDataset(tiny_dataset, "train", tasks=NAMES)


@pytest.fixture
def val(tiny_dataset: Manifest) -> tt.ShardDataset:
    return tt.ShardDataset(tiny_dataset, "val", tasks=NAMES)


def network(train: tt.ShardDataset, name: str = "fpn", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return tt.create_model(name, backbone="test_efficientnet", tasks=train.tasks, **options)


def trainer_of(model: nn.Module, data: Any, out: Path, **options: Any) -> tt.Trainer:
    options = {"global_batch_size": 4, "steps": 2} | options
    return tt.Trainer(model, tt.MultiTaskLoss(tt.ShardDataset.of(data.frames, NAMES).tasks), data, out=out, **options)


@pytest.fixture
def own_accelerator():
    """A program's own, with a precision and an accumulation that are not the defaults."""
    states = (AcceleratorState, GradientState, PartialState)
    for state in states:
        state._reset_state()
    yield Accelerator(mixed_precision="bf16", gradient_accumulation_steps=4, cpu=True)
    for state in states:
        state._reset_state()


def test_evaluation_and_labelling_leave_the_programs_accelerator_alone(own_accelerator, train, val, tmp_path):
    model = network(train)
    tt.evaluate(model, val)
    tt.label(model, train, tmp_path, frames="all")
    assert (own_accelerator.mixed_precision, own_accelerator.gradient_accumulation_steps) == ("bf16", 4)
    assert own_accelerator.num_processes == 1 and own_accelerator.device.type == "cpu"


@pytest.mark.parametrize("name", ["fpn", "mtinet"])
def test_a_network_may_be_evaluated_between_steps(name, train, val, tmp_path):
    """It goes on as one that was not: evaluation leaves every module in the mode that it found."""
    weights = []
    for between in (False, True):
        model = network(train, name)
        trainer = trainer_of(model, train, tmp_path / str(between), steps=3)
        for _ in trainer.iterate():
            if between:
                modes = [module.training for module in model.modules()]
                tt.evaluate(trainer.whole(), val)
                assert modes == [module.training for module in model.modules()] and any(modes)
        weights.append(torch.cat([weight.flatten() for weight in model.parameters()]))
    assert torch.equal(*weights)
    frozen = network(train, name).eval()
    tt.evaluate(frozen, val)
    assert not any(module.training for module in frozen.modules())


def test_a_compiled_network_is_evaluated_as_the_network_itself(train, val):
    model = network(train)
    assert tt.evaluate(torch.compile(model), val) == tt.evaluate(model, val)


def test_a_compiled_network_is_not_trained_and_stays_what_it_is(train, tmp_path):
    compiled = torch.compile(network(train))
    forward = compiled.forward
    with pytest.raises(tt.UserError, match=r"^model: is compiled; give the network itself, and compile=True"):
        trainer_of(compiled, train, tmp_path)
    assert compiled.forward == forward


def test_a_frozen_network_is_not_trained_without_a_word(train, tmp_path):
    predictor = tt.Predictor(trainer_of(network(train), train, tmp_path / "first").fit())
    with pytest.raises(tt.UserError, match=r"^model: has no parameter that .*; call model.requires_grad_\(\) first"):
        trainer_of(predictor.network, train, tmp_path / "next")
    trainer_of(predictor.network.requires_grad_(), train, tmp_path / "next").fit()


def test_validation_is_at_the_size_of_training(train, val, tmp_path):
    seen = []

    class Network(nn.Module):
        architecture = network(train).architecture

        def __init__(self) -> None:
            super().__init__()
            self.inner = network(train)

        def forward(self, inputs):
            seen.append((self.training, *inputs["rgb"].shape[-2:]))
            return self.inner(inputs)

    data = tt.TrainingData(train, ["rgb"], NAMES, size=(64, 128))
    trainer = trainer_of(Network(), data, tmp_path, val=val)
    trainer.fit()
    assert {*seen} == {(True, 64, 128), (False, 64, 128)}
    assert trainer.validation.facts["size"] == [64, 128]
    own = tt.ShardDataset(val.manifest, "val", tasks=NAMES, size=(32, 32))
    assert "size" not in Validation.on(own, trainer).facts, "the data set's own size wins, as before"


def test_a_metric_of_ones_own_says_which_values_are_better(train, tmp_path):
    with pytest.raises(tt.UserError, match=r"^best: 'depth\.loss' is not a metric of any kind; say .* smaller"):
        tt.Validation(dict, "depth.loss")
    model, values = network(train), iter([0.5, 0.7])
    val = tt.Validation(lambda _: {"depth": {"loss": next(values)}}, "depth.loss", smaller_is_better=True)
    trainer_of(model, train, tmp_path, val=val, steps=None, epochs=2).fit()
    best = json.loads((tmp_path / "checkpoints/best/model.json").read_text())
    assert (best["value"], best["step"]) == (0.5, 2)
    assert tt.Validation(dict, "depth.rmse").smaller_is_better
    assert not tt.Validation(dict, "semseg.miou").smaller_is_better


def test_the_loader_of_frames_with_targets_has_the_order_of_training(train, tmp_path):
    few = tt.ShardDataset(train.manifest, "train", labels={"semseg": 5})
    model = tt.create_model("fpn", backbone="test_efficientnet", tasks=few.tasks[:1])
    options = {"global_batch_size": 2, "steps": 5, "seed": 3, "trace": True}
    tt.Trainer(model, tt.MultiTaskLoss(few.tasks[:1]), few, out=tmp_path, **options).fit()
    trained = [json.loads(line)["keys"] for line in (tmp_path / "order.jsonl").read_text().splitlines()]
    assert [batch["key"] for batch in few.with_targets(["semseg"]).loader(2, seed=3, steps=5)] == trained
    assert [batch["key"] for batch in few.loader(2, seed=3, steps=5)] != trained


def test_data_for_other_inputs_are_refused(train, tmp_path):
    model = network(train, "mtinet", inputs=["rgb", "depth"], statistics=train.statistics)
    data = tt.TrainingData(train, ["rgb"], NAMES)
    message = (
        r"^data: are for inputs rgb, where the network takes rgb, depth; give TrainingData\(\.\.\., inputs=\['rgb', "
    )
    with pytest.raises(tt.UserError, match=message):
        trainer_of(model, data, tmp_path)
    trainer_of(model, tt.TrainingData(train, ["depth", "rgb"], NAMES), tmp_path)


def test_options_beside_an_optimizer_have_an_effect_or_are_refused(train, tmp_path):
    model = network(train)
    adam = torch.optim.AdamW(model.parameters(), lr=5e-2, weight_decay=0.0)
    for options, message in (
        ({"weight_decay": 0.3}, r"^weight_decay: is 0\.3, where the optimizer has 0\.0; leave it out"),
        ({"train": Train(weight_decay=0.3)}, r"^weight_decay: is 0\.3, where the optimizer has 0\.0; leave it out"),
    ):
        with pytest.raises(tt.UserError, match=message):
            trainer_of(model, train, tmp_path, optimizer=adam, **options)
    for options, rate in (({}, 5e-2), ({"lr": 1e-4}, 1e-4), ({"train": Train(lr=3e-3)}, 3e-3)):
        assert trainer_of(model, train, tmp_path, optimizer=adam, **options).options.lr == rate
    assert trainer_of(model, train, tmp_path, optimizer=adam, train=Train(ema=0.9)).options.lr == 5e-2


def test_the_weighting_of_an_earlier_trainer_is_not_used_unasked(train, tmp_path):
    model = network(train)
    trainer_of(model, train, tmp_path / "first", weighting=Uncertainty(2)).fit()
    message = r"^weighting: is not given, but the model has trainer\.weighting:Uncertainty; give weighting=model\.weig"
    with pytest.raises(tt.UserError, match=message):
        trainer_of(model, train, tmp_path / "next")
    assert trainer_of(model, train, tmp_path / "next", weighting=model.weighting).updater.weighting is model.weighting
    model.weighting = None
    assert trainer_of(model, train, tmp_path / "next").updater.weighting is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"gradient_accumulation_steps": 4},
            r"^accelerator: accumulates 4 steps; create it without, and give the trainer ",
        ),
        (
            {"mixed_precision": "bf16"},
            r"^accelerator: computes in bf16, where precision is fp32; leave it out",
        ),
    ],
)
def test_an_accelerator_of_other_settings_is_refused(train, tmp_path, options, message):
    states = (AcceleratorState, GradientState, PartialState)
    for state in states:
        state._reset_state()
    try:
        with pytest.raises(tt.UserError, match=message):
            trainer_of(network(train), train, tmp_path, accelerator=Accelerator(cpu=True, **options))
    finally:
        for state in states:
            state._reset_state()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train": Train(max_grad_norm=-1.0)}, r"^max_grad_norm: -1\.0 is not a norm; give more than 0"),
        ({"train": Train(ema=2.0)}, r"^ema: 2\.0 is not a decay"),
        ({"train": Train(schedule="bad")}, r"^schedule: 'bad' is unknown; use one of polynomial, "),
        ({"train": Train(optimizer="sgd")}, r"^optimizer: 'sgd' is unknown"),
        ({"train": Train(lr=-1)}, r"^lr: -1 is less than 0"),
        ({"train": Train(log_every=2.5)}, r"^log_every: is 2\.5; give int"),
        ({"train": Train(compile=1)}, r"^compile: is 1; give bool"),
        ({"checkpoint": Checkpoint(keep=-1)}, r"^checkpoint\.keep: -1 is less than 1; give 1 or more"),
        ({"checkpoint": Checkpoint(every="often")}, r"^checkpoint\.every: 'often' is not an interval"),
        ({"accelerator": "cpu"}, r"^accelerator: is 'cpu', a str; give an Accelerator or None"),
        ({"norm": "forzen"}, r"^norm: 'forzen' is unknown; use one of batch, sync, frozen"),
        ({"seed": "a"}, r"^seed: is 'a'; give int"),
        ({"seed": 1.5}, r"^seed: is 1\.5; give int"),
        ({"epochs": 3}, r"^epochs: steps=2 decides; leave epochs out, or give steps=None"),
    ],
)
def test_every_value_of_an_option_is_checked(train, tmp_path, options, message):
    with pytest.raises(tt.UserError, match=message):
        trainer_of(network(train), train, tmp_path, **options)
    assert not [*tmp_path.iterdir()]


def test_values_out_of_range_are_refused_as_in_a_configuration(train):
    for options, message in (
        ({"grey": 20}, r"^grey: 20 is not a share; give 0 to 1"),
        ({"cutmix": 30}, r"^cutmix: 30 is not a share"),
        ({"blur": -0.1}, r"^blur: -0\.1 is not a share"),
        ({"jitter": 1.5}, r"^jitter: 1\.5 is not a share"),
        ({"zoom_window": "center"}, r"^zoom_window: 'center' is unknown; use one of random, centre"),
        ({"zoom": [0.5, 1]}, r"^zoom: \[0\.5, 1\] has no factor, or one below 1"),
        ({"zoom": []}, r"^zoom: \[\] has no factor, or one below 1"),
        ({"zoom": "1.2"}, r"^zoom: is '1\.2'; give a list of float"),
    ):
        with pytest.raises(tt.UserError, match=message):
            tt.TrainingData(train, ["rgb"], NAMES, augment=tt.Augment(**options))
    with pytest.raises(tt.UserError, match=r"^ranges\['depth'\]: \[10\.0, 0\.1\] is not a range"):
        tt.Measurement(ranges={"depth": (10.0, 0.1)})
