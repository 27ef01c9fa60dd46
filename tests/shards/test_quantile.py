"""The limits that keep a share of every class, also where all confidences lie within a hundredth."""

import numpy as np
import pytest

from shards.quantile import COUNTS, COUNTS_NEAR_1, STEPS_TO_1, counts_near_1, quantile_limits
from shards.statistics import merge
from shards.tasks import Task, palette
from trainer.pseudolabels.kept import confidence_counts

TASK = Task("semseg", "classes", ("a", "b", "never"), palette(3))


def statistics_of(label: np.ndarray, confidence: np.ndarray, task: Task = TASK) -> dict:
    counts = {COUNTS: confidence_counts(task, label, confidence), COUNTS_NEAR_1: counts_near_1(task, label, confidence)}
    return task.storage.statistics(label) | counts


@pytest.fixture
def frame():
    """Return a label and confidences: those of class 1 lie within 0.99..1."""
    random = np.random.default_rng(0)
    label = random.integers(0, 2, (100, 160)).astype(np.uint8)
    confidence = 1 - random.random((100, 160)) * np.where(label == 1, 0.0099, 0.8)
    return label, confidence.astype(np.float32)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_a_share_is_kept_of_a_class_whose_confidences_are_within_a_hundredth(frame, share):
    label, confidence = frame
    limits, total = quantile_limits(statistics_of(*frame), share)
    kept = confidence > limits[label]
    for number in (0, 1):
        in_class = label == number
        finest = 0.015 if number == 0 else 0.09 * share + 0.002  # a hundredth of 0.8; an eighth of an octave, a step
        assert share <= kept[in_class].mean() <= share + finest
        if share < 1:
            assert confidence[in_class & kept].min() > confidence[in_class & ~kept].max()
    assert total == kept.mean()


def test_a_task_without_classes_has_one_limit(frame):
    label, confidence = frame
    depth = Task("depth", "scalar", scale=0.001, unit="m")
    limits, share = quantile_limits(statistics_of(label + 1.0, confidence, depth), 0.1)
    assert limits.shape == (1,) and 0.1 <= share == (confidence > limits[0]).mean() <= 0.11


def test_counts_near_1_are_those_of_the_last_hundredth(frame):
    label, confidence = frame
    confidence = confidence.copy()
    confidence[0, :6] = 0.99, 0.99002, 1, 0.99998, 0.99999, 0.5
    statistics = statistics_of(label, confidence)
    near = np.reshape(statistics[COUNTS_NEAR_1], (3, -1))
    assert near.shape[1] == len(STEPS_TO_1)
    np.testing.assert_array_equal(near.sum(1), np.reshape(statistics[COUNTS], (3, -1))[:, -1])


def test_labels_of_earlier_versions_are_read_by_hundredths(frame):
    """Also where only some of the shards are theirs, whose counts near 1 are too few."""
    new, old = statistics_of(*frame), statistics_of(*frame)
    del old[COUNTS_NEAR_1]
    for statistics in (old, merge(TASK, [old, new])):
        limits, share = quantile_limits(statistics, 0.1)
        assert limits[1] == np.float32(0.99) and share > 0.5
    assert quantile_limits(merge(TASK, [new, new]), 0.1)[0][1] > 0.998


def test_confidences_that_cannot_be_told_apart_are_all_kept():
    label = np.zeros((4, 4), np.uint8)
    limits, share = quantile_limits(statistics_of(label, np.ones((4, 4), np.float32)), 0.1)
    assert share == 1 and limits[0] == np.float32(0.99998)
    assert quantile_limits(statistics_of(label[:0], np.ones((0, 4), np.float32)), 0.1)[1] is None
