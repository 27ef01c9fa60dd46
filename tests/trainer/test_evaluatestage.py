"""Evaluation: metrics against plain arithmetic, the result's row, and when evaluation is repeated."""

import json
import shutil

import numpy as np
import pytest
import torch

from shards.errors import UserError
from shards.pack import pack
from shards.read import Readers
from shards.sources.scenes import Scenes
from trainer import evaluatestage as module
from trainer.augment import to_tensors
from trainer.conditions import evaluation_facts
from trainer.evaluatestage import describe, evaluate
from trainer.experiment import Experiment
from trainer.pseudolabels.stage import label
from trainer.runs import artifacts, checkpoint
from trainer.runtime import make_accelerator
from trainer.stages import run
from trainer.trainstage import train


@pytest.fixture
def evaluations(monkeypatch) -> list[str]:
    """A list that grows: the names of the experiments whose networks are evaluated."""
    names = []
    original = module.evaluate_network

    def record(experiment, *arguments, **options):
        names.append(experiment.config.experiment)
        return original(experiment, *arguments, **options)

    monkeypatch.setattr(module, "evaluate_network", record)
    return names


def test_metrics_are_those_of_plain_arithmetic(finished, scenes_dataset):
    experiment = finished("teacher")
    network, _ = checkpoint.load_exported(experiment.checkpoints / "last")
    network.eval()
    reader = Readers(scenes_dataset, "val")[0]
    confusion, errors = np.zeros((17, 17)), []
    for position in range(6):
        arrays = reader.decode(position)
        tensors = to_tensors(arrays, scenes_dataset.tasks)
        with torch.no_grad():
            final = network({"rgb": tensors["rgb"][None] / 255, "depth": tensors["depth"][None]}).final
        classes = final["semseg"][0].argmax(0).numpy()
        np.add.at(confusion, (arrays["semseg"], classes), 1)
        errors.append(final["depth"][0, 0].numpy() - arrays["depth"])
    hits, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    metrics = json.loads((experiment.folder / "result.json").read_text())["metrics"]
    assert metrics["semseg"]["miou"] == pytest.approx((hits[union > 0] / union[union > 0]).mean(), rel=1e-3)
    assert metrics["depth"]["rmse"] == pytest.approx(np.sqrt(np.square(errors).mean()), rel=1e-4)
    for name, value in enumerate(metrics["semseg"]["iou"]):
        assert (value is None) == (union[name] == 0)


def test_the_row_says_what_was_trained_on_what(finished):
    row = json.loads((finished("student").folder / "result.json").read_text())
    expected = {
        "experiment": "student",
        "dataset": "scenes",
        "seed": 0,
        "inputs": ["rgb"],
        "tasks": ["semseg", "depth"],
        "budget": {"semseg": 8, "depth": 16},
        "frames": 16,
        "labels": {"semseg": 8, "depth": 16},
        "pseudo_labels": {"semseg": 8},
        "normalise": "labelled",
        "backbone": "test_efficientnet",
        "pretrained": False,
        "size": [32, 64],
        "crop": None,
        "steps": 4,
        "samples_seen": 16,
        "validation_frames": 6,
        "validation_labels": {"semseg": 6, "depth": 6},
    }
    assert {key: row[key] for key in expected} == expected
    assert row["checkpoints"] == {"last": row["metrics"]}
    assert {"torch", "commit", "threads"} <= row["environment"].keys()
    teacher = json.loads((finished("teacher").folder / "result.json").read_text())
    assert (teacher["frames"], teacher["labels"]) == (8, {"semseg": 8, "depth": 8})


def test_the_row_says_what_to_type_to_get_it_again(finished_root, configs):
    """For a teacher its own command, without the overrides that concern the student alone."""
    for name in ("student", "teacher"):
        row = json.loads((finished_root / f"scenes/{name}/seed-0/result.json").read_text())
        assert row["command"] == ["tutelage", "run", str(configs / f"{name}.yaml"), f"run.root={finished_root}"]


def test_a_teachers_command_holds_nothing_of_the_students(make):
    teacher = make("student", "loss.normalise=all", "experiment=other", "seed=3").teacher("semseg")
    assert [word.partition("=")[0] for word in teacher.command[3:]] == ["run.root", "seed"]


