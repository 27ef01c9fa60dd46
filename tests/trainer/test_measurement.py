"""What is measured: the same labels that are predicted, stored and drawn, in one precision, at a size, in limits."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import DEPTH, SEMSEG
from torch.nn.functional import interpolate

from analysis.results.groups import group_results
from analysis.results.paper import Paper
from analysis.shown import ComparisonFrames
from shards.errors import UserError
from shards.labels import LabelShards
from shards.pack import pack
from shards.read import Readers
from shards.resize import resize_rgb
from shards.sources.scenes import Scenes
from trainer.conditions import measurement_of
from trainer.evaluatestage import evaluate, evaluate_network
from trainer.experiment import Experiment
from trainer.measurement import DEFAULT, Measurement
from trainer.predictor import Predictor
from trainer.pseudolabels.stage import label
from trainer.runs import checkpoint
from trainer.runs.result import Result
from trainer.runtime import make_accelerator
from trainer.trainstage import train


def depth_metrics(predicted: list[np.ndarray], truths: list[np.ndarray]) -> dict[str, float]:
    """Return the metrics computed with numpy from their textbook definitions."""
    p = np.concatenate([array.ravel() for array in predicted]).astype(np.float64)
    t = np.concatenate([array.ravel() for array in truths]).astype(np.float64)
    p, t = p[t > 0], t[t > 0]
    d = np.log(np.maximum(p, 0.001)) - np.log(t)
    ratio = np.exp(np.abs(d))
    return {
        "rmse": np.sqrt(np.mean((p - t) ** 2)),
        "mae": np.mean(np.abs(p - t)),
        "abs_rel": np.mean(np.abs(p - t) / t),
        "rmse_log": np.sqrt(np.mean(d**2)),
        "log10": np.mean(np.abs(d)) / np.log(10),
        "silog": np.std(d),
        **{f"delta{k}": np.mean(ratio < 1.25**k) for k in (1, 2, 3)},
        "pixels": len(p),
    }


def val_frames(experiment: Experiment) -> list[dict[str, np.ndarray]]:
    reader = Readers(experiment.manifest, "val")[0]
    return [reader.decode(position) for position in range(len(reader))]


def raw_outputs(experiment: Experiment, rgb: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the exported network's raw output for a picture that is resized to the network's input size."""
    network, _ = checkpoint.load_exported(experiment.checkpoints / "last")
    assert experiment.size
    pixels = torch.from_numpy(resize_rgb(rgb, experiment.size).copy()).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return network.eval()({"rgb": pixels.contiguous(memory_format=torch.channels_last)}).final


def shift_depth(experiment: Experiment) -> None:
    """Export the trained network again with its depths stretched and shifted so that about half are below 0."""
    network, facts = checkpoint.load_exported(experiment.checkpoints / "last")
    outputs = [raw_outputs(experiment, arrays["rgb"])["depth"] for arrays in val_frames(experiment)]
    last = [p for p in network.heads["depth"].parameters() if p.shape[0] == 1]  # weight and bias
    with torch.no_grad():
        last[-1] -= torch.cat(outputs).median()
        for parameter in last:
            parameter *= 20
    path = experiment.checkpoints / "last"
    checkpoint.export(path, network.state_dict(), network.architecture, facts["step"], size=experiment.size)


@pytest.mark.parametrize("options", [(), ("data.size=32x32", "evaluate.resolution=label")], ids=["network", "label"])
def test_negative_depths_are_raised_to_0_once_for_all_who_look_at_them(make, options):
    experiment = make("plain", "labels.semseg=16", "labels.depth=8", "train.steps=2", *options)
    train(experiment)
    shift_depth(experiment)
    predictor = Predictor(experiment.checkpoints / "last")
    frames = val_frames(experiment)
    raw = [
        interpolate(raw_outputs(experiment, frame["rgb"])["depth"], (32, 64), mode="bilinear", align_corners=False)
        for frame in frames
    ]
    expected = [np.maximum(output[0, 0].numpy(), 0) for output in raw]
    assert 0.2 < np.mean([depth == 0 for depth in expected]) < 0.8
    predicted = [predictor.predict({"rgb": frame["rgb"]})["depth"] for frame in frames]
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)
    assert np.min(predicted) == 0

    metrics = evaluate(experiment).metrics["depth"]
    truths = [frame["depth"] for frame in frames]
    assert metrics == pytest.approx(depth_metrics(predicted, truths), rel=1e-6)
    unclamped = depth_metrics([output[0, 0].numpy() for output in raw], truths)
    assert unclamped["rmse"] > 1.001 * metrics["rmse"], "what would have been measured without"

    label(experiment)
    stored = LabelShards(experiment.labels, experiment.manifest, "train", experiment.manifest.task("depth"), None)
    reader = Readers(experiment.manifest, "train")[0]
    for key in list(stored.keys(0))[:2]:
        rgb = reader.decode(reader.positions[key])["rgb"]
        reference = np.maximum(raw_outputs(experiment, rgb)["depth"][0, 0].numpy(), 0)
        stored_label = stored.read(0, key)
        np.testing.assert_allclose(stored_label, reference, atol=1.001 * stored.task.scale)
        assert np.array_equal(stored_label == 0, reference == 0) and (stored_label == 0).any()
    if not options:  # pictures are drawn at the size that the network sees
        drawn = ComparisonFrames([experiment], 6).predictions(experiment)
        assert all(
            np.array_equal(labels["depth"], prediction) for labels, prediction in zip(drawn, predicted, strict=True)
        )


