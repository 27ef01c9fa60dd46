"""A folder of raw frames that tests change, and its source."""

import struct
import textwrap
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shards.sources.folder import Folder

HEIGHT, WIDTH = 4, 6


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(np.asarray(array))
    image.save(path, **options)
    return path


def save_bits(path, bits, colour_type, width, row):
    """Write a PNG of one row, with bit depths that Pillow does not write."""
    chunks = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")):
        chunks += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    path.write_bytes(b"".join(chunks))
    return path


def picture(seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, channels)).astype(np.uint8)


def filled(value, dtype=np.uint8):
    return np.full((HEIGHT, WIDTH), value, dtype)


def declare(root, text):
    (root / "dataset.yaml").write_text(textwrap.dedent(text))


@pytest.fixture
def root(tmp_path):
    """Return a folder of four frames, two with classes (0 = no label, 1..3) and three with depth in mm."""
    root = tmp_path / "warehouse"
    for i in range(4):
        save(root / f"rgb/{i:04d}.png", picture(i))
    for i in (0, 1):
        save(root / f"semseg/{i:04d}.png", filled(i + 1))
    for i in (0, 2, 3):
        save(root / f"depth/{i:04d}.png", filled(1500 + i, np.uint16))
    (root / "train.txt").write_text("0002\n0000\n0001\n")
    (root / "val.txt").write_text("0003\n")
    return root


def warehouse(root, **changes):
    options: dict[str, Any] = {"classes": ["floor", "shelf", "person"], "ignore": 0, "offset": 1}
    return Folder(root, **(options | changes))