def test_a_run_is_found_again_where_it_is_now(finished, tmp_path, scenes_dataset):
    old = finished("student").folder
    folder = old.rename(tmp_path / "moved")
    experiment = Experiment.of_run(folder, tmp_path / "data")
    assert (experiment.folder, experiment.config.data.path) == (folder, str(tmp_path / "data"))
    assert Experiment.of_run(folder).manifest.sha256 == scenes_dataset.sha256
    assert Experiment.of_run(folder).evaluation_frames.count == 6


def test_last_and_best_are_both_measured_and_one_is_chosen(finished):
    experiment = finished("teacher", "evaluate.checkpoint=best")
    assert evaluate(finished("teacher")).checkpoints.keys() == {"last", "best"}
    row = evaluate(experiment)
    best = artifacts.read_exported(experiment.checkpoints / "best")
    assert row.metrics == row.checkpoints["best"] and row.steps == best["step"]
    assert row.metrics["semseg"]["miou"] == pytest.approx(best["value"])
    assert json.loads((experiment.folder / "result.json").read_text()) == json.loads(json.dumps(row.to_json()))


def test_it_is_evaluated_again_only_when_something_changed(finished, evaluations):
    evaluate(finished("teacher"))
    evaluate(finished("teacher", "evaluate.batch_size=2", "label.threshold=0.5"))
    assert evaluations == []
    assert evaluate(finished("teacher", "val=2")).validation_frames == 2
    assert len(evaluations) == 2, "last and best"
    evaluate(finished("teacher", "val=2"))
    assert len(evaluations) == 2
    experiment = finished("student", "evaluate.split=val")
    network, _ = checkpoint.load_exported(experiment.checkpoints / "last")
    checkpoint.export(experiment.checkpoints / "last", network.state_dict(), network.architecture, 4)
    evaluate(experiment)
    assert len(evaluations) == 2, "the same weights, written again"
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    checkpoint.export(experiment.checkpoints / "last", network.state_dict(), network.architecture, 5)
    assert evaluate(experiment).steps == 5
    assert len(evaluations) == 3


def test_the_teachers_labels_are_not_needed_to_measure_a_student_again(finished):
    before = evaluate(finished("student"))
    shutil.rmtree(finished("teacher").labels)
    again = evaluate(finished("student", "evaluate.resolution=label"))
    assert (again.frames, again.labels, again.pseudo_labels) == (before.frames, before.labels, before.pseudo_labels)
    (finished("student").folder / "result.json").unlink()
    with pytest.raises(UserError, match="has not labelled"):
        evaluate(finished("student"))


