"""The commands that put a trained network to use: predict and export."""

import argparse
from pathlib import Path

from trainer.configfile import parse_size
from trainer.progress import progress, say


def predict(options: argparse.Namespace) -> None:
    import torch

    from trainer.predict import draw, pictures, predict

    out = Path(options.out)
    files = pictures(options.pictures, out)
    predictor = _predictor(options)
    predictor.to("cuda" if torch.cuda.is_available() else "cpu")
    with progress("predict", len(files)) as report:
        seconds = predict(predictor, files, out, report)
    say(f"wrote {options.out}: {len(files)} pictures, {1000 * seconds:.1f} ms each (median) on {predictor.device}")
    if options.picture:
        draw(predictor, files, options.picture, options.frames)
        say(f"wrote {options.picture}")


def export(options: argparse.Namespace) -> None:
    predictor = _predictor(options)
    predictor.export(options.out)
    height, width = predictor.size
    say(f"wrote {options.out}: takes {' and '.join(predictor.inputs)} of {height}x{width}")


def _predictor(options: argparse.Namespace):
    from trainer.predictor import Predictor

    return Predictor(options.model, parse_size(options.size, "--size"))
