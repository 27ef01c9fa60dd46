"""One loader over one workload, in a process of its own: first batch, samples a second, peak memory.

    python -m benchmarks.peers.readers LOADER FOLDER WORKLOAD WORKERS [RESUME]

Prints a JSON line. Every loader reads the same encoded bytes, decodes them with Pillow (ours as it does, with
imagecodecs where that is installed, and with Pillow as well), cuts the same size out of them and gives batches of the
same tensors: ``rgb`` uint8 ``(B, 3, H, W)``, ``depth`` float32 in metres and ``semseg`` uint8 ``(B, H, W)``. Which
samples follow each other is the loader's.
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
STEP = 0.001
"""Metres of a stored step of depth."""
Sample = dict[str, torch.Tensor]


def decode(files: Mapping[str, bytes], crop: tuple[int, int] | None) -> Sample:
    """A sample's files, by extension, as tensors."""
    found: Sample = {}
    window: tuple[int, int] | None = None
    for name, extensions in MEMBERS.items():
        data = next(files[extension] for extension in extensions if extension in files)
        array = np.asarray(Image.open(io.BytesIO(data)))
        if crop:
            window = window or (
                random.randrange(array.shape[0] - crop[0] + 1),
                random.randrange(array.shape[1] - crop[1] + 1),
            )
            array = array[window[0] : window[0] + crop[0], window[1] : window[1] + crop[1]]
        if name == "depth":
            tensor = torch.from_numpy(array.astype(np.float32) * np.float32(STEP))
        else:
            tensor = torch.from_numpy(np.array(array))
        found[name] = tensor.permute(2, 0, 1).contiguous() if tensor.ndim == 3 else tensor
    return found


class Decode:
    """:func:`decode` for worker processes, which have to be given it by pickle."""

    def __init__(self, crop: tuple[int, int] | None) -> None:
        self.crop = crop

    def __call__(self, files: Mapping[str, bytes]) -> Sample:
        return decode(files, self.crop)


def stack(samples: list[Sample]) -> Sample:
    return {name: torch.stack([sample[name] for sample in samples]) for name in MEMBERS}


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
    crop = tuple(workload["crop"]) if workload["crop"] else None
    torch.set_num_threads(1)
    memory = Memory()
    memory.start()
    module = importlib.import_module(f"benchmarks.peers.{loader.partition(':')[0]}")
    make: Callable[..., Iterator[Sample]] = module.batches
    imported = time.perf_counter()
    stream = make(folder, workload["batch"], workers, crop, resume=resume, **module.variant(loader.partition(":")[2]))
    first = next(iter_ := iter(stream))
    began = time.perf_counter()
    count, digest = 0, hashlib.sha256()
    for batch in iter_:
        count += len(batch["rgb"])
    ended = time.perf_counter()
    for name in MEMBERS:
        digest.update(f"{name} {first[name].dtype} {tuple(first[name].shape)}".encode())
    print(
        json.dumps(
            {
                "start": imported - BEGAN,
                "first": began - imported,
                "rate": count / (ended - began) if count else None,
                "memory": memory.most,
                "form": digest.hexdigest()[:12],
            }
        )
    )
    sys.stdout.flush()
    os._exit(0)  # without waiting for the loader's workers


def plain(text: str) -> dict[str, Any]:
    """The options of a loader without variants."""
    return {}


if __name__ == "__main__":
    main()
