"""How many pseudo-labels a threshold keeps."""

import numpy as np
import pytest

from shards.statistics import merge
from shards.tasks import Task, palette
from trainer.pseudolabels.kept import CONFIDENCE, THRESHOLDS, confidence_counts, summary

TASK = Task("semseg", "classes", ("a", "b", "never"), palette(3))


def statistics_of(label: np.ndarray, confidence: np.ndarray) -> dict:
    return TASK.storage.statistics(label) | {CONFIDENCE: confidence_counts(TASK, label, confidence)}


def test_counts_agree_with_a_comparison_of_every_pixel():
    random = np.random.default_rng(0)
    label = random.integers(0, 2, (50, 80)).astype(np.uint8)
    confidence = random.random((50, 80), dtype=np.float32)
    confidence[:10] = random.integers(1, 101, (10, 80)) / 100  # on the thresholds
    for percent in range(100):
        threshold = percent / 100
        mask = confidence.astype(np.float64) > threshold
        entry = summary(TASK, statistics_of(label, confidence), threshold)
        assert entry["kept"] == pytest.approx(mask.mean())
        for number, name in enumerate(("a", "b")):
            assert entry["kept_by_class"][name] == pytest.approx(mask[label == number].mean())
        assert entry["kept_by_class"]["never"] is None
    assert entry["kept_by_threshold"] == {
        str(threshold): pytest.approx((confidence.astype(np.float64) > threshold).mean()) for threshold in THRESHOLDS
    }
    assert (entry["frames"], entry["pixels"], entry["threshold"]) == (1, 4000, 0.99)


def test_between_two_hundredths_the_lower_one_is_said_and_counted():
    """0.995 is counted at 0.99: no confidence is above 1."""
    confidence = np.full((2, 2), 0.999, np.float32)
    entry = summary(TASK, statistics_of(np.zeros((2, 2), np.uint8), confidence), 0.995)
    assert (entry["threshold"], entry["kept"]) == (0.99, 1)
    assert all(summary(TASK, statistics_of(np.zeros((2, 2), np.uint8), confidence), n / 100)["threshold"] == n / 100
               for n in range(100))  # fmt: skip


def test_frames_add_up():
    label = np.zeros((2, 2), np.uint8)
    parts = [statistics_of(label, np.full((2, 2), value, np.float32)) for value in (0.95, 0.95, 0.2)]
    entry = summary(TASK, merge(TASK, parts), 0.9)
    assert entry["frames"] == 3 and entry["pixels"] == 12
    assert entry["kept"] == entry["kept_by_class"]["a"] == pytest.approx(2 / 3)


def test_a_task_without_a_confidence_says_what_was_labelled():
    depth = Task("depth", "scalar", scale=0.001, unit="m")
    statistics = depth.storage.statistics(np.array([[1.0, 0.0], [2.0, 3.0]], np.float32))
    assert summary(depth, statistics, 0.9) == {"frames": 1, "pixels": 3}