def test_a_network_that_was_trained_in_fp16_is_evaluated_and_labels_without_a_gpu(finished, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for name in ("teacher", "student"):
        path = finished(name).folder / "config.yaml"
        path.write_text(path.read_text().replace("precision: fp32", "precision: fp16"))
    assert evaluate(finished("student", "train.precision=fp16", "evaluate.resolution=label")).metrics["semseg"]
    assert train(finished("student", "train.precision=fp16")).name == "last", "a finished run needs none, either"
    shutil.rmtree(finished("teacher").labels)
    assert label(finished("teacher", "train.precision=fp16"))["semseg"]["frames"] == 8


def test_every_seed_is_measured_on_the_same_validation_frames(make):
    """``val`` frames are drawn, so a deviation over seeds must not come from the frames."""

    def drawn_frames(*overrides: str) -> list[int]:
        return np.flatnonzero(make("plain", "val=3", *overrides).evaluation_frames.chosen).tolist()

    seeds = range(6)
    assert len({str(drawn_frames(f"seed={seed}")) for seed in seeds}) == 1
    assert len({str(drawn_frames(f"val_seed={seed}")) for seed in seeds}) > 1
    own_frames = [drawn_frames(f"seed={seed}", "val_seed=null") for seed in seeds]
    assert own_frames == [drawn_frames(f"val_seed={seed}") for seed in seeds], "as in old runs: each one's own"


def test_figures_on_frames_that_another_seed_drew_are_not_taken_over(finished, evaluations):
    conditions = [
        evaluate(finished("student", *overrides)).to_json()["asked"]
        for overrides in ([], ["val=3"], ["val=3", "val_seed=null"])
    ]
    assert [asked.get("val_seed") for asked in conditions] == [None, 0, None]
    assert "val_seed" not in conditions[0], "all frames: nothing is drawn, so old figures of all frames are still these"
    assert len(evaluations) == 2
    drawn = [evaluation_facts(finished("teacher", "val=3", overrides)) for overrides in ("val_seed=0", "val_seed=null")]
    assert drawn[0] == drawn[1] | {"val_seed": 0}, "nor is a best value"


def test_the_batch_does_not_change_the_figures(finished):
    experiment = finished("student")
    network, _ = checkpoint.load_exported(experiment.checkpoints / "last")
    rows = [
        module.evaluate_network(
            finished("student", f"evaluate.batch_size={batch}"), network, make_accelerator("fp32"), show=False
        )
        for batch in (1, 4, 6)
    ]
    for row in rows[1:]:
        assert row["semseg"]["pixels"] == rows[0]["semseg"]["pixels"] == 6 * 32 * 64
        assert row["depth"]["rmse"] == pytest.approx(rows[0]["depth"]["rmse"], rel=1e-5)


def test_frames_that_are_set_aside_can_be_evaluated_on(make):
    overrides = ("dev=4", "labels.depth=12", "evaluate.split=dev", "evaluate.every=1", "train.global_batch_size=6")
    experiment = make("plain", *overrides)
    train(experiment)
    row = evaluate(experiment)
    assert row.validation_frames == 4 and row.frames == 12
    assert row.metrics["depth"]["pixels"] == 4 * 32 * 64
    lines = (experiment.folder / "metrics.jsonl").read_text()
    assert '"dev": {' in lines and '"val": {' not in lines


def test_a_network_with_inputs_is_evaluated_on_frames_that_carry_them(make, tiny_dataset, caplog):
    overrides = [
        f"data.path={tiny_dataset.folder}",
        "labels.semseg=null",
        "labels.depth=null",
        "train.global_batch_size=2",
    ]
    experiment = make("teacher", *overrides, "train.steps=1", "evaluate.every=0")
    with caplog.at_level("INFO"):
        result = run(experiment)
    frames = experiment.evaluation_frames
    carried = int(frames.visible["depth"].sum())
    assert 0 < carried < frames.count
    assert result.metrics["depth"]["pixels"] == sum(
        int((Readers(tiny_dataset, "val")[n].decode(i).get("depth", np.zeros(1)) > 0).sum())
        for n, count in enumerate((3, 2))
        for i in range(count)
    )
    assert (result.validation_frames, result.validation_labels) == (4, {"semseg": 3, "depth": 4})
    assert "  3 of 4 frames have semseg" in caplog.messages and "frames have depth" not in caplog.text


def test_frames_of_several_sizes_are_evaluated_whole_where_training_crops(make, tmp_path):
    class Mixed(Scenes):
        def load(self, split, position):
            return Scenes(6, 3, ((32, 64), (64, 96))[position % 2], self.seed).load(split, position)

    mixed = pack(Mixed(6, 3, (32, 64)), tmp_path / "mixed", samples_per_shard=3)
    options = ("labels.semseg=null", "labels.depth=null", "data.crop=32x64", "train.steps=1")
    experiment = make("plain", f"data.path={mixed.folder}", *options)
    train(experiment)
    assert evaluate(experiment).metrics["depth"]["pixels"] == 2 * 32 * 64 + 64 * 96


def test_refusals(make, finished):
    with pytest.raises(UserError, match=r"plain/seed-0/checkpoints: there is no last checkpoint; train it"):
        evaluate(make("plain"))
    with pytest.raises(UserError, match=r"there is no best checkpoint; train it .* with evaluate\.every set"):
        evaluate(finished("student", "evaluate.checkpoint=best"))
    with pytest.raises(UserError, match=r"data\.size: holds a run with None, not '16x32'"):
        evaluate(finished("student", "data.size=16x32"))
    with pytest.raises(UserError, match="dev: no frames are set aside; set dev to a number"):
        evaluate(finished("student", "evaluate.split=dev"))


def test_lines_that_describe_metrics():
    metrics = {"semseg": {"miou": 0.25, "iou": [0.5, None], "pixels": 3}, "depth": {"rmse": 1.23456, "abs_rel": None}}
    assert list(describe(metrics)) == ["semseg: miou 0.25, pixels 3", "depth: rmse 1.235"]
