"""The training loop: what follows from the seed, what a run leaves behind, and what it refuses."""

import json
import math
import shutil

import pytest
import torch
from framekeys import keys_by_shard
from runs import LONG, assert_same_run, copy_checkpoints, lines, weights
from safetensors.torch import load_file

from shards.errors import UserError
from shards.order import Order
from trainer.experiment import Experiment
from trainer.runs import checkpoint
from trainer.runs.folder import claim
from trainer.trainstage import train, trainer_of
from trainer.validation import Validation, compare_with_best


def losses(experiment: Experiment) -> list[float]:
    return [line["loss"]["total"] for line in lines(experiment.folder) if "loss" in line]


# What follows from the seed


def test_a_second_run_is_the_first_one_with_any_number_of_workers(make, reference):
    run = make("plain", *LONG, "data.num_workers=1")
    train(run)
    assert_same_run(run.folder, reference.folder)


def test_another_seed_is_another_run(make):
    runs = [make("plain", f"seed={seed}") for seed in (0, 1)]
    for run in runs:
        train(run)
    assert weights(runs[0].folder) != weights(runs[1].folder) and lines(runs[0].folder, "order") != lines(
        runs[1].folder, "order"
    )


def test_accumulation_changes_no_sample_and_hardly_a_loss(make):
    """Batch norm sees smaller batches, and nothing else differs; learning rate 0 keeps the runs together."""
    overrides = ["train.lr=1e-12", "train.log_every=1"]
    runs = [make("plain", f"train.gradient_accumulation_steps={n}", f"experiment=by-{n}", *overrides) for n in (1, 2)]
    for run in runs:
        train(run)
    assert lines(runs[0].folder, "order") == lines(runs[1].folder, "order")
    assert losses(runs[1]) == pytest.approx(losses(runs[0]), rel=0.05)
    assert losses(runs[1]) != losses(runs[0])


