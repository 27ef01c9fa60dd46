"""``tutelage prepare SOURCE``: the sources and their options."""

import argparse
import os
from typing import Any, NoReturn

from launchers.words import add

PROFILES = ("archive", "train", "train-jpeg")
"""The profiles of :mod:`shards.members`, repeated here since its import would slow down ``--help``."""


def add_prepare(commands: Any) -> None:
    prepare: argparse.ArgumentParser = commands.add_parser(
        "prepare", help="raw frames → shards", description="Raw frames → shards."
    )
    sources = prepare.add_subparsers(title="sources", required=True, metavar="SOURCE")
    default_error = prepare.error

    def error(message: str) -> NoReturn:
        hint = "a source of your own is named with a colon: my.module:Source"
        default_error(f"{message}; {hint}" if "invalid choice" in message else message)

    prepare.error = error  # type: ignore[method-assign]

    def source(name: str, text: str, raw: str | None, first: str = "source") -> argparse.ArgumentParser:
        command = add(sources, name, f"launchers.prepare:{name}", text)
        if raw:
            command.add_argument(first, metavar=raw)
        command.add_argument("out", metavar="OUT", help="folder of the data set")
        command.add_argument("--size", metavar="HxW", help="resize frames (default: keep their size)")
        command.add_argument("--samples-per-shard", type=int, default=256, metavar="N")
        profile = "how images are stored: train for crops of large frames, train-jpeg is lossy (default: archive)"
        command.add_argument("--profile", choices=PROFILES, default="archive", help=profile)
        command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
        command.add_argument("--strict", action="store_true", help="end at the first file that cannot be read")
        command.add_argument("--normals", action="store_true", help="add surface normals, from depth")
        window = "odd side, in pixels, of the window that a normal is fitted to (default: 3 for scenes, 31 for sensors)"
        command.add_argument("--window", type=int, metavar="N", help=window)
        return command

    scenes = source("scenes", "rendered indoor rooms; needs no download", None)
    scenes.add_argument("--train", type=int, default=400, metavar="N", help="training frames (default: 400)")
    scenes.add_argument("--val", type=int, default=100, metavar="N", help="validation frames (default: 100)")
    scenes.add_argument("--seed", type=int, default=0)
    nyudv2 = source("nyudv2", "the official nyu_depth_v2_labeled.mat, splits.mat, classMapping40.mat", "FOLDER")
    nyudv2.add_argument("--depth", choices=("filled", "raw"), default="filled")
    nyudv2.add_argument(
        "--classes", type=int, choices=(40, 13), default=40, help="number of segmentation classes (default: 40)"
    )
    cityscapes = source("cityscapes", "the official folders leftImg8bit, gtFine, disparity, camera", "ROOT")
    cityscapes.add_argument("--coarse", action="store_true", help="add gtCoarse and train_extra")
    cityscapes.add_argument(
        "--max-depth", type=float, default=200, metavar="M", help="largest valid measurement, in metres (default: 200)"
    )
    cityscapes.add_argument("--classes", type=int, choices=(19, 7), default=19, help="7: categories (default: 19)")
    cityscapes.add_argument("--inverse-depth", action="store_true", help="store 1/depth, in 1/m, in place of depth")
    own = source(
        "own", "a source of your own, by its class: prepare my.module:Source OUT [ARGUMENT ...]", "MODULE:CLASS", "own"
    )
    # without the default, argparse would require them
    own.add_argument("arguments", nargs="*", default=[], metavar="ARGUMENT", help="arguments of its class")
    folder = source("folder", "your own frames: ROOT/rgb, ROOT/TASK, and ROOT/dataset.yaml or the options", "ROOT")
    folder.add_argument("--name", help="name of the data set (default: the folder's)")
    folder.add_argument("--val-fraction", type=float, metavar="F", help="share of the frames that validate")
    group = "keep groups of frames in one split (--val-fraction): by folder, or by a regular expression of names"
    folder.add_argument("--group-by", metavar="folder|PATTERN", help=group)
    folder.add_argument("--classes", metavar="N|NAME,NAME,...", help="segmentation classes")
    folder.add_argument("--ignore", type=int, metavar="VALUE", help="stored value that means no class")
    folder.add_argument("--offset", type=int, metavar="VALUE", help="stored value of the first class")
    folder.add_argument(
        "--intrinsics", metavar="FX,FY,CX,CY", help="those of the camera, in pixels of the original frames"
    )
    folder.add_argument("--depth-scale", type=float, metavar="M", help="metres of one stored step of depth")
