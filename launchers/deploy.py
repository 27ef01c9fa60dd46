"""The commands that put a trained network to use: predict and export."""

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from shards.errors import UserError
from shards.extras import need
from trainer.memory import keep_freed_memory
from trainer.parsing import parse_size
from trainer.progress import progress, say

if TYPE_CHECKING:
    from trainer.predictor import Predictor


def predict(options: argparse.Namespace) -> None:
    if options.picture:
        need("predict --picture", "matplotlib")
    import torch

    from trainer.predict import draw, pictures, predict

    if options.frames < 1:
        raise UserError(f"{options.frames} frames", key="--frames", hint="give 1 or more")
    _check_suffix("--picture", options.picture, ".png")
    for place in options.pictures if options.picture else ():
        if Path(options.picture).resolve().is_relative_to(Path(place).resolve()):
            hint = "draw it outside of what is read"
            raise UserError(f"{options.picture} would be one of the pictures in {place}", key="--picture", hint=hint)
    predictor, out = _predictor(options), Path(options.out)
    found = pictures(options.pictures, [out / task.name for task in predictor.tasks])
    if found.others:
        say(f"left out {len(found.others)} files that are no JPEG, PNG or WebP, the first is {found.others[0]}")
    if torch.cuda.is_available():
        predictor.cuda()
    else:
        keep_freed_memory()
    with progress("predict", len(found.files)) as report:
        done = predict(predictor, found.files, out, report, strict=options.strict)
    for change, number in done.changed.items():
        say(f"{number} of the pictures are {change}")
    if predictor.size is None:
        say("the network was trained on frames of many sizes: it sees pictures as they are, unless --size is given")
    count = len(done.seconds)
    old = len(found.files) - count - len(done.bad)
    speed = f"{1000 * statistics.median(done.seconds):.1f} ms each (median) on {predictor.device.type}" if count else ""
    kept = f"{old} had their labels already" if old else ""
    say(f"wrote {out}: labels of {count} pictures{''.join(f', {part}' for part in (speed, kept) if part)}")
    whole = {name: path for name, path in found.files.items() if name not in done.bad}
    if options.picture and whole:
        draw(predictor, whole, options.picture, options.frames)
        say(f"wrote {options.picture}")
    for error in done.bad.values():
        say(f"set aside: {error}")
    if done.bad:
        what = f"{len(done.bad)} of {len(found.files)} pictures could not be read and have no labels"
        hint = "replace them and start the same command again, which keeps the others' labels"
        raise UserError(what, file=next(iter(done.bad.values())).file, hint=hint)


def export(options: argparse.Namespace) -> None:
    _check_suffix("--out", options.out, ".pt2")
    predictor = _predictor(options)
    predictor.export(options.out)
    assert predictor.size, "export raises without one"
    height, width = predictor.size
    say(f"wrote {options.out}: takes {' and '.join(predictor.inputs)} of {height}x{width}")


def _predictor(options: argparse.Namespace) -> "Predictor":
    from trainer.predictor import Predictor

    return Predictor(options.model, parse_size(options.size, "--size"), options.network)


def _check_suffix(option: str, path: str | None, suffix: str) -> None:
    if path and Path(path).suffix.lower() != suffix:
        raise UserError(f"{path} does not end in {suffix}", key=option, hint=f"name a {suffix} file")
