"""Label files from picture files, by a trained network: ``tutelage predict``.

    OUT/predictions.json      which network, and its input size; written first
    OUT/dataset.yaml          what the numbers mean, as :mod:`shards.sources.folder` reads it
    OUT/semseg/NAME.png       a folder for each task, with a file of the picture's size for each picture
    OUT/depth/NAME.png

Existing files are not touched: an interrupted prediction is continued, and labels that were corrected by hand stay.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from shards.atomic import atomic_file, disk_errors
from shards.claim import Note, differing_keys, is_occupied
from shards.errors import UserError
from shards.evenly import evenly_spaced
from shards.images import RGB_SUFFIXES, read_pixels
from shards.notes import collect_notes
from shards.picture import Colours, save, sheet
from shards.resize import resize_frame
from shards.sources.declaration import FILE, declaration_of
from shards.sources.listing import files_by_stem
from shards.tasks import Task
from trainer.model.architecture import RGB
from trainer.overlap import Background, map_ahead, threads_per_rank
from trainer.predictor import Predictor
from trainer.progress import Report

NOTE = "predictions.json"
_MAX_ROWS = 320
"""Largest height of a picture in a drawing, in rows."""


@dataclass
class Pictures:
    """Picture files by the name of their labels, and files of other kinds beside them."""

    files: dict[str, Path] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)


def pictures(places: Sequence[str | Path], without: Sequence[Path] = ()) -> Pictures:
    """Return the given picture files, and all under the given folders.

    Args:
        places: files and folders.
        without: files and folders that are left out, since they are outputs.

    Raises:
        UserError: when there are none, one does not exist, or two have the same name.
    """
    result = Pictures()
    excluded = [path.resolve() for path in without]

    def is_input(path: Path) -> bool:
        return not any(path.resolve().is_relative_to(parent) for parent in excluded)

    for place in map(Path, places):
        if not place.exists():
            raise UserError("does not exist", file=place, hint="correct the path")
        folder = place if place.is_dir() else place.parent
        files, others = files_by_stem(place, RGB_SUFFIXES) if place.is_dir() else ({place.stem: place.name}, [])
        result.others += [folder / file for file in others if is_input(folder / file)]
        for name, file in files.items():
            path = folder / file
            if is_input(path) and result.files.setdefault(name, path).absolute() != path.absolute():
                message = f"has the name of {result.files[name]}, and so would its labels"
                raise UserError(message, file=path, hint="predict them into two folders")
    if not result.files:
        hint = f"name pictures ({', '.join(sorted(RGB_SUFFIXES))}), or a folder that holds some"
        raise UserError("no pictures", file=places[0], hint=hint)
    return result


@dataclass
class Summary:
    """The outcome of a prediction of picture files.

    Args:
        seconds: time from pixels to labels of each new picture.
        bad: by name, why a picture has no labels.
        changed: number of pictures that were converted before prediction, by kind of conversion.
    """

    seconds: list[float] = field(default_factory=list)
    bad: dict[str, UserError] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)


def predict(
    predictor: Predictor, files: dict[str, Path], out: Path, report: Report, *, strict: bool = False
) -> Summary:
    """Write the missing labels of picture files. Pictures that cannot be read are skipped.

    Args:
        predictor: the network.
        files: picture files by name.
        out: a new folder, or one that the same network has written.
        report: called after each picture.
        strict: whether a picture that cannot be read raises its error.

    Raises:
        UserError: when the network takes more than RGB, or ``out`` holds anything else.
    """
    if predictor.inputs != (RGB,):
        hint = "prepare frames with their labels, and use `tutelage label`; or Predictor, from Python"
        message = f"the network sees {' and '.join(predictor.inputs)}, not RGB alone"
        raise UserError(message, file=predictor.folder, hint=hint)
    note = {"network": predictor.facts["sha256"], "size": list(predictor.size) if predictor.size else None}
    _check(out, note)
    missing = {name: [t for t in predictor.tasks if not _label_path(out, t, name).exists()] for name in files}
    names = [name for name in files if missing[name]]
    report(len(files) - len(names))
    threads, writer = threads_per_rank(), Background()
    summary = Summary()
    images = map_ahead(_read, [files[name] for name in names], threads, threads + 1)
    for name, image in zip(names, images, strict=True):
        report(1)
        if isinstance(image, UserError):
            if strict:
                raise image
            summary.bad[name] = image
            continue
        rgb, changes = image
        if not summary.seconds:
            _prepare(out, note, predictor.tasks)
        if predictor.size and rgb.shape[:2] != predictor.size:
            changes.append(
                "brought to {}x{} and their labels back, the size that the network sees".format(*predictor.size)
            )
        summary.changed.update(changes)
        start = time.perf_counter()
        labels = predictor.predict({RGB: rgb}, sure=False)
        summary.seconds.append(time.perf_counter() - start)
        for task in missing[name]:
            writer.submit(partial(_write, _label_path(out, task, name), task, labels[task.name]))
    writer.close()
    return summary


def _read(path: Path) -> tuple[np.ndarray, list[str]] | UserError:
    try:
        with collect_notes() as notes:
            return read_pixels(path), [note.text for note in notes]
    except UserError as error:
        return error


def draw(predictor: Predictor, files: dict[str, Path], path: str | Path, count: int) -> None:
    """Save a picture of RGB and predictions side by side, for ``count`` files spread evenly over all, with the
    meaning of the colours."""
    names = list(files)
    numbers = evenly_spaced(len(names), count)
    frames = []
    for number in numbers:
        rgb = read_pixels(files[names[number]])
        height, width = rgb.shape[:2]
        size = (_MAX_ROWS, max(1, round(width * _MAX_ROWS / height))) if height > _MAX_ROWS else (height, width)
        frames.append(resize_frame({RGB: rgb, **predictor.predict({RGB: rgb}, sure=False)}, size))
    columns: list[list[np.ndarray]] = [[frame[RGB] for frame in frames]]
    keys: list[Colours] = [[]]
    for task in predictor.tasks:
        labels = [frame[task.name] for frame in frames]
        limits = task.storage.limits(labels)
        columns.append([task.storage.colourise(label, limits) for label in labels])
        keys.append(task.storage.key(labels, limits))
    rows = list(zip(*columns, strict=True))
    save(sheet(rows, [RGB, *(task.name for task in predictor.tasks)], keys=keys), path)


def _check(out: Path, note: dict[str, object]) -> None:
    """Refuse a folder that holds anything but predictions of the same network."""
    existing = Note(out / NOTE, "choose another folder").read()
    if existing is not None:
        if differing_keys(existing, note):
            raise UserError("holds predictions of another network or size", file=out, hint="choose another folder")
    elif is_occupied(out):
        raise UserError("holds other files", file=out, hint="choose a new folder: labels are not mixed with others")


def _prepare(out: Path, note: dict[str, object], tasks: Sequence[Task]) -> None:
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    Note(out / NOTE, "choose another folder").write(note)
    if not (out / FILE).exists():
        with atomic_file(out / FILE) as file:
            file.write(declaration_of(tasks).encode())


def _label_path(out: Path, task: Task, name: str) -> Path:
    return out / task.name / f"{name}.png"


def _write(path: Path, task: Task, label: np.ndarray) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(task.storage.write_file(label))
