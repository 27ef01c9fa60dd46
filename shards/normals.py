"""Surface normals from depth and the intrinsics of a pinhole camera.

A plane that does not pass through the camera has an inverse depth that is linear in pixel coordinates: with
``u = fx X/Z + cx`` and ``v = fy Y/Z + cy``,

    1/Z = a u + b v + c    if and only if    a fx X + b fy Y + (a cx + b cy + c) Z = 1,

so that ``-(a fx, b fy, a cx + b cy + c)`` is normal to it and faces the camera. (Over three pixels it is the cross
product of two back-projected tangents.) The noise of stereo and of structured light is even in inverse depth too, so
a plane is fitted to it by least squares, over a square window. To keep edges sharp, each pixel takes the plane of
the best fitting one of nine windows that hold it (Kuwahara et al., "Processing of RI-angiocardiographic images", 1976).
"""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import correlate1d

DOUBT = 1.0
"""Degrees: a pixel gets no normal where the standard error of the best plane's slope tilts it by more than this."""


def normals_of(depth: np.ndarray, intrinsics: Mapping[str, float], window: int = 3) -> np.ndarray:
    """Compute the unit normals of the surfaces in a depth map.

    Args:
        depth: z-depth ``(H, W)``, 0 = no measurement.
        intrinsics: ``fx``, ``fy``, ``cx``, ``cy`` in pixels of this map, with pixel centres at whole numbers.
        window: side of the windows in pixels, odd and at least 3: 3 for exact depth, more for depth from a sensor.

    Returns:
        float32 ``(H, W, 3)`` in the camera's frame, x right, y down, z forward, facing the camera. The zero vector
        where depth is missing, where every window reaches a pixel without depth, and where no plane fits.
    """
    steps = np.arange(window) - window // 2
    average, slope = np.full(window, 1 / window), steps / np.square(steps).sum()

    def over_windows(values: np.ndarray, down: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Weighted sums over each pixel's window; pixels outside the map count as not measured."""
        return correlate1d(correlate1d(values, down, 0, mode="constant"), across, 1, mode="constant")

    measured = depth > 0
    inverse = np.divide(1, depth, out=np.zeros(depth.shape), where=measured)
    whole = over_windows(measured.astype(float), average, average) > 1 - 0.5 / window**2
    mean = over_windows(inverse, average, average)
    a, b = over_windows(inverse, average, slope), over_windows(inverse, slope, average)
    explained = np.square(mean) + (np.square(a) + np.square(b)) * np.square(steps).mean()
    squared = over_windows(np.square(inverse), average, average) - explained
    misfit = np.where(whole, np.sqrt(np.maximum(squared, 0)), np.inf)

    least, plane = np.full(depth.shape, np.inf), np.zeros((3, *depth.shape))
    for down in (0, window // 2, -(window // 2)):
        for across in (0, window // 2, -(window // 2)):
            # values that np.roll wraps around belong to windows that leave the map, which are never whole
            candidate, *fit = (np.roll(values, (down, across), (0, 1)) for values in (misfit, a, b, mean))
            fit[2] = fit[2] + fit[0] * across + fit[1] * down  # at this pixel
            # a pixel may be off the plane of its neighbours
            candidate = np.maximum(candidate, np.abs(inverse - fit[2]) / 2)
            plane = np.where(candidate < least, fit, plane)
            least = np.minimum(candidate, least)
    a, b, value = plane
    row, column = np.indices(depth.shape)
    fx, fy, cx, cy = (intrinsics[name] for name in ("fx", "fy", "cx", "cy"))
    vectors = -np.stack([a * fx, b * fy, value - a * (column - cx) - b * (row - cy)], axis=-1)
    spread = np.sqrt(window * np.square(steps).sum())
    fits = (least * max(fx, fy) / spread < np.tan(np.radians(DOUBT)) * inverse)[..., None]
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros(vectors.shape), where=fits).astype(np.float32)
