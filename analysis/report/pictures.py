"""Pictures embedded in the page, with alternative texts."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shards.tasks import Task

WIDTH = 320
"""Maximum width of a picture in pixels."""
Limits = tuple[float, float] | None


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Args:
        source: a data URI.
        alt: the alternative text.
        caption: the caption; ``detail`` follows on its own line.
        number: number of its experiment, if it is a prediction.
        outline: an SVG path drawn over it, in the coordinates of ``size`` (width, height).
    """

    source: str
    size: tuple[int, int]
    alt: str
    caption: str
    detail: str = ""
    number: int | None = None
    outline: str = ""


def photo(rgb: np.ndarray) -> str:
    """Return the data URI of an RGB array, ``(H, W, 3)`` uint8."""
    return _uri(Image.fromarray(rgb), Image.Resampling.BOX, quality=80)


def drawing(task: Task, label: np.ndarray, limits: Limits) -> str:
    """Return the data URI of a coloured label array: lossless if its colours must not blend."""
    image = Image.fromarray(task.storage.colourise(label, limits))
    if not task.storage.smooth:
        return _uri(image, Image.Resampling.NEAREST, lossless=True)
    return _uri(image, Image.Resampling.BOX, quality=85)


def shades(values: np.ndarray) -> str:
    """Return the data URI of values ``(H, W)`` in 0..1, in a perceptual colour map: dark is 0."""
    from matplotlib import colormaps

    colours = np.rint(colormaps["cividis"](values)[..., :3] * 255).astype(np.uint8)
    return _uri(Image.fromarray(colours), Image.Resampling.BOX, quality=85)


def ramp(task: Task, limits: tuple[float, float]) -> str:
    """Return the data URI of a quantity's colour scale, from its smallest value at the left to its largest."""
    return drawing(task, np.linspace(*limits, 256, dtype=np.float32)[None].repeat(8, 0), limits)


def class_key(task: Task, labels: Iterable[np.ndarray]) -> list[tuple[str, str]]:
    """Return the names and colours of the classes that occur in label arrays."""
    return [(name, "#{:02x}{:02x}{:02x}".format(*colour)) for name, colour in task.storage.occurring(labels)]


def _uri(image: Image.Image, method: Image.Resampling, **options: object) -> str:
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), method)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=6, **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
