"""Budgets: numbers of frames that cannot be meant are refused."""

import pytest

from shards.errors import UserError
from shards.frames import Frames


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budgets": {"depth": -1}}, "labels.depth: is -1; give a whole number from 0 up"),
        ({"budgets": {"depth": None}, "only": -2}, "frames: is -2; give a whole number from 0 up"),
        ({"dev": -1}, "dev: is -1; give a whole number from 0 up"),
    ],
)
def test_a_negative_number_of_frames_is_refused(tiny_dataset, options, message):
    """As an index it would mean all but that many."""
    with pytest.raises(UserError, match=message):
        Frames(tiny_dataset, "train", seed=0, **options)
