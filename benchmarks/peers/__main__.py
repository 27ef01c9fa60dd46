"""Our loader beside its peers: samples a second, first batch, memory, on the same files.

    python -m benchmarks.peers [--quick] [--photos FOLDER] [--rounds N] [--workers N] [--decoder imagecodecs]
        [--workloads frames,large,tiny] [--only LOADER,...] [--out REPORT.md]

In turn, each in a process of its own and in an environment that has all of them (``make bench-peers``): webdataset
over the same tars, torch's DataLoader over loose files, mosaicml-streaming, litdata, Megatron-Energon, Grain (threads,
processes), SPDL, and two bounds, decoding from memory and reading alone. Workloads: frames of 480×640 (JPEG and two
PNG); frames of 2048×1024 as PNG, of which crops of 512×1024 are taken; frames of 96×128, which are overhead alone. All
loaders decode the same bytes into the same tensors, which is checked by hashes of an epoch's samples (whole frames);
ours also from shards that are stored for crops. Prints, and writes, a report.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.peers.frames import workloads
from shards.manifest import Manifest
from shards.members import PROFILES
from shards.pack import pack
from shards.read import Readers
from shards.sources.base import Source

BOUNDS = ("bounds:decode", "bounds:read")
LOADERS = (
    "ours",
    "ours:pillow",
    "webdataset_",
    "files",
    "streaming_",
    "litdata_",
    "energon_",
    "grain_:threads",
    "grain_:processes",
    "spdl_",
)
CROPPED = ("ours:train", "ours:train-jpeg")
SEEK = ("ours", "grain_", "streaming_")
"""Those that can begin at any step without having been there."""
STATEFUL = ("litdata_", "energon_")
"""Those that resume only from a state that a loader with as many workers saved, which is not measured."""
NAMES = {
    "ours": "**ours**",
    "ours:pillow": "ours, without the extra `tiles`",
    "ours:train": "**ours**, `--profile train`",
    "ours:train-jpeg": "**ours**, `--profile train-jpeg`",
    "webdataset_": "webdataset, the same tars",
    "files": "loose files, torch's DataLoader",
    "streaming_": "mosaicml-streaming",
    "litdata_": "litdata",
    "energon_": "Megatron-Energon, the same tars",
    "grain_:threads": "Grain, threads",
    "grain_:processes": "Grain, processes",
    "spdl_": "SPDL, threads",
    "bounds:decode": "*bound: decode from memory*",
    "bounds:read": "*bound: read, decode nothing*",
}
PACKAGES = (
    "torch",
    "pillow",
    "webdataset",
    "mosaicml-streaming",
    "litdata",
    "megatron-energon",
    "grain",
    "spdl",
    "imagecodecs",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--photos", type=Path, metavar="FOLDER")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--quick", action="store_true", help="fewer frames, one round")
    arguments.add_argument("--decoder", choices=("pillow", "imagecodecs"), default="pillow", help="of peers and bounds")
    arguments.add_argument("--only", help="names of loaders, separated by commas")
    arguments.add_argument("--workloads", help="frames, large and tiny, separated by commas; by default all")
    arguments.add_argument("--out", type=Path, metavar="REPORT.md")
    options = arguments.parse_args()
    rounds = 1 if options.quick else options.rounds
    report = [
        f"{datetime.date.today()}, {rounds} rounds in turn, {options.workers} workers, {platform.platform()}, "
        f"{os.cpu_count()} processors ({processor()}), {memory()}; peers decode with {options.decoder}.",
        "",
    ]
    report += [", ".join(f"{name} {version(name)}" for name in PACKAGES), ""]
    with tempfile.TemporaryDirectory() as name:
        for workload, source in workloads(options.photos, options.quick).items():
            if options.workloads and workload not in options.workloads.split(","):
                continue
            folder = Path(name, workload)
            crop = [512, 1024] if workload == "large" else None
            batch = {"frames": 8, "large": 2, "tiny": 32}[workload]
            chosen = [*LOADERS, *(CROPPED if crop else ()), *BOUNDS]
            if options.only:
                chosen = [loader for loader in chosen if loader in options.only.split(",")]
            lay_out(source, folder, PROFILES if crop else ("archive",))
            scale = next(task.scale for task in source.tasks if task.name == "depth")
            facts = {"batch": batch, "crop": crop, "depth_scale": scale, "decoder": options.decoder}
            check_samples(folder, facts, chosen, options.workers)
            found = measure(folder, facts, chosen, options.workers, rounds)
            report += table(workload, source, batch, found)
            print("\n".join(report), flush=True)
            if options.out:
                options.out.write_text("\n".join(report) + "\n", encoding="utf-8")


def lay_out(source: Source, folder: Path, profiles: tuple[str, ...]) -> None:
    """Eight shards of each profile, and the archive's files loose."""
    count = sum(map(len, source.splits.values()))
    for profile in profiles:
        pack(source, folder / profile, samples_per_shard=count // 8, jobs=os.cpu_count() or 1, profile=profile)  # type: ignore[arg-type]
    readers = Readers(Manifest.load(folder / "archive"), "train")
    (folder / "loose").mkdir()
    for number in range(len(readers.shards)):
        for position in range(len(readers[number])):
            for extension, data in readers[number].read(position, lambda name: name != "json").items():
                (folder / "loose" / f"{readers[number].key(position)}.{extension}").write_bytes(data)


def measure(
    folder: Path, workload: dict[str, Any], loaders: list[str], workers: int, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """What each loader did in every round; the first, in which they write their own formats, is not counted. ``cold``
    is from as many rounds more, from files that the kernel was told to forget before each loader."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(rounds + 1):
        for loader in loaders:
            said = call(folder, workload, loader, workers)
            if number:
                again = call(folder, workload, loader, workers, resume=7) if loader.startswith(SEEK) else None
                said["resume"] = again["first"] if again else None
                found[loader].append(said)
    for number in range(rounds):
        for loader in loaders:
            forget(folder)
            found[loader][number]["cold"] = call(folder, workload, loader, workers)["rate"]
    return found


def check_samples(folder: Path, workload: dict[str, Any], loaders: list[str], workers: int) -> None:
    """Make sure that all loaders give the same samples, but for the RGB of lossy shards. Loaders that drop a last batch
    in every worker need not give all."""
    checked = workload | {"check": True, "batch": 4}  # which divides all numbers of samples: ours drops a last batch
    hashes = {name: call(folder, checked, name, workers) for name in loaders if name != BOUNDS[1]}
    reference = hashes.get("ours") or next(iter(hashes.values()))
    for loader, by_task in hashes.items():
        for task, values in by_task.items():
            lossy = loader.endswith("jpeg") and task == "rgb"
            if not (lossy or (values and set(values) <= set(reference[task]))):
                raise SystemExit(f"{loader} gives other {task} than {next(iter(hashes))}")


def forget(folder: Path) -> None:
    """Have the kernel drop the pages of all files."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def call(folder: Path, workload: dict[str, Any], loader: str, workers: int, resume: int = 0) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.peers.readers", loader, str(folder), json.dumps(workload), str(workers)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*words, str(resume)], env=environment, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"{loader}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(workload: str, source: Source, batch: int, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    frames = sum(len(keys) for keys in source.splits.values())
    lines = [f"## {workload}: {frames} frames of {source.name}, batches of {batch}", ""]
    heads = ("loader", "samples/s, median (spread)", "of the decode bound", "cold", "first batch after", "in mid-epoch")
    lines += [f"| {' | '.join(heads)} | memory |", "|---|---|---|---|---|---|---|"]
    bound = found.get("bounds:decode")
    for loader, of in found.items():
        rates = [one["rate"] for one in of]
        share = "–"
        if bound:
            ratios = [one["rate"] / other["rate"] for one, other in zip(of, bound, strict=True)]
            share = f"{statistics.median(ratios):.2f}"
        resumed = [one["resume"] for one in of if one["resume"] is not None]
        otherwise = "–" if loader in BOUNDS else "from a saved state" if loader in STATEFUL else "cannot"
        again = f"{statistics.median(resumed):.2f} s" if resumed else otherwise
        first, memory, cold = (statistics.median(one[name] for one in of) for name in ("first", "memory", "cold"))
        rate = f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"
        cells = (NAMES[loader], rate, share, f"{cold:.0f}", f"{first:.2f} s", again, f"{memory:.0f} MB")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def processor() -> str:
    """Return the processor's name, as far as the system knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "–"


if __name__ == "__main__":
    main()
