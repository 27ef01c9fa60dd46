"""One loader over one workload, in a process of its own: first batch, samples per second, peak memory.

    python -m benchmarks.peers.readers LOADER FOLDER WORKLOAD WORKERS [RESUME]

Prints a JSON line. Every loader reads the same encoded bytes, crops them to the same size and gives batches of the same
tensors: ``rgb`` uint8 ``(B, 3, H, W)``, in memory as decoded (channels last), ``depth`` float32 in metres and
``semseg`` uint8 ``(B, H, W)``. Loaders differ in the order of samples. With ``check`` in the workload, the line holds a
hash of each sample's tensors instead, by which loaders are compared.

The peers decode with the workload's ``decoder``, ``pillow`` or ``imagecodecs``; ours as it does by default, with
imagecodecs where that is installed, or with Pillow alone.
"""

import hashlib
import importlib
import io
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

MEMBERS = {"rgb": ("rgb.jpg", "rgb.png"), "depth": ("depth.png",), "semseg": ("semseg.png",)}
Sample = dict[str, torch.Tensor]
WORKLOAD: dict[str, Any] = {"depth_scale": 0.001, "decoder": "pillow"}
"""Of the measured workload: metres per stored step of depth, and the decoder of peers."""


class Decode:
    """Decodes a sample's files, by extension, into tensors with channels last. May be pickled for worker processes.

    Args:
        crop: height and width of a random window; None for whole images.
    """

    def __init__(self, crop: tuple[int, int] | None) -> None:
        self.crop, self.scale, self.decoder = crop, WORKLOAD["depth_scale"], WORKLOAD["decoder"]

    def __call__(self, files: Mapping[str, bytes]) -> Sample:
        sample: Sample = {}
        window: tuple[int, int] | None = None
        for name, extensions in MEMBERS.items():
            extension = next(extension for extension in extensions if extension in files)
            array = self.image(files[extension], extension)
            if self.crop:
                height, width = self.crop
                window = window or (
                    random.randrange(array.shape[0] - height + 1),
                    random.randrange(array.shape[1] - width + 1),
                )
                array = array[window[0] : window[0] + height, window[1] : window[1] + width]
            if name == "depth":
                array = array.astype(np.float32) * np.float32(self.scale)
            sample[name] = torch.from_numpy(np.array(array))
        return sample

    def image(self, data: bytes, extension: str) -> np.ndarray:
        if self.decoder == "pillow":
            return np.asarray(Image.open(io.BytesIO(data)))
        import imagecodecs

        return imagecodecs.jpeg8_decode(data) if extension.endswith("jpg") else imagecodecs.png_decode(data)


def stack(samples: list[Sample]) -> Sample:
    return channels_first({name: torch.stack([sample[name] for sample in samples]) for name in MEMBERS})


def channels_first(batch: Sample) -> Sample:
    """Return a batch whose RGB is ``(B, 3, H, W)``, without moving it in memory."""
    return batch | {"rgb": batch["rgb"].permute(0, 3, 1, 2)}


def loose(folder: Path) -> list[dict[str, Path]]:
    """The files of every sample of a folder that holds each in files of its own."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((folder / "loose").iterdir()):
        key, _, extension = path.name.partition(".")
        found.setdefault(key, {})[extension] = path
    return list(found.values())


class Memory(threading.Thread):
    """The most memory that this process and those below it ever had, shared pages counted once (PSS), in MB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self) -> None:
        while True:
            self.most = max(self.most, sum(map(pss, family(os.getpid()))))
            time.sleep(0.2)


def family(process: int) -> Iterator[int]:
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def pss(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:"))


def main() -> None:
    loader, folder, workers = sys.argv[1], Path(sys.argv[2]), int(sys.argv[4])
    workload = json.loads(sys.argv[3])
    resume = int(sys.argv[5]) if len(sys.argv) > 5 else 0
    importlib.import_module("benchmarks.peers.readers").WORKLOAD.update(workload)  # which this script is not
    check = workload.get("check", False)
    crop = tuple(workload["crop"]) if workload["crop"] and not check else None
    torch.set_num_threads(1)
    memory = Memory()
    memory.start()
    module = importlib.import_module(f"benchmarks.peers.{loader.partition(':')[0]}")
    make: Callable[..., Iterator[Sample]] = module.batches
    imported = time.perf_counter()
    stream = make(folder, workload["batch"], workers, crop, resume=resume, **module.variant(loader.partition(":")[2]))
    if check:
        print(json.dumps({name: sorted(hashes) for name, hashes in sample_hashes(stream).items()}))
    else:
        remaining = iter(stream)
        next(remaining)
        began = time.perf_counter()
        count = sum(len(batch["rgb"]) for batch in remaining)
        rate = count / (time.perf_counter() - began) if count else None
        line = {"start": imported - BEGAN, "first": began - imported, "rate": rate, "memory": memory.most}
        print(json.dumps(line))
    sys.stdout.flush()
    os._exit(0)  # without waiting for the loader's workers


def sample_hashes(stream: Iterator[Sample]) -> dict[str, set[str]]:
    """Return, by name, a hash of type, shape and values of each sample's tensor; of RGB with its layout in memory."""
    hashes: dict[str, set[str]] = {name: set() for name in MEMBERS}
    for batch in stream:
        for name in MEMBERS:
            for tensor in batch[name]:
                layout = f"{tensor.dtype} {tuple(tensor.shape)} {tensor.stride() if name == 'rgb' else ''}"
                values = tensor.contiguous().numpy().tobytes()
                hashes[name].add(hashlib.sha256(layout.encode() + values).hexdigest()[:16])
    return hashes


def plain(text: str) -> dict[str, Any]:
    """The options of a loader without variants."""
    return {}


if __name__ == "__main__":
    main()
