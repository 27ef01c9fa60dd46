"""A few of many: from the first to the last, in order, and each once."""

import numpy as np
import pytest

from shards.evenly import evenly_spaced


def test_from_the_first_to_the_last():
    assert evenly_spaced(9, 3).tolist() == [0, 4, 8]
    assert evenly_spaced(100, 4).tolist() == [0, 33, 66, 99]
    assert evenly_spaced(100, 1).tolist() == [0]


@pytest.mark.parametrize("length", [0, 1, 2, 7, 64, 1000])
@pytest.mark.parametrize("count", [0, 1, 3, 64])
def test_as_many_as_there_are_in_order_and_each_once(length, count):
    indices = evenly_spaced(length, count)
    assert len(indices) == min(length, count) and (np.diff(indices) > 0).all()
