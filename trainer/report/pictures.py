"""Pictures that live in the page itself, with a text for readers who cannot see them."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shards.tasks import IGNORE, Task
from trainer.report.svg import percent

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
    """The data URI of a label array in its colours: exact for classes, so that each is one colour."""
    image = Image.fromarray(task.storage.colourise(label, limits))
    if task.kind == "classes":
        return _uri(image, Image.Resampling.NEAREST, lossless=True)
    return _uri(image, Image.Resampling.BOX, quality=85)


def shades(values: np.ndarray) -> str:
    """The data URI of ``(H, W)`` in 0..1, in a perceptual colour map: dark is 0."""
    from matplotlib import colormaps

    colours = np.rint(colormaps["cividis"](values)[..., :3] * 255).astype(np.uint8)
    return _uri(Image.fromarray(colours), Image.Resampling.BOX, quality=85)


def ramp(task: Task, limits: tuple[float, float]) -> str:
    """The data URI of a metric task's colours from the smallest to the largest value of a scale, left to right."""
    return drawing(task, np.linspace(*limits, 256, dtype=np.float32)[None].repeat(8, 0), limits)


def ball(task: Task) -> str:
    """The data URI of a ball that faces the viewer: the colours of unit vectors (x right, y down, −z to the viewer)."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    inside = x**2 + y**2 < 1
    vectors = np.stack([x, y, -np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))], -1) * inside[..., None]
    return drawing(task, vectors.astype(np.float32), None)


def class_key(task: Task, occurring: Iterable[int]) -> list[tuple[str, str]]:
    """Names and colours of the classes that occur."""
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in task.colours]
    return [(task.classes[i], colours[i]) for i in sorted(occurring) if i != IGNORE]


def describe(task: Task, label: np.ndarray) -> str:
    """What a label array holds, in a few words: the classes that take most of it, or the range of its values."""
    if task.kind == "classes":
        counts = np.bincount(label[label != IGNORE], minlength=len(task.classes))
        largest = [index for index in np.argsort(-counts)[:3] if counts[index]]
        return ", ".join(f"{task.classes[i]} {percent(counts[i] / counts.sum())}" for i in largest) or "no label"
    if task.kind == "metric":
        values = label[label > 0]
        if not values.size:
            return "no label"
        low, middle, high = np.percentile(values, (0, 50, 100))
        return f"{low:.1f} to {high:.1f} {task.unit}, median {middle:.1f} {task.unit}"
    return "directions of surfaces"


def score(task: Task, label: np.ndarray, truth: np.ndarray) -> str:
    """How near a prediction is to the truth of one frame, in a few characters; empty where nothing is known."""
    if task.kind == "classes":
        known = truth != IGNORE
        return f"{percent((label == truth)[known].mean())} right" if known.any() else ""
    if task.kind == "metric":
        known = truth > 0
        return f"rmse {np.sqrt(np.square(label - truth)[known].mean()):.2f} {task.unit}" if known.any() else ""
    known = truth.any(-1)
    cosine = np.clip((label * truth).sum(-1)[known], -1, 1)
    return f"{np.degrees(np.arccos(cosine)).mean():.1f}° off" if known.any() else ""


def _uri(image: Image.Image, method: Image.Resampling, **options: object) -> str:
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), method)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=6, **options)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
