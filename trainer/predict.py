"""Pictures in, label files out: a trained network on files, as ``tutelage predict`` does it.

    OUT/predictions.json      which network, and the size it sees; written first
    OUT/dataset.yaml          what the numbers mean, as :mod:`shards.sources.folder` reads it
    OUT/semseg/NAME.png       a folder for each task, a file for each picture, of the picture's size
    OUT/depth/NAME.png

A file that is there is left alone: a folder whose prediction was interrupted is continued, and labels that somebody
corrected stay.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from shards.atomic import atomic_file, disk_errors
from shards.claim import Note, differing, occupied
from shards.errors import UserError
from shards.images import RGB_SUFFIXES, read_pixels
from shards.notes import collected
from shards.picture import save, sheet
from shards.resize import resize_frame
from shards.sources.declaration import FILE, declaration_of
from shards.sources.listing import files_by_stem
from shards.tasks import Task
from trainer.model.architecture import RGB
from trainer.overlap import Background, map_ahead, threads_per_rank
from trainer.predictor import Predictor
from trainer.progress import Report

NOTE = "predictions.json"
_SHOWN = 320
"""Rows of a picture that is drawn, at most."""


@dataclass
class Pictures:
    """Picture files by the name that their labels get, and files of other kinds that stand among them."""

    files: dict[str, Path] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)


def pictures(places: Sequence[str | Path], without: Sequence[Path] = ()) -> Pictures:
    """The picture files given, and all under the folders given.

    Args:
        without: files and folders that do not count, since they are written.

    Raises:
        UserError: when there are none, one does not exist, or two have the same name.
    """
    found = Pictures()
    left_out = [path.resolve() for path in without]

    def counts(path: Path) -> bool:
        return not any(path.resolve().is_relative_to(each) for each in left_out)

    for place in map(Path, places):
        if not place.exists():
            raise UserError("does not exist", file=place, hint="correct the path")
        folder = place if place.is_dir() else place.parent
        of, others = files_by_stem(place, RGB_SUFFIXES) if place.is_dir() else ({place.stem: place.name}, [])
        found.others += [folder / file for file in others if counts(folder / file)]
        for name, file in of.items():
            path = folder / file
            if counts(path) and found.files.setdefault(name, path).absolute() != path.absolute():
                what = f"has the name of {found.files[name]}, and so would its labels"
                raise UserError(what, file=path, hint="predict them into two folders")
    if not found.files:
        hint = f"name pictures ({', '.join(sorted(RGB_SUFFIXES))}), or a folder that holds some"
        raise UserError("no pictures", file=places[0], hint=hint)
    return found


@dataclass
class Predicted:
    """What became of picture files.

    Args:
        seconds: that each new picture took the network, from pixels to labels.
        bad: by name, why a picture has no labels.
        changed: how many pictures were seen in another form than the file's, by what was done to them.
    """

    seconds: list[float] = field(default_factory=list)
    bad: dict[str, UserError] = field(default_factory=dict)
    changed: Counter[str] = field(default_factory=Counter)


def predict(
    predictor: Predictor, files: dict[str, Path], out: Path, report: Report, *, strict: bool = False
) -> Predicted:
    """Write those labels of picture files that are not there yet. A picture that cannot be read is set aside.

    Args:
        files: by name.
        out: a new folder, or one that the same network has written.
        report: called after each picture.
        strict: a picture that cannot be read ends it.

    Raises:
        UserError: when the network takes more than RGB, or ``out`` holds anything else.
    """
    if predictor.inputs != (RGB,):
        hint = "prepare frames with their labels, and use `tutelage label`; or Predictor, from Python"
        raise UserError(f"the network sees {' and '.join(predictor.inputs)}, not RGB alone", key="MODEL", hint=hint)
    note = {"network": predictor.facts["sha256"], "size": list(predictor.size) if predictor.size else None}
    _check(out, note)
    missing = {name: [t for t in predictor.tasks if not _place(out, t, name).exists()] for name in files}
    todo = [name for name in files if missing[name]]
    report(len(files) - len(todo))
    threads, writer = threads_per_rank(), Background()
    done = Predicted()
    for name, read in zip(todo, map_ahead(_read, [files[n] for n in todo], threads, threads + 1), strict=True):
        report(1)
        if isinstance(read, UserError):
            if strict:
                raise read
            done.bad[name] = read
            continue
        rgb, changes = read
        if not done.seconds:
            _begin(out, note, predictor.tasks)
        if predictor.size and rgb.shape[:2] != predictor.size:
            changes.append(
                "brought to {}x{} and their labels back, the size that the network sees".format(*predictor.size)
            )
        done.changed.update(changes)
        began = time.perf_counter()
        labels = predictor.predict({RGB: rgb}, sure=False)
        done.seconds.append(time.perf_counter() - began)
        for task in missing[name]:
            writer.submit(partial(_write, _place(out, task, name), task, labels[task.name]))
    writer.close()
    return done


def _read(path: Path) -> tuple[np.ndarray, list[str]] | UserError:
    try:
        with collected() as notes:
            return read_pixels(path), [note.text for note in notes]
    except UserError as error:
        return error


def draw(predictor: Predictor, files: dict[str, Path], path: str | Path, count: int) -> None:
    """A picture of RGB and predictions side by side, for files spread evenly over all."""
    names = list(files)
    chosen = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    rows = []
    for number in chosen:
        rgb = read_pixels(files[names[number]])
        height, width = rgb.shape[:2]
        size = (_SHOWN, max(1, round(width * _SHOWN / height))) if height > _SHOWN else (height, width)
        small = resize_frame({RGB: rgb, **predictor.predict({RGB: rgb}, sure=False)}, size)
        rows.append([small[RGB], *(task.storage.colourise(small[task.name]) for task in predictor.tasks)])
    save(sheet(rows, [RGB, *(task.name for task in predictor.tasks)]), path)


def _check(out: Path, note: dict[str, object]) -> None:
    """Refuse a folder that holds anything but what the same network predicted."""
    held = Note(out / NOTE, "choose another folder").read()
    if held is not None:
        if differing(held, note):
            raise UserError("holds predictions of another network or size", file=out, hint="choose another folder")
    elif occupied(out):
        raise UserError("holds other files", file=out, hint="choose a new folder: labels are not mixed with others")


def _begin(out: Path, note: dict[str, object], tasks: Sequence[Task]) -> None:
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    Note(out / NOTE, "choose another folder").write(note)
    if not (out / FILE).exists():
        with atomic_file(out / FILE) as file:
            file.write(declaration_of(tasks).encode())


def _place(out: Path, task: Task, name: str) -> Path:
    return out / task.name / f"{name}.png"


def _write(path: Path, task: Task, label: np.ndarray) -> None:
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write(task.storage.write_file(label))
