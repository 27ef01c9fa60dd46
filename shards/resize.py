"""Resizing of frames: RGB by area, labels by nearest neighbour, so that no new label values appear."""

from collections.abc import Mapping

import numpy as np
from PIL import Image


def resize_rgb(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize ``(H, W, 3)`` uint8 to ``size`` (height, width): area average to shrink, bilinear to enlarge."""
    height, width = size
    if rgb.shape[:2] == size:
        return rgb
    shrinks = height <= rgb.shape[0] and width <= rgb.shape[1]
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(rgb).resize((width, height), method))


def resize_label(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize ``(H, W)`` or ``(H, W, C)`` to ``size`` (height, width): the value under each new pixel's centre."""
    if label.shape[:2] == size:
        return label
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(np.intp)
        for new, old in zip(size, label.shape[:2], strict=True)
    )
    return np.ascontiguousarray(label[rows[:, None], columns])


def resize_frame(arrays: Mapping[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Resize a frame's arrays by name, ``rgb`` and labels, to ``size`` (height, width)."""
    return {name: (resize_rgb if name == "rgb" else resize_label)(array, size) for name, array in arrays.items()}
