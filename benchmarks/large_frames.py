"""Time and memory for frames of Cityscapes' size: a teacher step on 512x1024 windows, and labelling of whole frames.

    python -m benchmarks.large_frames [--backbone NAME] [--threads N]

Renders a few rooms at 1024x2048 in the layout of the Cityscapes download (labelIds, disparity, camera), prepares them
with ``tutelage prepare cityscapes``, and runs configs/cityscapes/mmmt-d.yaml. The frames are synthetic; their size,
members and file formats are those of Cityscapes. Each stage runs in a separate process, to measure its peak memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from shards.sources.scenes import Scenes

SIZE = (1024, 2048)
IDS = np.array([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31], np.uint8)
BASELINE, FX = 0.22, 2262.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--backbone", default="hrnet_w18")
    arguments.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder / "raw", train=6, val=1)
        settings = [
            f"data.path={folder / 'shards'}",
            f"run.root={folder / 'runs'}",
            f"model.backbone={options.backbone}",
        ]
        settings += ["model.pretrained=false", "labels.semseg=4", "data.num_workers=0", "val=1"]
        config = "configs/cityscapes/mmmt-d.yaml"
        raw, packed = str(folder / "raw"), str(folder / "shards")
        stage("prepare 7 frames", ["prepare", "cityscapes", raw, packed, "--jobs", "1"], options.threads)
        one_step = stage("train 1 step of 2", ["train", config, *settings, "train.steps=1"], options.threads)
        longer = [*settings, "train.steps=3", f"run.path={folder / 'longer'}"]
        three_steps = stage("train 3 steps of 2", ["train", config, *longer], options.threads)
        stage("label 2 whole frames", ["label", config, *settings, "train.steps=1"], options.threads)
        print(f"a step without start-up: {(three_steps - one_step) / 2:.1f} s")


def stage(title: str, words: list[str], threads: int) -> float:
    """Run a command of tutelage in a new process and print its time and peak memory."""
    start = time.perf_counter()
    script = "import resource, sys; from launchers.cli import main; status = main(sys.argv[1:]); "
    script += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.run([sys.executable, "-c", script, *words], env=environment, capture_output=True, text=True)
    if process.returncode:
        sys.exit(process.stderr)
    seconds = time.perf_counter() - start
    megabytes = int(process.stdout.split()[-1]) / 1e3
    print(f"{title}: {seconds:.1f} s with start-up, peak {megabytes:.0f} MB, {threads} threads", flush=True)
    return seconds


def lay_out(root: Path, train: int, val: int) -> None:
    """Write rendered rooms in the folders and formats of the official download."""
    source = Scenes(train, val, SIZE)
    camera = {"extrinsic": {"baseline": BASELINE}, "intrinsic": {"fx": FX, "fy": FX, "u0": 1024.0, "v0": 512.0}}
    for split, keys in source.splits.items():
        for position in range(len(keys)):
            frame = source.load(split, position)
            stem = f"made_{position:06d}_000019"
            disparity = np.rint(BASELINE * FX / frame.labels["depth"] * 256 + 1).clip(0, 65535).astype(np.uint16)
            for kind, ending, image in (
                ("leftImg8bit", "leftImg8bit.png", frame.rgb),
                ("gtFine", "gtFine_labelIds.png", IDS[frame.labels["semseg"]]),
                ("disparity", "disparity.png", disparity),
            ):
                folder = root / kind / split / "made"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.asarray(image)).save(folder / f"{stem}_{ending}", compress_level=1)
            folder = root / "camera" / split / "made"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{stem}_camera.json").write_text(json.dumps(camera))


if __name__ == "__main__":
    main()