def test_the_traced_order_is_the_contracts(reference):
    frames, config = reference.training_frames(), reference.config
    chosen = keys_by_shard(frames, frames.to_train(config.inputs, config.tasks))
    order = Order([len(keys) for keys in chosen], config.seed, window=config.data.shuffle_window)
    traced = lines(reference.folder, "order")
    assert [(line["step"], line["epoch"]) for line in traced] == [(step, (step - 1) // 4) for step in range(1, 25)]
    for line in traced:
        first = (line["step"] - 1) % 4 * 4
        places = [order.locate(line["epoch"], position) for position in range(first, first + 4)]
        assert line["keys"] == [chosen[shard][number] for shard, number in places]


# What a run leaves behind


def test_the_loss_goes_down(make):
    run = make("base", *LONG, "evaluate.every=0")
    train(run)
    assert losses(run)[-1] < 0.9 * losses(run)[0]


def test_metrics_stand_at_their_steps(reference):
    metrics = lines(reference.folder)
    assert [line["step"] for line in metrics if "loss" in line] == [5, 10, 15, 20, 24]
    assert [line["step"] for line in metrics if "val" in line] == [8, 16, 24], "every second epoch, and at the end"
    first = metrics[0]
    assert first["epoch"] == 1.25 and first["lr"] == pytest.approx(1e-3 * (1 - 4 / 24) ** 0.9)
    assert first["loss"]["total"] == pytest.approx(first["loss"]["semseg"] + first["loss"]["depth"])
    raw = json.loads((reference.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert raw["speed"].keys() == {"samples_per_second", "waiting_for_data", "memory_megabytes"}


def test_checkpoints_that_are_kept(reference):
    assert sorted(path.name for path in reference.checkpoints.iterdir()) == [
        "best",
        "last",
        "step-00000012",
        "step-00000018",
    ]


def test_the_last_network_is_exported_and_loads(reference):
    network, facts = checkpoint.load_exported(reference.checkpoints / "last")
    assert facts["step"] == 24 and network.architecture == reference.architecture
    predictions = network.eval()({"rgb": torch.rand(1, 3, 32, 64)})
    assert predictions.final["semseg"].shape == (1, 17, 32, 64) and predictions.final["depth"].shape == (1, 1, 32, 64)


@pytest.mark.parametrize(("name", "step"), [("semseg.miou", 2), ("depth.rmse", 3)])
def test_the_best_checkpoint_is_that_of_the_best_evaluation(make, monkeypatch, name, step):
    values = {1: 0.2, 2: 0.5, 3: 0.1, 4: 0.5}

    def evaluate(experiment, network, *_, **__):
        return {"semseg": {"miou": values[trainer.step]}, "depth": {"rmse": values[trainer.step]}}

    monkeypatch.setattr("trainer.trainstage.evaluate_network", evaluate)
    experiment = make("plain", "evaluate.every=1", f"evaluate.best={name}", "train.global_batch_size=16")
    claim(experiment)
    trainer, weights = trainer_of(experiment), {}
    for count in trainer.iterate():
        weights[count] = {name: tensor.clone() for name, tensor in trainer.updater.engine.weights().items()}
    network, facts = checkpoint.load_exported(experiment.checkpoints / "best")
    assert (facts["step"], facts["value"]) == (step, values[step])
    assert all(torch.equal(tensor, weights[step][name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "best", "better"),
    [("s.miou", 0.5, True), ("s.miou", 0.7, False), ("d.rmse", 2.1, True), ("d.rmse", 2, False)],
)
def test_better_is_larger_for_shares_and_smaller_for_errors(name, best, better):
    metrics = {"s": {"miou": 0.6, "iou": [0.6]}, "d": {"rmse": 2.0, "abs_rel": None}}
    smaller = Validation(dict, name).smaller_is_better
    assert compare_with_best(metrics, name, best, smaller)[1] is better
    assert compare_with_best(metrics, name, None, smaller)[1] is True


@pytest.mark.parametrize("changed", ["evaluate.best=depth.rmse", "val=3", "evaluate.resolution=label", None])
def test_values_of_another_metric_or_other_frames_are_not_compared(make, reference, changed):
    run = make("plain", *LONG, *([changed] if changed else []))
    shutil.copytree(reference.checkpoints, run.checkpoints, ignore=shutil.ignore_patterns("last"))
    trainer = trainer_of(run)
    trainer.checkpointer.resume()
    assert (trainer.checkpointer.best is None) == bool(changed)


def test_a_best_value_from_before_there_were_ways_to_measure_is_of_the_default_one(make, reference):
    run = make("plain", *LONG)
    shutil.copytree(reference.checkpoints, run.checkpoints, ignore=shutil.ignore_patterns("last"))
    for path in run.checkpoints.glob("step-*/state.json"):
        state = json.loads(path.read_text())
        for name in ("resolution", "range", "crop"):
            del state["best"][name]
        path.write_text(json.dumps(state))
    trainer = trainer_of(run)
    trainer.checkpointer.resume()
    assert trainer.checkpointer.best is not None


def test_another_log_every_on_continuing_keeps_the_mean(make, reference):
    """The checkpoint of step 18 holds the losses since step 15."""
    run = make("plain", *LONG, "train.log_every=7")
    copy_checkpoints(reference, run)
    train(run)
    traced = make("plain", *LONG, "train.log_every=1", f"run.path={run.folder}-traced")
    train(traced)
    first = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 21
    assert first["loss"]["total"] == pytest.approx(sum(losses(traced)[15:21]) / 6, rel=1e-5)


@pytest.mark.parametrize("name", ["s.iou", "d.abs_rel", "x.rmse", "rmse"])
def test_a_metric_that_is_not_measured_is_an_error(name):
    metrics = {"s": {"miou": 0.6, "iou": [0.6]}, "d": {"rmse": 2.0, "abs_rel": None}}
    metrics["s"]["pixels"] = 7
    with pytest.raises(UserError, match=rf"^best: '{name}' is not measured; use one of s\.miou, d\.rmse$"):
        compare_with_best(metrics, name, None, False)


def test_a_metric_of_no_task_is_found_before_the_first_step(make):
    known = (
        "depth.rmse, depth.rmse_log, depth.abs_rel, depth.delta1, depth.delta2, depth.delta3, depth.mae, depth.log10, "
        "depth.silog"
    )
    with pytest.raises(UserError, match=f"best: 'semseg.miou' is not measured; use one of {known}$"):
        train(make("plain", "tasks=[depth]", "evaluate.every=1"))
    train(make("plain", "tasks=[depth]"))


# Settings


def test_epochs_are_passes_over_the_experiments_frames(make):
    run = make("plain", "train.steps=null", "train.epochs=2", "train.global_batch_size=8")
    train(run)
    assert [line["epoch"] for line in lines(run.folder, "order")] == [0, 0, 1, 1]


def test_cosine_adamw_clip_and_warmup(make):
    run = make("plain", "train.optimizer=adamw", "train.schedule=cosine", "train.warmup_steps=2", "train.log_every=1")
    train(run)
    cosine = [5e-4 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert [line["lr"] for line in lines(run.folder)] == pytest.approx([cosine[0] / 2, *cosine[1:]])


def test_clip_bounds_the_gradient(make):
    norms = {}
    for clip in ("null", "0.5"):
        trainer = trainer_of(make("plain", f"train.max_grad_norm={clip}", f"experiment=clip-{clip}"))

        def measure(optimizer, *_, clip=clip):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            norms[clip] = float(torch.stack([g.norm() for g in gradients]).norm())

        trainer.updater.engine.optimizer.register_step_pre_hook(measure)
        batches = trainer.data.batches(trainer.batches, 0, 1)
        trainer.optimise(list(batches))
    assert norms["null"] > 1 and norms["0.5"] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(
    "overrides",
    [
        ("tasks=[semseg]",),
        ("inputs=[rgb, depth]", "tasks=[semseg]"),
        ("inputs=[rgb, depth]", "model.fusion=early"),
        ("loss.normalise=all", "loss.weights.semseg=0.5"),
        ("train.channels_last=false",),
    ],
)
def test_experiments_of_other_shapes_train(make, overrides):
    run = make("plain", *overrides, "train.steps=2", "evaluate.every=0")
    network, _ = checkpoint.load_exported(train(run))
    assert [task.name for task in network.architecture.tasks] == list(run.config.tasks)
    assert all(math.isfinite(loss) and loss > 0 for loss in losses(run))


def test_weights_of_a_run_start_another(make, reference):
    """``model.pretrained`` takes a run's own file, without a network."""
    file = reference.checkpoints / "last/model.safetensors"
    trainer = trainer_of(make("teacher", f"model.pretrained={file}"))
    source_weights, network_weights = load_file(file), trainer.updater.engine.weights()
    stem, head = "backbones.rgb.conv_stem.weight", "heads.depth.predict.weight"
    assert torch.equal(network_weights[stem], source_weights[stem]) and not torch.equal(
        network_weights[head], source_weights[head]
    )


def test_a_run_keeps_the_normalisation_of_the_weights_that_it_started_from(make, reference, tmp_path):
    """It is in the run's model.json, which every user of the network reads."""
    shutil.copytree(reference.checkpoints / "last", tmp_path / "first")
    facts = json.loads((tmp_path / "first/model.json").read_text())
    facts["architecture"] |= {"rgb_mean": [0.1, 0.2, 0.3], "rgb_std": [0.4, 0.5, 0.6]}
    (tmp_path / "first/model.json").write_text(json.dumps(facts))
    run = make("plain", f"model.pretrained={tmp_path / 'first/model.safetensors'}", "train.steps=1")
    last = train(run)
    architecture = json.loads((last / "model.json").read_text())["architecture"]
    assert (architecture["rgb_mean"], architecture["rgb_std"]) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    network, _ = checkpoint.load_exported(last)
    assert network.encoders["rgb"].mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_pretrained_inputs_reach_the_network(make, reference):
    file = reference.checkpoints / "last/model.safetensors"
    stem = "backbones.depth.conv_stem.weight"
    started, scratch, alone = (
        trainer_of(make("teacher", *overrides)).updater.engine.weights()[stem]
        for overrides in (
            (f"model.pretrained={file}",),
            (),
            (f"model.pretrained={file}", "model.pretrained_inputs=[rgb]"),
        )
    )
    assert torch.equal(alone, scratch) and not torch.equal(alone, started)
    with pytest.raises(
        UserError, match=r"model\.pretrained_inputs: 'rbg' is not a task of \S+; use one of its tasks: semseg, depth"
    ):
        _ = make("teacher", "model.pretrained_inputs=[rbg]").manifest


def test_bf16_trains_on_a_cpu_beside_fp32(make):
    """Networks of several precisions in one process: a student's and its teacher's may differ."""
    full, half = (make("plain", f"train.precision={name}", f"experiment={name}") for name in ("fp32", "bf16"))
    for run in (full, half):
        train(run)
    stored = load_file(half.checkpoints / "last/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float32, torch.int64}
    assert losses(half) == pytest.approx(losses(full), rel=0.1)
    assert losses(half) != losses(full)
