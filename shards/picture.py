"""Contact sheets: pictures in rows, with captions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from shards.atomic import atomic_file, disk_errors

_GAP = 6
_CAPTION = 20


def sheet(rows: Sequence[Sequence[np.ndarray | None]], captions: Sequence[str], height: int = 160) -> Image.Image:
    """Draw a grid of pictures with a caption over every column.

    Args:
        rows: ``(H, W, 3)`` uint8 pictures by row; None leaves a cell empty ("no label"). The first picture gives all
            cells their aspect ratio; pictures of another one are fitted into their cells, centred.
        captions: one for each column.
        height: height of a cell on the sheet, in pixels.
    """
    first = next(picture for row in rows for picture in row if picture is not None)
    width = round(height * first.shape[1] / first.shape[0])
    canvas = Image.new(
        "RGB",
        (len(captions) * (width + _GAP) + _GAP, len(rows) * (height + _GAP) + _GAP + _CAPTION),
        "white",
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for column, caption in enumerate(captions):
        draw.text((_GAP + column * (width + _GAP), _GAP), caption, fill="black", font=font)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            place = (_GAP + column * (width + _GAP), _CAPTION + _GAP + row * (height + _GAP))
            if picture is None:
                draw.rectangle((*place, place[0] + width - 1, place[1] + height - 1), fill="#eeeeee")
                draw.text((place[0] + 8, place[1] + 8), "no label", fill="#888888", font=font)
            else:
                image = Image.fromarray(picture)
                smooth = image.height > height or image.width > width  # enlarging a label keeps hard pixel edges
                method = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
                image = ImageOps.contain(image, (width, height), method)
                margin = (width - image.width) // 2, (height - image.height) // 2
                canvas.paste(image, (place[0] + margin[0], place[1] + margin[1]))
    return canvas


def save(image: Image.Image, path: str | Path) -> None:
    """Write a PNG atomically; its folder is created if needed."""
    with disk_errors(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        image.save(file, "PNG")
