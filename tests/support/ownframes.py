"""Raw frames as a user has them: a folder of images, and of label images for some of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from shards.sources.scenes import Scenes


def write_frames(folder: Path, classes: int, size: tuple[int, int] = (32, 64), count: int = 15) -> None:
    """Write rendered rooms to ``rgb``, all with ``depth`` in millimetres and every other one with ``semseg``.

    Args:
        folder: the folder to write to; its subfolders may exist already.
        classes: number of classes that the rooms' classes are mapped to.
    """
    for name in ("rgb", "semseg", "depth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    source = Scenes(count, 0, size)
    for number in range(count):
        frame = source.load("train", number)
        Image.fromarray(np.asarray(frame.rgb)).save(folder / "rgb" / f"{number:03d}.jpg")
        depth = np.rint(frame.labels["depth"] * 1000).astype(np.uint16)
        Image.fromarray(depth).save(folder / "depth" / f"{number:03d}.png")
        if number % 2:
            semseg = (frame.labels["semseg"] % classes).astype(np.uint8)
            Image.fromarray(semseg).save(folder / "semseg" / f"{number:03d}.png")
