"""Pictures that live in the page itself, with a text for readers who cannot see them."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shards.tasks import Task

WIDTH = 320
"""Pixels of a picture at most."""
Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Args:
        source: a data URI.
        alt: what is to be seen.
        caption: what it is; ``detail`` follows on a line of its own.
        number: its experiment's, where it is a prediction.
        outline: the path of an SVG over it, in ``size`` (width, height).
    """

    source: str
    size: tuple[int, int]
    alt: str
    caption: str
    detail: str = ""
    number: int | None = None
    outline: str = ""


def photo(rgb: np.ndarray) -> str:
    """The data URI of ``(H, W, 3)`` uint8."""
    return _uri(Image.fromarray(rgb), Image.Resampling.BOX, quality=80)


def drawing(task: Task, label: np.ndarray, limits: Limits) -> str:
    """The data URI of a label array in its colours: exact where one must not run into the other."""
    image = Image.fromarray(task.storage.colourise(label, limits))
    if not task.storage.smooth:
        return _uri(image, Image.Resampling.NEAREST, lossless=True)
    return _uri(image, Image.Resampling.BOX, quality=85)


def shades(values: np.ndarray) -> str:
    """The data URI of ``(H, W)`` in 0..1, in a perceptual colour map: dark is 0."""
    from matplotlib import colormaps

    colours = np.rint(colormaps["cividis"](values)[..., :3] * 255).astype(np.uint8)
    return _uri(Image.fromarray(colours), Image.Resampling.BOX, quality=85)


def ramp(task: Task, limits: tuple[float, float]) -> str:
    """The data URI of a quantity's colours from the smallest to the largest value of a scale, left to right."""
    return drawing(task, np.linspace(*limits, 256, dtype=np.float32)[None].repeat(8, 0), limits)


def class_key(task: Task, labels: Iterable[np.ndarray]) -> list[tuple[str, str]]:
    """Names and colours of what occurs in label arrays."""
    return [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in task.storage.occurring(labels)]


def _uri(image: Image.Image, method: Image.Resampling, **options: object) -> str:
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), method)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=6, **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
