"""Weightings of losses: their formulas, and runs that learn with them, are cut otherwise, continue and are exported."""

import shutil
from pathlib import Path

import pytest
import torch
from ranks import launch
from runs import LONG, assert_same_run, lines
from safetensors.torch import load_file

from shards.errors import UserError
from trainer.runs import artifacts, checkpoint
from trainer.trainstage import train, trainer_of
from trainer.weighting import DynamicAverage, Uncertainty

EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIGS = Path(__file__).parents[2] / "configs" / "engine"


def test_uncertainty_by_its_equation():
    weighting = Uncertainty(2)
    with torch.no_grad():
        weighting.log_variance.copy_(torch.tensor([0.5, -1.0]))
    total = weighting.weigh(torch.tensor([3.0, 2.0]), weighting(), 1.0).sum()
    variance = torch.tensor([0.5, -1.0]).exp()
    expected = 3 / (2 * variance[0]) + variance[0].sqrt().log() + 2 / (2 * variance[1]) + variance[1].sqrt().log()
    assert total.item() == pytest.approx(expected.item())
    parts = [weighting.weigh(torch.tensor([1.5, 1.0]), weighting(), 0.5).sum() for _ in range(2)]
    assert sum(parts).item() == pytest.approx(total.item()), "two micro-batches add up to the batch"


def test_dynamic_average_by_its_equation():
    weighting = DynamicAverage(2)
    assert weighting().tolist() == pytest.approx([1, 1])
    losses_by_epoch = ([4.0, 2.0], [2.0, 1.8], [1.0, 1.7])
    for epoch, values in enumerate(losses_by_epoch):
        for noise in (0.5, -0.5):
            weighting.observe(torch.tensor(values) + noise, epoch)
        if epoch == 1:
            assert weighting().tolist() == pytest.approx([1, 1]), "one epoch has nothing to be compared with"
    weighting.observe(torch.zeros(2), 3)
    ratios = torch.tensor([1.0 / 2.0, 1.7 / 1.8])
    assert weighting().tolist() == pytest.approx((2 * torch.softmax(ratios / 2, 0)).tolist())
    assert weighting.weigh(torch.tensor([2.0, 3.0]), torch.tensor([0.5, 1.5]), 0.25).tolist() == [1, 4.5]


def test_the_first_mean_of_a_task_is_compared_with_nothing():
    """Whichever epoch has its first label: the second task's is 1, the third's 2."""
    weighting = DynamicAverage(3)
    for epoch, losses in enumerate(([2.0, 0, 0], [1.5, 3.0, 0], [1.0, 2.0, 5.0], [0.5, 1.0, 4.0])):
        if epoch == 3:
            before = weighting()
        weighting.observe(torch.tensor(losses), epoch)
    ratios = torch.tensor([1.0 / 1.5, 2.0 / 3.0, 1.0])
    assert weighting().tolist() == pytest.approx((3 * torch.softmax(ratios / 2, 0)).tolist())
    assert before.tolist() == pytest.approx((3 * torch.softmax(torch.tensor([1.5 / 2, 1, 1]) / 2, 0)).tolist())


def test_a_task_without_labels_is_not_weighed_by_its_absence():
    """Each formula counts only the batches that have a label of the task."""
    weighting = DynamicAverage(2)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(4):
        for _ in range(20):
            labelled = torch.rand((), generator=generator) < 0.2 and epoch != 2
            weighting.observe(torch.tensor([1.0, 1.0 if labelled else 0.0]), epoch)
        assert weighting().tolist() == pytest.approx([1, 1]), "constant losses, in an epoch without labels as well"
    uncertainty = Uncertainty(2)
    optimizer = torch.optim.SGD(uncertainty.parameters(), 0.2)
    for step in range(2000):
        losses = torch.tensor([2.0, 2.0 if step % 10 == 0 else 0.0])
        optimizer.zero_grad()
        uncertainty.weigh(losses, uncertainty(), (losses > 0).float()).sum().backward()
        optimizer.step()
    variances = uncertainty.log_variance.exp().tolist()
    assert variances == pytest.approx([2, 2], rel=1e-3), (
        "the minimum of L / (2 s) + log(s) / 2, however rare the labels"
    )


@pytest.mark.parametrize(
    ("options", "labelled", "share"),
    [
        ((), True, [1, 1]),
        ((), False, [0, 1]),
        (("loss.normalise=all",), True, [1, 1]),
        (("loss.normalise=all",), False, [0, 1]),
        (("loss.weights={semseg: 0, depth: 1}",), True, [0, 1]),
    ],
)
def test_a_task_counts_if_the_batch_has_labels_of_it_and_it_has_a_weight(make, monkeypatch, options, labelled, share):
    trainer = trainer_of(make("plain", "loss.weighting=uncertainty", *options))
    micro = next(trainer.data.batches(trainer.batches, 0, 1))
    if not labelled:
        micro.labels["semseg"].fill_(255)
    seen = []
    monkeypatch.setattr(
        Uncertainty, "weigh", lambda self, losses, values, share: seen.append(share.tolist()) or losses + 0 * values
    )
    trainer.updater.train_mode()
    assert trainer.updater.step(0, [micro], 1e-3).done
    assert seen == [share] and [task.name for task in trainer.updater.criterion.tasks] == ["semseg", "depth"]