@pytest.mark.parametrize(
    "options", [(), ("train.channels_last=false",), ("data.size=32x32", "evaluate.resolution=label")]
)
def test_evaluation_while_training_and_after_and_labels_are_of_one_precision(make, options):
    """fp32, however the network was trained: to the last digit."""
    experiment = make("plain", "train.precision=bf16", "evaluate.every=1", *options)
    train(experiment)
    lines = [json.loads(line) for line in (experiment.folder / "metrics.jsonl").read_text().splitlines()]
    row = evaluate(experiment)
    assert [line["val"] for line in lines if "val" in line][-1] == row.metrics

    network, _ = checkpoint.load_exported(experiment.checkpoints / "last")
    network.to(memory_format=torch.channels_last)
    forward = torch.autocast("cpu", torch.bfloat16)(type(network).forward)
    network.__class__ = type("Half", (type(network),), {"forward": forward})
    half = evaluate_network(experiment, network, make_accelerator("fp32"), show=False)
    assert half["depth"]["rmse"] != row.metrics["depth"]["rmse"], "or the test could not fail"

    label(experiment)
    task = experiment.manifest.task("semseg")
    stored = LabelShards(experiment.labels, experiment.manifest, "train", task, None)
    reader = Readers(experiment.manifest, "train")[0]
    predictor = Predictor(experiment.checkpoints / "last")
    for key in list(stored.keys(0))[:3]:
        rgb = reader.decode(reader.positions[key])["rgb"]
        logits = raw_outputs(experiment, rgb)["semseg"][0]
        stored_label, confidence = stored.read_unfiltered(0, key)
        assert np.array_equal(stored_label, logits.argmax(0).numpy())
        assert np.abs(confidence - logits.softmax(0).amax(0).numpy()).max() < 2e-5, "to a step of what is stored"
        if not options:
            assert np.array_equal(stored_label, predictor.predict({"rgb": rgb})["semseg"])


def test_at_the_labels_size_outputs_are_resized_and_not_labels(make):
    """Also where frames differ in size: each is then measured at its own size."""
    experiment = make("plain", "data.size=32x32", "train.steps=2")
    train(experiment)
    network_size = evaluate(experiment)
    at_label = make("plain", "data.size=32x32", "train.steps=2", "evaluate.resolution=label")
    row = evaluate(at_label)
    assert network_size.metrics["depth"]["pixels"] == 6 * 32 * 32
    assert row.metrics["depth"]["pixels"] == 6 * 32 * 64
    assert row.asked.resolution == "label" and network_size.asked.resolution == "network"
    confusion, depths = np.zeros((17, 17)), []
    frames = val_frames(experiment)
    for arrays in frames:
        final = raw_outputs(experiment, arrays["rgb"])
        larger = {name: interpolate(output, (32, 64), mode="bilinear")[0] for name, output in final.items()}
        np.add.at(confusion, (arrays["semseg"], larger["semseg"].argmax(0).numpy()), 1)
        depths.append(larger["depth"][0].clamp(min=0).numpy())
    hits, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    assert row.metrics["semseg"]["miou"] == pytest.approx((hits[union > 0] / union[union > 0]).mean(), rel=2e-3)
    expected = depth_metrics(depths, [frame["depth"] for frame in frames])
    assert row.metrics["depth"] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_frames_of_several_sizes_are_measured_at_their_own(make, tmp_path):
    class Mixed(Scenes):
        def load(self, split, position):
            return Scenes(6, 3, ((32, 64), (64, 96))[position % 2], self.seed).load(split, position)

    mixed = pack(Mixed(6, 3, (32, 64)), tmp_path / "mixed", samples_per_shard=3)
    options = ("labels.semseg=null", "labels.depth=null", "data.size=32x64", "train.steps=1")
    experiments = [
        make(
            "plain", f"data.path={mixed.folder}", *options, "evaluate.resolution=label", f"evaluate.batch_size={batch}"
        )
        for batch in (1, 3)
    ]
    train(experiments[0])
    network, _ = checkpoint.load_exported(experiments[0].checkpoints / "last")
    rows = [evaluate_network(experiment, network, make_accelerator("fp32"), show=False) for experiment in experiments]
    assert rows[0]["depth"]["pixels"] == 2 * 32 * 64 + 64 * 96
    predictor = Predictor(experiments[0].checkpoints / "last")
    frames = val_frames(experiments[0])
    predicted = [predictor.predict({"rgb": frame["rgb"]})["depth"] for frame in frames]
    assert {depth.shape for depth in predicted} == {(32, 64), (64, 96)}
    for row in rows:
        assert row["depth"] == pytest.approx(depth_metrics(predicted, [frame["depth"] for frame in frames]), rel=1e-5)


