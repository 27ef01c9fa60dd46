"""A few of many, evenly spaced: the frames of pictures and samples of a data set that is too large to be read whole."""

import numpy as np


def evenly_spaced(length: int, count: int) -> np.ndarray:
    """Return ``count`` indices of ``length`` things, from the first to the last; all where there are fewer. int64
    ``(min(length, count),)``, ascending and each once."""
    return np.linspace(0, length - 1, min(length, count)).round().astype(np.int64)
