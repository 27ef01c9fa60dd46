"""Angles between stored unit vectors: the rounding to 8 bits is not an angle."""

import numpy as np
import pytest
from tiny import NORMALS

from shards.kinds.vectors import ANGLE


def directions(count: int = 500) -> np.ndarray:
    """Return unit vectors ``(1, count, 3)`` as they are read from a shard: of a length that rounding has changed."""
    vectors = np.random.default_rng(0).normal(size=(1, count, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    stored = NORMALS.storage.decode(NORMALS.storage.encode(vectors))
    assert np.ptp(np.linalg.norm(stored, axis=-1)) > 0.005
    return stored


def test_the_truth_is_at_no_angle_to_itself():
    truth = directions()
    assert NORMALS.storage.score(truth, truth) == "0.0° off"
    assert NORMALS.storage.score(truth * np.float32(0.5), truth) == "0.0° off"
    assert NORMALS.storage.score(-truth, truth) == "180.0° off"
    assert NORMALS.storage.score(truth, np.zeros_like(truth)) == ""
    assert NORMALS.storage.score(np.zeros_like(truth), truth) == "90.0° off"


@pytest.mark.parametrize(("degrees", "differ"), [(ANGLE - 0.1, False), (ANGLE + 0.1, True)])
def test_the_limit_of_a_difference_does_not_depend_on_lengths(degrees, differ):
    angle = np.radians(degrees)
    one, other = np.array([[[0, 0, 1.0]]]), np.array([[[np.sin(angle), 0, np.cos(angle)]]])
    for length in (0.97, 1, 1.03):
        assert NORMALS.storage.differ(one * length, other).item() == differ
    assert NORMALS.storage.differ(one, 0 * other).item(), "no direction differs from any"
