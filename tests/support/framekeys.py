"""Keys of the frames of a split that a mask selects, without the data set class whose selections are tested."""

import numpy as np

from shards.frames import Frames


def keys_by_shard(frames: Frames, mask: np.ndarray) -> list[list[str]]:
    """Return the selected keys of each shard, in stored order."""
    selected = []
    for number, (start, end) in enumerate(zip(frames.starts[:-1], frames.starts[1:], strict=True)):
        reader = frames.readers[number]
        selected.append([reader.key(int(position)) for position in np.flatnonzero(mask[start:end])])
    return selected


def keys_of(frames: Frames, mask: np.ndarray) -> list[str]:
    """Return the selected keys, in stored order."""
    return [key for keys in keys_by_shard(frames, mask) for key in keys]
