"""Pseudo-labels against the truth, on labels whose confidence and faults are known."""

import numpy as np
import pytest

from analysis.report.confidence import Counts, LabelQuality, from_statistics, measure_quality, pool
from shards.labels import LabelShards
from shards.manifest import Manifest
from shards.read import Readers
from shards.tasks import IGNORE, Task, palette
from trainer.pseudolabels.kept import column

AB = Task("t", "classes", classes=("a", "b"), colours=palette(2))
SURE, UNSURE = 0.955, 0.545  # in the middle of their hundredths


def truths(manifest: Manifest, name: str) -> dict[str, np.ndarray]:
    readers, found = Readers(manifest, "train"), {}
    for number in range(len(readers.shards)):
        reader = readers[number]
        found |= {reader.key(i): reader.decode(i)[name] for i in range(len(reader))}
    return found


def halves(shape: tuple[int, int], left: float, right: float) -> np.ndarray:
    values = np.full(shape, left, np.float32)
    values[:, shape[1] // 2 :] = right
    return values


@pytest.fixture
def teacher(make, scenes_dataset, write_labels):
    """Its labels are right and sure in the left half of each frame, wrong and unsure in the right half. There are
    labels of all 24 frames, but 8 show their truth."""
    experiment = make("teacher")
    task, labels, confidence = scenes_dataset.task("semseg"), {}, {}
    for number, (key, truth) in enumerate(truths(scenes_dataset, "semseg").items()):
        wrong = ((truth.astype(int) + 1) % len(task.classes)).astype(np.uint8)
        labels[key] = np.where(halves(truth.shape, 1, 0) > 0, truth, wrong)
        confidence[key] = halves(truth.shape, SURE, UNSURE - 0.0001 * number)
    write_labels(experiment.labels, scenes_dataset, task, labels, confidence)
    return experiment


def test_what_is_kept_and_what_is_right(teacher, scenes_dataset):
    found = measure_quality(teacher, scenes_dataset.task("semseg"))
    assert (found.labelled, found.inspected, found.with_truth) == (16, 16, 16), "8 frames show their truth"
    kept, right = found.counts.total.kept[0], found.counts.total.accuracy[0]
    assert (kept[0], kept[54], kept[55], kept[90], kept[96]) == (1, 1, 0.5, 0.5, 0)
    assert (right[0], right[55], right[90]) == (0.5, 1, 1) and np.isnan(right[96])


def test_by_class_what_counts_is_the_predicted_one(teacher, scenes_dataset):
    task = scenes_dataset.task("semseg")
    found = measure_quality(teacher, task)
    hidden = [frame.key for frame in found.frames]
    labels = LabelShards(teacher.labels, scenes_dataset, "train", task, None)
    arrays = {frame.key: labels.read(frame.shard, frame.key) for frame in found.frames}
    truth, label = (np.stack([of[key] for key in hidden]) for of in (truths(scenes_dataset, "semseg"), arrays))
    for index in range(len(task.classes)):
        mine = label == index
        expected = (truth == label)[mine].mean() if mine.any() else np.nan
        assert found.counts.accuracy[index, 0] == pytest.approx(expected, nan_ok=True)
        assert found.counts.labelled[index].sum() == mine.sum()


def test_reliability_and_its_error(teacher, scenes_dataset):
    counts = measure_quality(teacher, scenes_dataset.task("semseg")).counts
    share, confidence, accuracy = counts.reliability()
    assert (share[9], share[5]) == (0.5, 0.5) and np.nansum(share) == 1
    hidden = [frame.confidence for frame in measure_quality(teacher, scenes_dataset.task("semseg")).frames]
    unsure = 2 * np.mean(hidden) - 0.955  # of what confidences are exactly, and not of the middles of their bins
    assert confidence[9] == pytest.approx(0.955, abs=1e-5) and confidence[5] == pytest.approx(unsure, abs=1e-5)
    assert (accuracy[9], accuracy[5]) == (1, 0) and np.isnan(accuracy[0])
    assert counts.calibration_error == pytest.approx(0.5 * 0.045 + 0.5 * unsure, abs=1e-5)


def test_the_most_and_the_least_confident_frames(teacher, scenes_dataset):
    found = measure_quality(teacher, scenes_dataset.task("semseg"))
    most, least = found.examples(3)
    assert [f.confidence for f in most] == sorted((f.confidence for f in found.frames), reverse=True)[:3]
    assert [f.confidence for f in least] == sorted(f.confidence for f in found.frames)[:3]
    assert most[0].accuracy == 0.5
    assert all(len(of) == 8 for of in found.examples(50)), "no frame is both"


def test_many_frames_are_sampled_evenly(teacher, scenes_dataset):
    every = measure_quality(teacher, scenes_dataset.task("semseg")).frames
    few = measure_quality(teacher, scenes_dataset.task("semseg"), frames=4)
    assert (few.labelled, few.inspected) == (16, 4)
    assert [f.key for f in few.frames] == [every[i].key for i in (0, 5, 10, 15)]


def test_without_the_data_set_only_the_kept_fractions_are_known(scenes_dataset, finished):
    done, task = finished("teacher"), scenes_dataset.task("semseg")
    statistics = Manifest.load(done.labels, kind="labels").statistics["train"]["semseg"]
    found, seen = from_statistics(task, statistics), measure_quality(done, task)
    assert np.array_equal(found.counts.labelled, seen.counts.labelled) and found.labelled == seen.labelled
    assert np.isnan(found.counts.accuracy).all() and not found.frames


def test_a_truth_that_is_missing_counts_as_kept_only():
    label, confidence = np.array([[0, 1]], np.uint8), np.array([[0.955, 0.545]], np.float32)
    half = Counts.of(AB, label, confidence, np.array([[IGNORE, 1]], np.uint8))
    none = Counts.of(AB, label, confidence, None)
    assert (half.with_truth.sum(), half.correct.sum(), none.with_truth.sum(), none.labelled.sum()) == (1, 1, 0, 2)
    assert np.isnan(half.accuracy[0, 0]) and half.accuracy[1, 0] == 1


def test_labels_without_a_confidence_are_measured_as_predictions_are(make, scenes_dataset, write_labels):
    experiment, task = make("plain"), scenes_dataset.task("depth")
    depths = truths(scenes_dataset, "depth")
    write_labels(experiment.labels, scenes_dataset, task, {key: depth + 0.5 for key, depth in depths.items()})
    found = measure_quality(experiment, task)
    assert found.labelled == 8 and found.counts is None and not found.frames
    (metrics,) = found.metrics
    assert metrics["rmse"] == pytest.approx(0.5, abs=1e-3)
    assert pool([found, found]).metrics == [metrics, metrics], "of each seed"


def test_a_threshold_between_hundredths_has_a_place():
    assert [column(threshold) for threshold in (0, 0.9, 0.905, 0.999)] == [0, 90, 90, 99]


def test_seeds_are_pooled(teacher, scenes_dataset):
    one = measure_quality(teacher, scenes_dataset.task("semseg"))
    both = pool([one, one])
    assert both.labelled == 32 and np.array_equal(both.counts.correct, 2 * one.counts.correct)
    assert both.counts.calibration_error == pytest.approx(one.counts.calibration_error)
    nothing = LabelQuality(one.task, None, [], 0)
    assert pool([nothing, one]).counts is one.counts and pool([one, nothing]).counts is one.counts
