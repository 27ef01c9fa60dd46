"""Outlines of the regions where two networks differ, as the path of an SVG."""

import numpy as np
from contourpy import contour_generator
from PIL import Image
from scipy.ndimage import gaussian_filter

_WIDTH = 160  # width in pixels at which outlines are computed: finer details are invisible on the page
_LEAST = 0.004  # share of the picture; smaller regions are dropped


def outline(mask: np.ndarray) -> str:
    """Return the outlines of a mask's larger regions as the ``d`` of an SVG path, in units of its pixels."""
    height, width = mask.shape
    scale = max(width / _WIDTH, 1)
    size = round(width / scale), round(height / scale)
    small = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BOX)
    smooth = gaussian_filter(np.pad(np.asarray(small), 1), 0.8)
    smooth[[0, -1]], smooth[:, [0, -1]] = 0, 0  # closes outlines at the picture's edge
    paths = []
    for points in contour_generator(z=smooth).lines(0.5):
        xy = (np.asarray(points) - 0.5) * scale
        if abs(_area(xy)) >= _LEAST * mask.size:
            paths.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in xy[:-1]) + "Z")
    return "".join(paths)


def _area(xy: np.ndarray) -> float:
    """Return the signed area of a polygon (shoelace formula)."""
    x, y = xy.T
    return 0.5 * float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))
