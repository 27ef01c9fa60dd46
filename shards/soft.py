"""Soft labels: a teacher's class probabilities, in a few bytes per pixel.

For each pixel the k most probable classes are stored with their probabilities in steps of 1/255, at a resolution that
the teacher's configuration sets, as one 8-bit grayscale PNG of ``(2k·h, w)``: k planes of class numbers, the most
probable first, over k planes of steps. Of the other classes only the total probability is known, and a student learns
only that of them (:meth:`trainer.kinds.classes.ClassLearning.loss`).
"""

import io

import numpy as np
from PIL import Image

from shards.codec import MAX_PIXELS, open_image
from shards.errors import UserError
from shards.tasks import Task

STEPS = 255
MAX_STACKED = 2 * MAX_PIXELS
"""Limit of the pixels of all planes together; those of one plane have the limit of every image."""
MEMBER = "soft"
"""The part of a member's name between task and format: ``KEY.semseg.soft.png``."""


def quantise(classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Quantise the k most probable classes to the form in which they are stored and read.

    The cumulative sums of the probabilities are rounded, and the steps are their differences: so the steps of all
    classes add up to 255, those of any stored subset to at most 255, and the error of each is less than 1/255.

    Args:
        classes: ``(h, w, k)`` uint8, the most probable class first.
        probabilities: ``(h, w, k)``, the probabilities of these classes.

    Returns:
        ``(h, w, 2k)`` uint8: classes, then steps of 1/255.
    """
    sums = np.rint(np.cumsum(probabilities.astype(np.float64), axis=-1) * STEPS).clip(0, STEPS)
    steps = np.diff(sums, axis=-1, prepend=0).astype(np.uint8)
    return np.concatenate([classes, steps], axis=-1)


def encode_soft(soft: np.ndarray) -> bytes:
    """Encode a soft label ``(h, w, 2k)`` uint8 as PNG.

    Raises:
        UserError: when it has more than :data:`MAX_STACKED` values, so that it could not be read.
    """
    height, width, planes = soft.shape
    if soft.size > MAX_STACKED:
        message = f"soft labels of {planes} planes of {width}x{height} pixels are over the limit of {MAX_STACKED}"
        raise UserError(message, hint="store them smaller (label.soft_scale), or of fewer classes (label.soft)")
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(soft.transpose(2, 0, 1)).reshape(planes * height, width))
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_soft(task: Task, data: bytes, count: int) -> np.ndarray:
    """Decode a member ``KEY.TASK.soft.png`` to a soft label ``(h, w, 2k)`` uint8.

    Args:
        count: k, from the manifest.

    Raises:
        UserError: when the PNG does not decode, does not hold 2k planes, or its values are not a distribution.
    """
    if count < 1:
        raise UserError("is not declared in the manifest to hold soft labels", hint="label the data set again")
    image = open_image(data, "PNG", MAX_STACKED)
    if image.mode != "L" or image.height % (2 * count):
        message = f"is a {image.mode} image of {image.height} rows, not {2 * count} planes of 8 bits"
        raise UserError(message, hint="label the data set again")
    soft = np.asarray(image).reshape(2 * count, -1, image.width).transpose(1, 2, 0)
    if soft[..., :count].max(initial=0) >= len(task.classes) or soft[..., count:].sum(-1, dtype=np.int64).max() > STEPS:
        message = f"names a class over {len(task.classes) - 1}, or holds probabilities over 1"
        raise UserError(message, hint="label the data set again")
    return soft
