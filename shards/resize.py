"""A frame at another size: RGB by area, labels by nearest neighbour, so that no label value is invented."""

from collections.abc import Mapping

import numpy as np
from PIL import Image


def resize_rgb(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W, 3)`` uint8 to ``size`` (height, width): area average where it shrinks, bilinear where it grows."""
    height, width = size
    if rgb.shape[:2] == size:
        return rgb
    shrinks = height <= rgb.shape[0] and width <= rgb.shape[1]
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(rgb).resize((width, height), method))


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``(H, W)`` or ``(H, W, C)`` to ``size`` (height, width): the value under each new pixel's centre."""
    if label.shape[:2] == size:
        return label
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for new, old in zip(size, label.shape[:2], strict=True)
    )
    return np.ascontiguousarray(label[rows[:, None], columns])


def resize_frame(arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """A frame's arrays by name, ``rgb`` and labels, each at ``size`` (height, width)."""
    return {name: (resize_rgb if name == "rgb" else resize_label)(array, size) for name, array in arrays.items()}