def log_variance(run) -> torch.Tensor:
    path = artifacts.newest(run.checkpoints)
    return load_file(path / "model.safetensors")["weighting.log_variance"]


def test_the_weights_are_learnt_the_same_however_the_batch_is_cut(make):
    variances = []
    for accumulation in (1, 2):
        options = (
            f"experiment=cut-{accumulation}",
            f"train.gradient_accumulation_steps={accumulation}",
            "model.norm=frozen",
        )
        run = make("plain", *options, "loss.weighting=uncertainty", "train.steps=5", "checkpoint.every=4")
        train(run)
        variances.append(log_variance(run))
    assert (variances[0].abs() > 1e-4).all(), "they move"
    torch.testing.assert_close(variances[0], variances[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["uncertainty", "dwa"])
def test_a_run_continues_as_if_nothing_had_been(make, name):
    whole = make("plain", *LONG, f"loss.weighting={name}", "experiment=whole")
    train(whole)
    resumed = make("plain", *LONG, f"loss.weighting={name}", "experiment=whole", f"run.path={whole.folder}-again")
    shutil.copytree(whole.folder, resumed.folder, ignore=shutil.ignore_patterns("last", "step-00000024"))
    train(resumed)
    assert_same_run(resumed.folder, whole.folder)
    network, _ = checkpoint.load_exported(whole.checkpoints / "last")
    assert network.weighting is None and not any("weighting" in name for name in network.state_dict())
    plain = make("plain", *LONG, "experiment=fixed")
    train(plain)
    losses = [[line["loss"]["total"] for line in lines(run.folder) if "loss" in line] for run in (plain, whole)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("engine", ["zero3", "fsdp2"])
def test_engines_that_keep_parameters_in_parts_learn_the_weights_too(make, configs, tmp_path, engine):
    """Two real ranks; the same weights as one process learns from the same batches, whose statistics are frozen."""
    options = ("loss.weighting=uncertainty", "train.steps=3", "checkpoint.every=2", "model.norm=frozen")
    arguments = (str(configs / "plain.yaml"), f"run.root={tmp_path / 'runs'}", *options, "experiment=parts")
    process = launch(2, "-m", "tutelage", "train", *arguments, config=CONFIGS / f"{engine}.yaml")
    assert process.returncode == 0, process.stderr[-3000:]
    alone = make("plain", *options, "experiment=alone")
    train(alone)
    parts = make("plain", *options, "experiment=parts")
    assert (log_variance(parts).abs() > 1e-4).all()
    torch.testing.assert_close(log_variance(parts), log_variance(alone), rtol=1e-3, atol=1e-5)


PROGRAM = """
import sys
import tutelage as tt
from trainer.weighting import Uncertainty

train = tt.ShardDataset(sys.argv[1], "train", labels={"semseg": 8, "depth": 16})
model = tt.create_model("fpn", backbone="test_efficientnet", tasks=train.tasks)
options = {"global_batch_size": 4, "steps": 2, "weighting": Uncertainty(2)}
trainer = tt.Trainer(model, tt.MultiTaskLoss(train.tasks), train, out=sys.argv[2], **options)
trainer.fit()
print(sum(parameter.double().sum().item() for parameter in trainer.whole().parameters()))
"""


@pytest.mark.parametrize("engine", ["zero3", "fsdp2"])
def test_a_finished_program_with_weighted_losses_may_run_again(scenes_dataset, tmp_path, engine):
    """Where parameters are in parts: it gets its weights back, all but those of the weighting. Under another engine,
    too, whose network has another class."""
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = (str(tmp_path / "program.py"), str(scenes_dataset.folder), str(tmp_path / "out"))
    for name in (engine, engine, "ddp"):
        process = launch(2, *arguments, config=CONFIGS / f"{name}.yaml")
        assert process.returncode == 0, process.stderr[-3000:]


def test_ones_own_is_named_by_its_module(make, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    run = make("plain", "loss.weighting=my_weighting:RandomWeights", "train.steps=3", "checkpoint.every=2")
    train(run)
    state = load_file(artifacts.newest(run.checkpoints) / "model.safetensors")
    assert state["weighting.steps"] == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gradnorm", "'gradnorm' is unknown; use fixed, uncertainty, dwa, or my.module:Name"),
        ("no_such_module:Name", "no_such_module cannot be imported"),
        ("json:JSONDecoder", "JSONDecoder of json is not a LossWeighting; derive it from trainer.weighting"),
        ("json:Nothing", r"json \(.*\) has no Nothing"),
    ],
)
def test_what_is_no_weighting_is_refused(make, name, message):
    with pytest.raises(UserError, match=f"loss.weighting: {message}"):
        train(make("plain", f"loss.weighting={name}"))
