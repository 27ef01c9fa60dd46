"""Errors of components, by the names of their arguments and of the options that these come from."""

import pytest
import torch

import tutelage as tt
from shards.errors import BadFile, UserError
from trainer.config import Config
from trainer.foreseen import check_training
from trainer.option import facts
from trainer.optionerrors import _OPTIONS, name_options
from trainer.trainstage import trainer_of


@pytest.mark.parametrize(
    ("key", "hint", "expected"),
    [
        ("precision", "use precision=bf16 or fp32", "train.precision: wrong; use train.precision=bf16 or fp32"),
        ("weights.depth", None, "loss.weights.depth: wrong"),
        ("frame-7", "use size=, or model.norm=group", "frame-7: wrong; use data.size=, or model.norm=group"),
        ("model", "set pretrained=true", "model.name: wrong; set model.pretrained=true"),
        ("model.norm", None, "model.norm: wrong"),
        (None, None, "wrong"),
    ],
)
def test_an_argument_becomes_its_option(key, hint, expected):
    with pytest.raises(UserError) as error, name_options():
        raise UserError("wrong", key=key, hint=hint)
    assert str(error.value) == expected


def test_the_kind_of_an_error_and_its_file_remain():
    with pytest.raises(BadFile, match=r"^a\.py:3: loss\.weighting: wrong$"), name_options(), name_options():
        raise BadFile("wrong", file="a.py:3", key="weighting")
    with pytest.raises(UserError, match=r"^a\.pth: model\.pretrained: wrong$"), name_options():
        raise UserError("wrong", file="a.pth", key="pretrained")


def test_every_option_exists():
    assert {*_OPTIONS.values()} <= {*facts(Config)}
    assert all(argument in option.split(".") for argument, option in _OPTIONS.items())


def test_a_component_names_its_argument_and_an_experiment_its_option(make, tiny_dataset, tmp_path):
    train = tt.ShardDataset(tiny_dataset, "train", tasks=["semseg"])
    with pytest.raises(UserError, match=r"^weights: gives every task weight 0"):
        tt.MultiTaskLoss(train.tasks, weights={"semseg": 0})
    with pytest.raises(UserError, match=r"^loss\.weights: gives every task weight 0"):
        trainer_of(make("plain", "loss.weights={semseg: 0, depth: 0}"))
    with pytest.raises(UserError, match=r"^backbone: timm has no model 'hrnet_w19'; did you mean"):
        tt.create_model(backbone="hrnet_w19", tasks=train.tasks)
    with pytest.raises(UserError, match=r"^model\.backbone: timm has no model 'hrnet_w19'; did you mean"):
        check_training(make("plain", "model.backbone=hrnet_w19"))
    model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"^precision: fp16 needs a GPU; use precision=bf16 or fp32"):
            tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out=tmp_path, precision="fp16")


def test_an_error_about_a_file_keeps_its_key():
    for file, key in (("train-000000.tar", "norm"), ("train-000000.tar", "model"), ("teacher.yaml", "pretrained")):
        with pytest.raises(UserError, match=f"^{file}: {key}: is missing$"), name_options():
            raise UserError("is missing", file=file, key=key)
