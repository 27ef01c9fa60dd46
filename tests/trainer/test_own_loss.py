"""A loss of one's own, a subclass of ``MultiTaskLoss``: what training calls, checks and records."""

from pathlib import Path
from typing import Any

import pytest

import tutelage as tt
from shards.manifest import Manifest


class Halved(tt.MultiTaskLoss):
    def terms(self, *arguments: Any) -> Any:
        return 0.5 * super().terms(*arguments)

    def __call__(self, *_: Any) -> Any:
        raise AssertionError("training calls counts and terms alone")


class Summed(tt.MultiTaskLoss):
    def terms(self, *arguments: Any) -> Any:
        return super().terms(*arguments).sum()


class Raising(tt.MultiTaskLoss):
    def terms(self, *_: Any) -> Any:
        raise KeyError("missing")


def trainer_of(loss: Any, data: Manifest, out: Path) -> tt.Trainer:
    train = tt.ShardDataset(data, "train", tasks=["semseg", "depth"])
    model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
    loss = loss(train.tasks) if isinstance(loss, type) else loss
    return tt.Trainer(model, loss, train, out=out, global_batch_size=4, steps=1)


def test_another_loss_is_another_run(tiny_dataset, tmp_path):
    trainer_of(Halved, tiny_dataset, tmp_path).fit()
    with pytest.raises(tt.UserError, match=r"loss_class: holds a run with '\S*test_own_loss:Halved', not None"):
        trainer_of(tt.MultiTaskLoss, tiny_dataset, tmp_path).fit()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (Summed, r"^loss: terms of \S*test_own_loss:Summed returned shape \(\), expected a tensor of shape \(2,\)"),
        (Raising, r"test_own_loss\.py:\d+: loss: \S*test_own_loss:Raising raised KeyError: 'missing'"),
        ("mse", r"^loss: is 'mse', a str; give a MultiTaskLoss"),
    ],
)
def test_a_loss_that_is_none(tiny_dataset, tmp_path, loss, message):
    with pytest.raises(tt.UserError, match=message):
        trainer_of(loss, tiny_dataset, tmp_path).fit()
