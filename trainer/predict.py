"""Pictures in, label files out: a trained network on files, as ``tutelage predict`` does it.

OUT/predictions.json      which network, and the size it saw; written first
OUT/semseg/NAME.png       a folder for each task, a file for each picture, of the picture's size, stored as in
OUT/depth/NAME.png        shards (:mod:`shards.tasks`)
OUT/dataset.yaml          what the numbers in them mean, as :mod:`shards.sources.folder` reads it; written last
"""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from shards.atomic import atomic_file, disk_errors, read_json, write_json
from shards.codec import decode_rgb, encode_label, rgb_extension
from shards.errors import UserError
from shards.picture import colourise, save, sheet
from shards.sources.declaration import FILE, declaration_of
from shards.sources.images import RGB_SUFFIXES, read_rgb
from shards.sources.listing import files_by_stem
from shards.tasks import Task
from trainer.model.architecture import RGB
from trainer.overlap import Background, map_ahead, threads_per_rank
from trainer.predictor import Predictor
from trainer.progress import Report

NOTE = "predictions.json"


def pictures(places: Sequence[str | Path], out: Path) -> dict[str, Path]:
    """Picture files by the name that their labels get: those given, and all under the folders given but not in ``out``.

    Raises:
        UserError: when there are none, or two have the same name.
    """
    found: dict[str, Path] = {}
    for place in map(Path, places):
        names = files_by_stem(place, RGB_SUFFIXES)[0] if place.is_dir() else {place.stem: place.name}
        for name, file in names.items():
            path = (place if place.is_dir() else place.parent) / file
            if path.resolve().is_relative_to(out.resolve()):
                continue
            if found.setdefault(name, path) != path:
                what = f"has the name of {found[name]}, and so would its labels"
                raise UserError(what, file=path, cure="predict them into two folders")
    if not found:
        cure = f"name pictures ({', '.join(sorted(RGB_SUFFIXES))}), or a folder that holds some"
        raise UserError("no pictures", file=places[0], cure=cure)
    return found


def predict(predictor: Predictor, files: dict[str, Path], out: Path, report: Report) -> float:
    """Write the labels of picture files.

    Args:
        files: by name (:func:`pictures`).
        out: a new folder, or one that the same network has written.
        report: called after each picture.

    Returns:
        The median seconds that the network took for a picture, from pixels to labels.

    Raises:
        UserError: when the network takes more than RGB, a file is no picture, or ``out`` holds anything else.
    """
    if predictor.inputs != (RGB,):
        cure = "prepare frames with their labels, and use `tutelage label`; or Predictor, from Python"
        raise UserError(f"the network sees {' and '.join(predictor.inputs)}, not RGB alone", key="MODEL", cure=cure)
    _claim(out, predictor)
    for folder in {(out / task.name / name).parent for task in predictor.tasks for name in files}:
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    threads, seconds, writer = threads_per_rank(), [], Background()
    for name, rgb in zip(files, map_ahead(_read, files.values(), threads, threads + 1), strict=True):
        began = time.perf_counter()
        labels = predictor.predict({RGB: rgb})
        seconds.append(time.perf_counter() - began)
        for task in predictor.tasks:
            writer.submit(partial(_write, out / task.name / f"{name}.png", task, labels[task.name]))
        report(1)
    writer.close()
    with atomic_file(out / FILE) as file:
        file.write(declaration_of(predictor.tasks).encode())
    return float(np.median(seconds))


def draw(predictor: Predictor, files: dict[str, Path], path: str | Path, count: int) -> None:
    """A picture of RGB and predictions side by side, for files spread evenly over all."""
    names = list(files)
    chosen = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    frames = [_read(files[names[number]]) for number in chosen]
    answers = [predictor.predict({RGB: rgb}) for rgb in frames]
    rows = []
    for rgb, labels in zip(frames, answers, strict=True):
        rows.append([rgb, *(colourise(task, labels[task.name]) for task in predictor.tasks)])
    save(sheet(rows, [RGB, *(task.name for task in predictor.tasks)]), path)


def _claim(out: Path, predictor: Predictor) -> None:
    """Note in a folder whose predictions it holds."""
    note = {"network": predictor.facts["sha256"], "size": list(predictor.size) if predictor.size else None}
    if (out / NOTE).exists():
        if read_json(out / NOTE, "choose another folder") != note:
            raise UserError("holds predictions of another network or size", file=out, cure="choose another folder")
    elif out.exists() and any(out.iterdir()):
        raise UserError("holds other files", file=out, cure="choose a new folder: labels that are there would be lost")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / NOTE, note)


def _read(path: Path) -> np.ndarray:
    rgb = read_rgb(path)
    return decode_rgb(rgb, rgb_extension(rgb) or "") if isinstance(rgb, bytes) else rgb


def _write(path: Path, task: Task, label: np.ndarray) -> None:
    with atomic_file(path) as file:
        file.write(encode_label(task, label))
