"""Budgets: numbers of frames that cannot be meant are refused."""

import pytest

from shards.errors import UserError
from shards.frames import Frames


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": {"depth": -1}}, "labels.depth: -1 frames; give 0 or more"),
        ({"budgets": {"depth": None}, "only": -2}, "frames: -2 frames; give 0 or more"),
        ({"dev": -1}, "dev: -1 frames; give 0 or more"),
    ],
)
def test_a_negative_number_of_frames_is_refused(tiny_dataset, options, message):
    """As an index it would mean all but that many."""
    with pytest.raises(UserError, match=message):
        Frames(tiny_dataset, "train", seed=0, **options)
