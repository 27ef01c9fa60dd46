"""Pseudo-labels against the ground truth, for labels with known confidence and errors."""

import numpy as np
import pytest

from analysis.report.confidence import Counts, LabelQuality, from_statistics, measure_quality, pool
from shards.dataset import ShardDataset
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.read import Readers
from shards.tasks import IGNORE, Task, palette
from trainer.pseudolabels.kept import column

AB = Task("t", "classes", classes=("a", "b"), colours=palette(2))
SURE, UNSURE = 0.955, 0.545  # each in the middle of a bin of 0.01


def truths(manifest: Manifest, name: str) -> dict[str, np.ndarray]:
    readers, labels = Readers(manifest, "train"), {}
    for number in range(len(readers.shards)):
        reader = readers[number]
        labels |= {reader.key(i): reader.decode(i)[name] for i in range(len(reader))}
    return labels


def halves(shape: tuple[int, int], left: float, right: float) -> np.ndarray:
    values = np.full(shape, left, np.float32)
    values[:, shape[1] // 2 :] = right
    return values


@pytest.fixture
def teacher(make, scenes_dataset, write_labels):
    """An experiment whose pseudo-labels are correct and confident in the left half of each frame, wrong and unsure in
    the right half. All 24 frames have pseudo-labels, and 8 of them show their ground truth."""
    experiment = make("teacher")
    task, labels, confidence = scenes_dataset.task("semseg"), {}, {}
    for number, (key, truth) in enumerate(truths(scenes_dataset, "semseg").items()):
        wrong = ((truth.astype(int) + 1) % len(task.classes)).astype(np.uint8)
        labels[key] = np.where(halves(truth.shape, 1, 0) > 0, truth, wrong)
        confidence[key] = halves(truth.shape, SURE, UNSURE - 0.0001 * number)
    write_labels(experiment.labels, scenes_dataset, task, labels, confidence)
    return experiment


def test_what_is_kept_and_what_is_right(teacher, scenes_dataset):
    quality = measure_quality(teacher, scenes_dataset.task("semseg"))
    assert (quality.labelled, quality.inspected, quality.with_truth) == (16, 16, 16), "8 frames show their truth"
    kept, accuracy = quality.counts.total.kept[0], quality.counts.total.accuracy[0]
    assert (kept[0], kept[54], kept[55], kept[90], kept[96]) == (1, 1, 0.5, 0.5, 0)
    assert (accuracy[0], accuracy[55], accuracy[90]) == (0.5, 1, 1) and np.isnan(accuracy[96])


def test_by_class_what_counts_is_the_predicted_one(teacher, scenes_dataset):
    task = scenes_dataset.task("semseg")
    quality = measure_quality(teacher, task)
    hidden = [frame.key for frame in quality.frames]
    labels = LabelShards(teacher.labels, scenes_dataset, "train", task, None)
    data = ShardDataset(scenes_dataset, "train")
    arrays = {frame.key: labels.read(data.locate(frame.index)[0], frame.key) for frame in quality.frames}
    truth, label = (np.stack([values[key] for key in hidden]) for values in (truths(scenes_dataset, "semseg"), arrays))
    for index in range(len(task.classes)):
        mask = label == index
        expected = (truth == label)[mask].mean() if mask.any() else np.nan
        assert quality.counts.accuracy[index, 0] == pytest.approx(expected, nan_ok=True)
        assert quality.counts.labelled[index].sum() == mask.sum()


def test_reliability_and_its_error(teacher, scenes_dataset):
    counts = measure_quality(teacher, scenes_dataset.task("semseg")).counts
    share, confidence, accuracy = counts.reliability()
    assert (share[9], share[5]) == (0.5, 0.5) and np.nansum(share) == 1
    hidden = [frame.confidence for frame in measure_quality(teacher, scenes_dataset.task("semseg")).frames]
    unsure = 2 * np.mean(hidden) - 0.955  # the mean of exact confidences, not of bin centres
    assert confidence[9] == pytest.approx(0.955, abs=1e-5) and confidence[5] == pytest.approx(unsure, abs=1e-5)
    assert (accuracy[9], accuracy[5]) == (1, 0) and np.isnan(accuracy[0])
    assert counts.calibration_error == pytest.approx(0.5 * 0.045 + 0.5 * unsure, abs=1e-5)


def test_the_most_and_the_least_confident_frames(teacher, scenes_dataset):
    quality = measure_quality(teacher, scenes_dataset.task("semseg"))
    most, least = quality.examples(3)
    assert [f.confidence for f in most] == sorted((f.confidence for f in quality.frames), reverse=True)[:3]
    assert [f.confidence for f in least] == sorted(f.confidence for f in quality.frames)[:3]
    assert most[0].accuracy == 0.5
    assert all(len(frames) == 8 for frames in quality.examples(50)), "no frame is both"


def test_many_frames_are_sampled_evenly(teacher, scenes_dataset):
    all_frames = measure_quality(teacher, scenes_dataset.task("semseg")).frames
    subset = measure_quality(teacher, scenes_dataset.task("semseg"), frames=4)
    assert (subset.labelled, subset.inspected) == (16, 4)
    assert [f.key for f in subset.frames] == [all_frames[i].key for i in (0, 5, 10, 15)]


def test_without_the_data_set_only_the_kept_fractions_are_known(scenes_dataset, finished):
    experiment, task = finished("teacher"), scenes_dataset.task("semseg")
    statistics = Manifest.load(experiment.labels, kind="labels").statistics["train"]["semseg"]
    summary, quality = from_statistics(task, statistics), measure_quality(experiment, task)
    assert np.array_equal(summary.counts.labelled, quality.counts.labelled) and summary.labelled == quality.labelled
    assert np.isnan(summary.counts.accuracy).all() and not summary.frames


def test_a_truth_that_is_missing_counts_as_kept_only():
    label, confidence = np.array([[0, 1]], np.uint8), np.array([[0.955, 0.545]], np.float32)
    partial_truth = Counts.of(AB, label, confidence, np.array([[IGNORE, 1]], np.uint8))
    no_truth = Counts.of(AB, label, confidence, None)
    assert (
        partial_truth.with_truth.sum(),
        partial_truth.correct.sum(),
        no_truth.with_truth.sum(),
        no_truth.labelled.sum(),
    ) == (1, 1, 0, 2)
    assert np.isnan(partial_truth.accuracy[0, 0]) and partial_truth.accuracy[1, 0] == 1


def test_labels_without_a_confidence_are_measured_as_predictions_are(make, scenes_dataset, write_labels):
    experiment, task = make("plain"), scenes_dataset.task("depth")
    depths = truths(scenes_dataset, "depth")
    write_labels(experiment.labels, scenes_dataset, task, {key: depth + 0.5 for key, depth in depths.items()})
    quality = measure_quality(experiment, task)
    assert quality.labelled == 8 and quality.counts is None and not quality.frames
    (metrics,) = quality.metrics
    assert metrics["rmse"] == pytest.approx(0.5, abs=1e-3)
    assert pool([quality, quality]).metrics == [metrics, metrics], "of each seed"


def test_a_threshold_between_hundredths_has_a_place():
    assert [column(threshold) for threshold in (0, 0.9, 0.905, 0.999)] == [0, 90, 90, 99]


def test_seeds_are_pooled(teacher, scenes_dataset):
    one = measure_quality(teacher, scenes_dataset.task("semseg"))
    pooled = pool([one, one])
    assert pooled.labelled == 32 and np.array_equal(pooled.counts.correct, 2 * one.counts.correct)
    assert pooled.counts.calibration_error == pytest.approx(one.counts.calibration_error)
    empty = LabelQuality(one.task, None, [], 0)
    assert pool([empty, one]).counts is one.counts and pool([one, empty]).counts is one.counts
