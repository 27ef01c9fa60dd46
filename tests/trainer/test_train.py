"""The training loop: what follows from the seed, what a run leaves behind, and what it refuses."""

import json
import math
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from runs import LONG, assert_same_run, lines, weights
from safetensors.torch import load_file

from shards.errors import UserError
from shards.order import Order
from trainer.experiment import Experiment
from trainer.runs import artifacts, checkpoint, status
from trainer.runs.folder import claim
from trainer.runs.lease import Lease
from trainer.runs.status import Interrupted
from trainer.trainer import Trainer
from trainer.trainingdata import TrainingData
from trainer.trainstage import train, trainer_of
from trainer.updater import Updater
from trainer.validation import compare_with_best


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
    chosen = frames.by_shard(frames.to_train(config.inputs, config.tasks))
    order = Order([len(positions) for positions in chosen], config.seed, window=config.data.shuffle_window)
    traced = lines(reference.folder, "order")
    assert [(line["step"], line["epoch"]) for line in traced] == [(step, (step - 1) // 4) for step in range(1, 25)]
    for line in traced:
        first = (line["step"] - 1) % 4 * 4
        places = [order.locate(line["epoch"], position) for position in range(first, first + 4)]
        assert line["keys"] == [frames.readers[s].key(int(chosen[s][n])) for s, n in places]


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
    assert compare_with_best(metrics, name, best)[1] is better
    assert compare_with_best(metrics, name, None)[1] is True


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
        compare_with_best(metrics, name, None)


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
    with pytest.raises(UserError, match="has no task 'rbg'; use one of its tasks: semseg, depth"):
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


# Refusals


def test_fp16_needs_a_gpu(make):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=r"train\.precision: fp16 needs a GPU; use train\.precision=bf16 or fp32"):
        train(make("plain", "train.precision=fp16"))
    train(make("plain", "train.precision=bf16", "train.steps=1"))  # in the same folder


def test_a_finished_run_is_not_run_twice(finished, monkeypatch):
    monkeypatch.setattr("trainer.trainstage.Trainer", None)
    run = finished("student")
    before = weights(run.folder)
    assert train(run) == run.checkpoints / "last" and weights(run.folder) == before


def test_another_configuration_in_the_same_folder_is_refused(finished):
    with pytest.raises(UserError, match=r"train\.lr: holds a run with 0\.001, not 0\.5"):
        train(finished("student", "train.lr=0.5"))


def copy_checkpoints(reference: Experiment, run: Experiment) -> Path:
    """Copy the checkpoints of the long run into another run's folder and return the newest."""
    shutil.copytree(reference.checkpoints, run.checkpoints, ignore=shutil.ignore_patterns("last", "best"))
    path = artifacts.newest(run.checkpoints)
    assert path is not None
    return path


def test_a_checkpoint_of_another_network_is_refused(make, reference):
    run = make("plain", *LONG, "tasks=[semseg]")
    copy_checkpoints(reference, run)
    with pytest.raises(UserError, match=r"step-00000018/model\.safetensors: \S+: belongs to another architecture"):
        train(run)


def test_a_damaged_checkpoint_is_refused_and_the_one_before_it_taken_once_it_is_gone(make, reference):
    run = make("plain", *LONG)
    newest = copy_checkpoints(reference, run)
    shutil.copy(reference.folder / "metrics.jsonl", run.folder)
    shutil.copy(reference.folder / "order.jsonl", run.folder)
    (newest / "training.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=rf"{newest.name}/training\.safetensors: .*; delete this folder; the run then"):
        train(run)
    shutil.rmtree(newest)
    train(run)
    assert weights(run.folder) == weights(reference.folder) and lines(run.folder, "order") == lines(
        reference.folder, "order"
    )


def test_a_loss_that_stays_infinite_stops_the_run_and_keeps_the_last_good_checkpoint(make):
    run = make("plain", "train.steps=8", "train.log_every=100", "checkpoint.every=1", "train.lr=1e30")
    message = "the loss of 3 steps in a row is not finite"
    with pytest.raises(UserError, match=rf"plain/seed-0: step (\d): {message}; start another run .*lower") as error:
        train(run)
    stopped = int(str(error.value.key).removeprefix("step "))
    assert not (run.checkpoints / "last").exists()
    newest = artifacts.newest(run.checkpoints)
    assert newest is not None and newest.name == f"step-{stopped - 3:08d}"
    record = status.read(run.folder)
    assert record.state == "failed" and message in record.why


def test_a_step_without_a_finite_loss_leaves_no_trace_but_its_keys(make, monkeypatch):
    """Also in a later micro-batch than the first: the gradient of the earlier ones is dropped too."""
    run, original = (
        make("plain", "train.gradient_accumulation_steps=2", "train.log_every=1", "checkpoint.every=1"),
        Updater.predict,
    )
    calls = iter(range(100))

    def predict(learner, batch):
        if next(calls) == 5:  # the second micro-batch of step 3
            batch.rgb = batch.rgb.to(torch.float32).fill_(math.nan)
        return original(learner, batch)

    monkeypatch.setattr(Updater, "predict", predict)
    train(run)
    order, metrics = lines(run.folder, "order"), lines(run.folder)
    assert [line["step"] for line in metrics if "skipped" in line] == [3]
    assert next(line for line in metrics if "skipped" in line)["skipped"]["keys"] == order[2]["keys"]
    assert [line["step"] for line in metrics if "loss" in line] == [1, 2, 4], "the third has no loss to show"
    assert [path.name for path in sorted(run.checkpoints.glob("step-*"))] == ["step-00000001", "step-00000002"]

    other = make(
        "plain", "train.gradient_accumulation_steps=2", "train.steps=4", "checkpoint.every=1", "experiment=other"
    )
    monkeypatch.setattr(Updater, "predict", original)
    claim(other)
    trainer = trainer_of(other)
    batches = TrainingData.of(other.config, trainer.data.frames).batches(trainer.batches, 0, 4)
    for step in range(4):
        micro = [next(batches), next(batches)]
        if step == 2:
            trainer.step += 1
        else:
            trainer.optimise(micro)
    run_weights, expected = load_file(run.checkpoints / "last/model.safetensors"), trainer.updater.engine.weights()
    for name, tensor in run_weights.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, expected[name]), name


def test_a_checkpoint_every_so_many_minutes(make, monkeypatch):
    run = make("plain", "train.steps=6", "checkpoint.every=2m", "checkpoint.keep=9")
    clock = iter(range(0, 10_000, 50))  # seconds between two looks at the clock
    monkeypatch.setattr("trainer.checkpointing.time", SimpleNamespace(monotonic=lambda: next(clock)))
    train(run)
    assert [path.name for path in sorted(run.checkpoints.glob("step-*"))] == ["step-00000003"]


def test_a_run_that_another_process_trains_is_refused(make):
    run = make("plain")
    with (
        Lease.take(run.folder),
        pytest.raises(UserError, match=rf"seed-0: is in use by process {os.getpid()} on \S+; wait"),
    ):
        train(run)
    assert status.read(run.folder) is None, "what another says of it stays"
    train(run)
    record = status.read(run.folder)
    assert (record.stage, record.state, record.why, record.ranks) == ("train", "finished", None, 1)


def test_global_batch_and_accumulation_must_fit(make):
    with pytest.raises(
        UserError, match=r"train\.global_batch_size: 4 samples cannot be cut into 1 ranks × 3 accumulation steps"
    ):
        train(make("plain", "train.gradient_accumulation_steps=3"))


def test_no_prepared_data_set(make, tmp_path):
    with pytest.raises(UserError, match=r"data\.path: is not a prepared data set; prepare the data set"):
        train(make("plain", f"data.path={tmp_path / 'nowhere'}"))


def test_a_single_value_is_too_little_for_batch_norm(make):
    options = ("train.global_batch_size=1", "data.crop=32x32", "train.gradient_accumulation_steps=1")
    with pytest.raises(UserError, match=r"train\.global_batch_size: 1 frame of 32x32 is too little .*; give each"):
        train(make("plain", *options))


def test_a_task_or_backbone_that_does_not_exist(make):
    with pytest.raises(UserError, match=r"MANIFEST\.json: has no task 'foo'; use one of its tasks: semseg, depth"):
        train(make("plain", "inputs=[rgb, foo]"))
    with pytest.raises(UserError, match=r"MANIFEST\.json: has no task 'normals'; use one of its tasks: semseg, depth"):
        train(make("plain", "tasks=[normals]"))
    with pytest.raises(UserError, match=r"model\.backbone: timm has no model 'hrnet_w19'; did you mean"):
        train(make("plain", "model.backbone=hrnet_w19"))


# Interruption, within this process (tests/trainer/test_continuing.py starts real ones)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda signum: signum.name)
def test_a_signal_stops_after_the_step_at_hand_with_a_checkpoint(make, signum, monkeypatch):
    run = make("plain", "train.steps=8", "train.log_every=5")
    original, before = Trainer.optimise, signal.getsignal(signum)

    def optimise(trainer, micro):
        result = original(trainer, micro)
        if trainer.step == 3:
            os.kill(os.getpid(), signum)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "optimise", optimise)
        with pytest.raises(Interrupted, match=f"stopped at step 3 by {signum.name}; start the same command again"):
            train(run)
    assert signal.getsignal(signum) == before
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000003"]
    train(run)
    assert [line["step"] for line in lines(run.folder, "order")] == list(range(1, 9))
    undisturbed = make("plain", "train.steps=8", "train.log_every=5", f"run.path={run.folder}-undisturbed")
    train(undisturbed)
    assert weights(run.folder) == weights(undisturbed.folder) and lines(run.folder) == lines(undisturbed.folder)


def test_a_signal_in_the_last_step_stops_what_follows_the_training(make, monkeypatch):
    run, original = make("plain"), Trainer.after_step

    def after_step(trainer, records):
        original(trainer, records)
        if trainer.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "after_step", after_step)
    with pytest.raises(Interrupted, match="plain/seed-0: finished, and stopped by SIGTERM before anything else"):
        train(run)
    assert checkpoint.load_exported(run.checkpoints / "last")[1]["step"] == 4
