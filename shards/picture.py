"""Contact sheets: pictures in rows, with captions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from shards.atomic import atomic_file, disk_errors

_GAP = 6
_CAPTION = 20
_SWATCH = 12


Colours = Sequence[tuple[str, tuple[int, int, int]]]
"""Names and the RGB colours that stand for them."""


def sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    captions: Sequence[str],
    height: int = 160,
    texts: Sequence[Sequence[str]] | None = None,
    keys: Sequence[Colours] = (),
) -> Image.Image:
    """Draw a grid of pictures with a caption over every column.

    Args:
        rows: ``(H, W, 3)`` uint8 pictures by row; None leaves a cell empty ("no label"). The first picture gives all
            cells their aspect ratio; pictures of another one are fitted into their cells, centred.
        captions: one for each column.
        height: height of a cell on the sheet, in pixels.
        texts: a line under each cell, by row; cut to the width of the cell.
        keys: what the colours of each column mean, listed under it.
    """
    first = next(picture for row in rows for picture in row if picture is not None)
    width = round(height * first.shape[1] / first.shape[0])
    pitch = height + _GAP + (_CAPTION if texts else 0)
    bottom = _CAPTION + _GAP + len(rows) * pitch
    canvas = Image.new(
        "RGB", (len(captions) * (width + _GAP) + _GAP, bottom + max(map(len, keys), default=0) * _CAPTION), "white"
    )
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    for column, caption in enumerate(captions):
        draw.text((_GAP + column * (width + _GAP), _GAP), caption, fill="black", font=font)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            place = (_GAP + column * (width + _GAP), _CAPTION + _GAP + row * pitch)
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
            if texts:
                draw.text((place[0], place[1] + height + 2), _cut(texts[row][column], font, width), "black", font)
    for column, key in enumerate(keys):
        for line, (name, colour) in enumerate(key):
            x, y = _GAP + column * (width + _GAP), bottom + line * _CAPTION
            draw.rectangle((x, y, x + _SWATCH, y + _SWATCH), fill=colour, outline="#888888")
            draw.text((x + _SWATCH + _GAP, y - 2), _cut(name, font, width - _SWATCH - _GAP), "black", font)
    return canvas


def _cut(text: str, font: Any, width: int) -> str:
    """Return as much of a text as fits into ``width`` pixels."""
    text = kept = text.replace("\N{NO-BREAK SPACE}", " ")  # which the font lacks
    while kept and font.getlength(kept if kept == text else f"{kept}...") > width:
        kept = kept[:-1]
    return text if kept == text else f"{kept}..."


def save(image: Image.Image, path: str | Path) -> None:
    """Write a PNG atomically; its folder is created if needed."""
    with disk_errors(Path(path)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        image.save(file, "PNG")
