"""The commands that deploy a trained network: predict and export."""

import argparse
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from launchers.console import print_line
from shards.errors import UserError
from shards.extras import need
from shards.images import RGB_SUFFIXES
from trainer.memory import keep_freed_memory
from trainer.parsing import parse_size
from trainer.progress import progress
from trainer.runs.artifacts import missing_network

if TYPE_CHECKING:
    from trainer.predictor import Predictor


def predict(options: argparse.Namespace) -> None:
    if options.picture:
        need("predict --picture", "matplotlib")
    if options.frames < 1:
        raise UserError(f"{options.frames} frames", key="--frames", hint="give 1 or more")
    _check_suffix("--picture", options.picture, ".png")
    for source in options.pictures if options.picture else ():
        if Path(options.picture).resolve().is_relative_to(Path(source).resolve()):
            hint = "choose a path outside of the pictures that are read"
            raise UserError(f"{options.picture} would be one of the pictures in {source}", key="--picture", hint=hint)
    _check_model(options)
    for source in options.pictures:
        if not Path(source).exists():
            raise UserError("does not exist", file=source, hint="correct the path")
    import torch  # which takes seconds

    from trainer.predict import draw, pictures, predict

    predictor, out = _predictor(options), Path(options.out)
    inputs = pictures(options.pictures, [out / task.name for task in predictor.tasks])
    if inputs.others:
        suffixes = ", ".join(sorted(RGB_SUFFIXES))
        print_line(f"left out {len(inputs.others)} files other than {suffixes}, the first is {inputs.others[0]}")
    if torch.cuda.is_available():
        predictor.cuda()
    else:
        keep_freed_memory()
    with progress("predict", len(inputs.files)) as report:
        result = predict(predictor, inputs.files, out, report, strict=options.strict)
    for change, count in result.changed.items():
        print_line(f"{count} of the pictures: {change}")
    if predictor.size is None:
        print_line("the network was trained on frames of many sizes: pictures keep their sizes unless --size is given")
    written = len(result.seconds)
    existing = len(inputs.files) - written - len(result.bad)
    device = predictor.device.type
    speed = f"{1000 * statistics.median(result.seconds):.1f} ms each (median) on {device}" if written else ""
    note = f"{existing} had their labels already" if existing else ""
    print_line(f"wrote {out}: labels of {written} pictures{''.join(f', {text}' for text in (speed, note) if text)}")
    readable = {name: path for name, path in inputs.files.items() if name not in result.bad}
    if options.picture and readable:
        draw(predictor, readable, options.picture, options.frames)
        print_line(f"wrote {options.picture}")
    for error in result.bad.values():
        print_line(f"set aside: {error}")
    if result.bad:
        message = f"{len(result.bad)} of {len(inputs.files)} pictures could not be read and have no labels"
        hint = "replace them and start the same command again, which keeps the others' labels"
        raise UserError(message, file=next(iter(result.bad.values())).file, hint=hint)


def export(options: argparse.Namespace) -> None:
    _check_suffix("--out", options.out, ".pt2")
    _check_model(options)
    predictor = _predictor(options)
    predictor.export(options.out)
    assert predictor.size, "export raises without one"
    height, width = predictor.size
    print_line(f"wrote {options.out}: takes {' and '.join(predictor.inputs)} of {height}x{width}")


def _check_model(options: argparse.Namespace) -> None:
    """Check the size, and that there is a network at the path, before torch is imported."""
    parse_size(options.size, "--size")
    path = Path(options.model)
    if not ((path.parent if path.is_file() else path) / "model.json").exists():
        raise missing_network(path)


def _predictor(options: argparse.Namespace) -> "Predictor":
    from trainer.predictor import Predictor

    try:
        return Predictor(options.model, parse_size(options.size, "--size"), options.network)
    except UserError as error:
        if error.key not in ("name", "model"):
            raise
        raise UserError(error.what, file=error.file, key="--network", hint=error.hint) from error


def _check_suffix(option: str, path: str | None, suffix: str) -> None:
    if path and Path(path).suffix.lower() != suffix:
        raise UserError(f"{path} does not end in {suffix}", key=option, hint=f"name a {suffix} file")
