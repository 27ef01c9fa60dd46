"""``tutelage prepare SOURCE``: its sources and their options."""

import argparse
import os
from typing import Any, NoReturn

from launchers.words import add

PROFILES = ("archive", "train", "train-jpeg")
"""Those of :mod:`shards.members`, which takes longer to import than ``--help`` may."""


def prepare_options(commands: Any) -> None:
    prepare: argparse.ArgumentParser = commands.add_parser(
        "prepare", help="raw frames → shards", description="Raw frames → shards."
    )
    sources = prepare.add_subparsers(title="sources", required=True, metavar="SOURCE")
    refuse = prepare.error

    def error(message: str) -> NoReturn:
        own = "a source of your own is named with a colon: my.module:Source"
        refuse(f"{message}; {own}" if "invalid choice" in message else message)

    prepare.error = error  # type: ignore[method-assign]

    def source(name: str, text: str, raw: str | None, first: str = "source") -> argparse.ArgumentParser:
        command = add(sources, name, f"launchers.prepare:{name}", text)
        if raw:
            command.add_argument(first, metavar=raw)
        command.add_argument("out", metavar="OUT", help="folder of the data set")
        command.add_argument("--size", metavar="HxW", help="resize frames (default: keep their size)")
        command.add_argument("--samples-per-shard", type=int, default=256, metavar="N")
        stored = "how images are stored: train for crops of large frames, train-jpeg with loss (default: archive)"
        command.add_argument("--profile", choices=PROFILES, default="archive", help=stored)
        command.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes")
        command.add_argument("--strict", action="store_true", help="end at the first file that cannot be read")
        command.add_argument("--normals", action="store_true", help="add surface normals, from depth")
        fitted = "pixels a side that a normal is fitted to, odd (default: 3 for scenes, 31 for the depth of sensors)"
        command.add_argument("--window", type=int, metavar="N", help=fitted)
        return command

    scenes = source("scenes", "rendered indoor rooms; needs no download", None)
    scenes.add_argument("--train", type=int, default=400, metavar="N", help="training frames (default: 400)")
    scenes.add_argument("--val", type=int, default=100, metavar="N", help="validation frames (default: 100)")
    scenes.add_argument("--seed", type=int, default=0)
    nyudv2 = source("nyudv2", "the official nyu_depth_v2_labeled.mat, splits.mat, classMapping40.mat", "FOLDER")
    nyudv2.add_argument("--depth", choices=("filled", "raw"), default="filled")
    nyudv2.add_argument("--classes", type=int, choices=(40, 13), default=40, help="of the segmentation (default: 40)")
    cityscapes = source("cityscapes", "the official folders leftImg8bit, gtFine, disparity, camera", "ROOT")
    cityscapes.add_argument("--coarse", action="store_true", help="add gtCoarse and train_extra")
    cityscapes.add_argument(
        "--max-depth", type=float, default=200, metavar="M", help="no measurement beyond, in metres (default: 200)"
    )
    cityscapes.add_argument("--classes", type=int, choices=(19, 7), default=19, help="7: categories (default: 19)")
    cityscapes.add_argument("--inverse-depth", action="store_true", help="in 1/m, in place of depth")
    own = source(
        "own", "a source of your own, by its class: prepare my.module:Source OUT [ARGUMENT ...]", "MODULE:CLASS", "own"
    )
    made = "what its class is made with"
    own.add_argument("arguments", nargs="*", default=[], metavar="ARGUMENT", help=made)  # or they would be required
    folder = source("folder", "your own frames: ROOT/rgb, ROOT/TASK, and ROOT/dataset.yaml or the options", "ROOT")
    folder.add_argument("--name", help="of the data set (default: the folder's)")
    folder.add_argument("--val-fraction", type=float, metavar="F", help="share of the frames that validate")
    kept = "what --val-fraction keeps in one split: folder, or a regular expression of names"
    folder.add_argument("--group-by", metavar="folder|PATTERN", help=kept)
    folder.add_argument("--classes", metavar="N|NAME,NAME,...", help="segmentation classes")
    folder.add_argument("--ignore", type=int, metavar="VALUE", help="stored value that means no class")
    folder.add_argument("--offset", type=int, metavar="VALUE", help="stored value of the first class")
    folder.add_argument("--intrinsics", metavar="FX,FY,CX,CY", help="the camera's, in pixels of the frames as they are")
    folder.add_argument("--depth-scale", type=float, metavar="M", help="metres of one stored step of depth")