def test_an_input_is_seen_at_the_networks_size_while_its_truth_keeps_its_own(make):
    experiment = make("teacher", "data.size=32x32", "train.steps=1", "evaluate.every=0", "evaluate.resolution=label")
    train(experiment)
    assert evaluate(experiment).metrics["depth"]["pixels"] == 6 * 32 * 64


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [((480, 640), (45, 471), (41, 601)), ((240, 320), (22, 235), (20, 300)), ((96, 128), (9, 94), (8, 120))],
)
def test_the_window_of_eigen(size, rows, columns):
    truth = torch.ones(2, 1, *size)
    label_, kept = Measurement(crop="eigen").restrict(DEPTH, torch.ones(2, *size), truth)
    window = torch.zeros(size)
    window[slice(*rows), slice(*columns)] = 1
    assert torch.equal(kept, window.expand(2, 1, *size)) and torch.equal(label_, torch.ones(2, *size))
    centres = (torch.arange(size[0]) + 0.5) * 480 / size[0]
    assert torch.equal(window[:, size[1] // 2] > 0, (centres >= 45) & (centres < 471))
    classes = torch.zeros(2, *size, dtype=torch.uint8)
    assert Measurement(crop="eigen").restrict(SEMSEG, classes, classes)[1] is classes


def test_truth_outside_the_range_is_not_measured_and_predictions_are_clamped_into_it():
    truth = torch.tensor([0.0, 0.4, 0.5, 9.0, 10.0, 10.1])[None, None, None]
    predicted = torch.tensor([1.0, 1.0, 0.0, 12.0, 3.0, 1.0])[None, None]
    label_, kept = Measurement(ranges={"depth": (0.5, 10)}).restrict(DEPTH, predicted, truth)
    assert label_.flatten().tolist() == [1, 1, 0.5, 10, 3, 1]
    assert kept.flatten().tolist() == [0, 0, 0.5, 9, 10, 0]
    other = Measurement(ranges={"height": (0.5, 10)}).restrict(DEPTH, predicted, truth)
    assert other[0] is predicted and other[1] is truth


def test_range_and_window_in_a_row(finished):
    limits = ("evaluate.range.depth=[1.5, 4]", "evaluate.crop=eigen")
    plain, limited = evaluate(finished("student")), evaluate(finished("student", *limits))
    experiment = finished("student", *limits)
    predictor, frames = Predictor(experiment.checkpoints / "last"), val_frames(experiment)
    predicted = [predictor.predict({"rgb": frame["rgb"]})["depth"].clip(1.5, 4) for frame in frames]
    truths = [np.where((frame["depth"] >= 1.5) & (frame["depth"] <= 4), frame["depth"], 0) for frame in frames]
    for truth in truths:
        truth[:3] = truth[31:] = truth[:, :4] = truth[:, 60:] = 0  # rows 3 to 30, columns 4 to 59 of 32×64
    assert limited.metrics["depth"] == pytest.approx(depth_metrics(predicted, truths), rel=1e-5)
    assert limited.metrics["semseg"] == plain.metrics["semseg"]
    assert limited.asked.range == {"depth": (1.5, 4.0)} and limited.asked.crop == "eigen"


def test_runs_that_were_measured_differently_are_other_rows(finished, make):
    row = evaluate(finished("student"))
    old = row.to_json() | {"seed": 1}
    old["asked"] = {key: value for key, value in old["asked"].items() if key not in DEFAULT.to_json()}
    rows = [row, Result.from_json(old)]
    assert len(group_results(rows, Paper())) == 1, "a row from before there was a choice used the default"
    for seed, option in enumerate(("resolution=label", "range.depth=[1.5, 4]", "crop=eigen"), 2):
        rows.append(replace(evaluate(make("student", f"evaluate.{option}")), seed=seed))
    assert [len(group.results) for group in group_results(rows, Paper())] == [2, 1, 1, 1]
    shown = [group.setting["evaluate.range"] for group in group_results(rows, Paper())]
    assert shown == [None, None, "depth 1.5 to 4", None]


def test_refusals(make):
    for options, message in (
        (["evaluate.resolution=half"], "evaluate.resolution: 'half' is unknown; use one of network, label"),
        (["evaluate.crop=garg"], "evaluate.crop: 'garg' is unknown; use one of eigen, null"),
        (
            ["evaluate.range.depth=[4, 1]"],
            r"evaluate.range.depth: \[4.0, 1.0\] is not a range; give \[least, greatest\]",
        ),
        (["evaluate.range.depth=[4]"], r"evaluate.range.depth: \[4.0\] is not a range"),
    ):
        with pytest.raises(UserError, match=message):
            make("plain", *options)
    with pytest.raises(UserError, match=r"range\.semseg: has no range: it is not a task of kind scalar; leave it out"):
        train(make("plain", "evaluate.range.semseg=[0, 1]"))
    measurement_of(make("plain", "tasks=[semseg]", "evaluate.range.depth=[0, 1]"))  # depth is not predicted
