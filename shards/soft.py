"""Soft labels: what a teacher thinks of every class, in a few bytes a pixel.

Of each pixel the k most probable classes are stored and their probabilities, in steps of 1/255, at a scale of the
teacher's choosing, as one 8-bit grayscale PNG of ``(2k·h, w)``: k planes of class numbers, the most probable first,
over k planes of steps. Of the other classes only the rest of the mass is known, what they have together, and no more
than that is learnt of them (:meth:`trainer.kinds.classes.ClassLearning.loss`).
"""

import io

import numpy as np
from PIL import Image

from shards.codec import open_image
from shards.errors import UserError
from shards.tasks import Task

STEPS = 255
MEMBER = "soft"
"""Between the task's name and the format: ``KEY.semseg.soft.png``."""


def quantise(classes: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The k most probable classes in the form in which they are stored and read.

    Sums of the first j probabilities are rounded, and the steps are their differences: so the steps of all classes
    add up to 255, whatever is stored of them to no more, and each is off by less than 1/255.

    Args:
        classes: ``(h, w, k)`` uint8, the most probable class first.
        probabilities: ``(h, w, k)`` of these classes.

    Returns:
        ``(h, w, 2k)`` uint8: classes, then steps of 1/255.
    """
    sums = np.rint(np.cumsum(probabilities.astype(np.float64), axis=-1) * STEPS).clip(0, STEPS)
    steps = np.diff(sums, axis=-1, prepend=0).astype(np.uint8)
    return np.concatenate([classes, steps], axis=-1)


def encode_soft(soft: np.ndarray) -> bytes:
    """The PNG of a soft label ``(h, w, 2k)`` uint8."""
    height, width, planes = soft.shape
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(soft.transpose(2, 0, 1)).reshape(planes * height, width))
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def decode_soft(task: Task, data: bytes, kept: int) -> np.ndarray:
    """The soft label ``(h, w, 2k)`` uint8 of a member ``KEY.TASK.soft.png``.

    Args:
        kept: k, as the manifest says it.

    Raises:
        UserError: when the PNG does not decode, does not hold 2k planes, or holds what is not a distribution.
    """
    if kept < 1:
        raise UserError("is not said in the manifest to hold soft labels", hint="label the data set again")
    image = open_image(data, "PNG")
    if image.mode != "L" or image.height % (2 * kept):
        what = f"is a {image.mode} image of {image.height} rows, not {2 * kept} planes of 8 bits"
        raise UserError(what, hint="label the data set again")
    soft = np.asarray(image).reshape(2 * kept, -1, image.width).transpose(1, 2, 0)
    if soft[..., :kept].max(initial=0) >= len(task.classes) or soft[..., kept:].sum(-1, dtype=np.int64).max() > STEPS:
        what = f"names a class over {len(task.classes) - 1}, or holds probabilities over 1"
        raise UserError(what, hint="label the data set again")
    return soft
