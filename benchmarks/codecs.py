"""Decoders of JPEG and PNG compared: time per image, and whether the pixels are Pillow's.

    python -m benchmarks.codecs FOLDER [--images N] [--rounds N]

FOLDER has JPEG files in ``rgb``, and PNGs in ``depth`` (16-bit) and ``semseg`` (8-bit), as ``$TUTELAGE_NYUDV2`` has.
Each decoder that is installed decodes the same images from memory, in this thread, in turn in every round; the table
gives the median of the rounds. Besides Pillow and imagecodecs, which Tutelage can use, these are simplejpeg and
PyTurboJPEG (both libjpeg-turbo), pyspng (spng), and OpenCV:

    pip install simplejpeg PyTurboJPEG pyspng opencv-python-headless
"""

import argparse
import importlib
import importlib.metadata
import io
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Decode = Callable[[bytes], np.ndarray]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--images", type=int, default=50)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    print("| images | decoder | ms, median (spread) | pixels |\n|---|---|---|---|")
    for name, decoders in (("rgb", jpeg_decoders()), ("depth", png_decoders()), ("semseg", png_decoders())):
        images = [path.read_bytes() for path in sorted((options.folder / name).iterdir())[: options.images]]
        milliseconds: dict[str, list[float]] = {decoder: [] for decoder in decoders}
        for _ in range(options.rounds):
            for decoder, decode in decoders.items():
                start = time.perf_counter()
                for data in images:
                    decode(data)
                milliseconds[decoder].append(1000 * (time.perf_counter() - start) / len(images))
        for decoder, decode in decoders.items():
            values = sorted(milliseconds[decoder])
            spread = f"{statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})"
            print(f"| {name} | {decoder} | {spread} | {difference(images, decode, decoders['pillow'])} |")


def difference(images: list[bytes], decode: Decode, reference: Decode) -> str:
    """Return how a decoder's pixels differ from the reference's."""
    largest = 0
    for data in images:
        array, expected = decode(data), reference(data)
        if array.shape != expected.shape:
            return f"shape {array.shape}, not {expected.shape}"
        largest = max(largest, int(np.abs(array.astype(int) - expected.astype(int)).max()))
    return f"differ by up to {largest}" if largest else "equal"


def jpeg_decoders() -> dict[str, Decode]:
    """Return the installed decoders of JPEG to RGB, with their versions as names, ``pillow`` first."""
    decoders: dict[str, Decode] = {"pillow": pillow}
    if imagecodecs := installed("imagecodecs"):
        decoders[named("imagecodecs")] = imagecodecs.jpeg8_decode
    if simplejpeg := installed("simplejpeg"):
        decoders[named("simplejpeg")] = simplejpeg.decode_jpeg
    if turbojpeg := installed("turbojpeg"):
        with suppress(RuntimeError):  # without the library libturbojpeg
            turbo = turbojpeg.TurboJPEG()
            decoders[named("PyTurboJPEG")] = lambda data: turbo.decode(data, pixel_format=turbojpeg.TJPF_RGB)
    return decoders | opencv("COLOR_BGR2RGB")


def png_decoders() -> dict[str, Decode]:
    """Return the installed decoders of PNG with one channel, with their versions as names, ``pillow`` first."""
    decoders: dict[str, Decode] = {"pillow": pillow}
    if imagecodecs := installed("imagecodecs"):
        decoders[named("imagecodecs")] = imagecodecs.png_decode
    if pyspng := installed("pyspng"):
        decoders[named("pyspng")] = lambda data: pyspng.load(data).squeeze()
    return decoders | opencv(None)


def opencv(conversion: str | None) -> dict[str, Decode]:
    """Return OpenCV's decoder, with a conversion of colours; empty where it is not installed."""
    if not (cv2 := installed("cv2")):
        return {}

    def decode(data: bytes) -> np.ndarray:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        return cv2.cvtColor(image, getattr(cv2, conversion)) if conversion else image

    return {named("opencv-python-headless"): decode}


def installed(module: str) -> Any:
    """Return a module; None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def named(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


if __name__ == "__main__":
    main()
