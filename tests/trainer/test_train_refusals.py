"""What is not trained, and what stops a run."""

import math
import os
import shutil
from types import SimpleNamespace

import pytest
import torch
from runs import LONG, copy_checkpoints, lines, weights
from safetensors.torch import load_file

from shards.errors import UserError
from trainer.runs import artifacts, status
from trainer.runs.folder import claim
from trainer.runs.lease import Lease
from trainer.trainingdata import TrainingData
from trainer.trainstage import train, trainer_of
from trainer.updater import Updater


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
    message = "the loss or a gradient of 3 steps in a row is not finite"
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


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_without_a_finite_gradient_is_skipped_too(make, monkeypatch, precision):
    """Its loss is finite, and the weights would not be."""
    run, original = make("plain", f"train.precision={precision}", "train.log_every=1"), Updater.predict
    calls = iter(range(100))

    def predict(learner, batch):
        predictions = original(learner, batch)
        if next(calls) == 1:
            predictions.final["depth"].register_hook(lambda gradient: gradient * math.inf)
        return predictions

    monkeypatch.setattr(Updater, "predict", predict)
    train(run)
    metrics = lines(run.folder)
    assert [line["step"] for line in metrics if "skipped" in line] == [2]
    assert [line["step"] for line in metrics if "loss" in line] == [1, 3, 4]


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
    tasks = r"\S+; use one of its tasks: semseg, depth"
    for key, option, name in (
        ("inputs", "inputs=[rgb, foo]", "foo"),
        ("tasks", "tasks=[normals]", "normals"),
        (r"labels\.normals", "labels.normals=3", "normals"),
    ):
        with pytest.raises(UserError, match=rf"plain\.yaml: {key}: '{name}' is not a task of {tasks}"):
            train(make("plain", option))
    with pytest.raises(UserError, match=r"depth; or call one normals in dataset\.yaml, whatever its folder \(files:\)"):
        train(make("plain", "tasks=[normals]"))
    with pytest.raises(UserError, match=r"model\.backbone: timm has no model 'hrnet_w19'; did you mean"):
        train(make("plain", "model.backbone=hrnet_w19"))
