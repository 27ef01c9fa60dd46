"""A user's own data: a folder of images, and a folder of label images for each task.

    ROOT/rgb/0001.jpg         .jpg, .png, .webp, .bmp, .tif or .ppm; subfolders are allowed (rgb/site_a/0001.jpg)
    ROOT/semseg/0001.png      the label of rgb/0001.*; a frame without such a file lacks the label
    ROOT/depth/0001.png       every task that dataset.yaml declares has a folder of its name
    ROOT/train.txt, val.txt   one stem per line (0001, or site_a/0001); test.txt replaces a missing val.txt
    ROOT/dataset.yaml         the meaning of the numbers in label files, and the location of files in other places:

.. code-block:: yaml

    name: warehouse              # default: the name of the folder
    val_fraction: 0.1            # instead of train.txt and val.txt
    group_by: folder             # what val_fraction keeps in one split: a folder of rgb, or a pattern of names
    images: "rgb/{name}"         # the default; "{split}/images/{name}" where splits are folders
    intrinsics: {fx: 525, fy: 525, cx: 319.5, cy: 239.5}     # of the camera, in pixels, if known
    tasks:
      semseg:
        kind: classes
        files: "semseg/{name}"   # the default
        classes: [floor, shelf, person]   # in index order; or their number; or {stored number: name, ...}
        offset: 1                # the stored number of the first class; default 0
        ignore: [0, 255]         # stored numbers, or colours, that mean "no label"; default 255
        colours: [[128, 64, 128], [70, 70, 70], [220, 20, 60]]   # default: a palette
      depth:
        kind: scalar
        scale: 0.001             # one stored step in the unit: here a millimetre
        unit: m                  # default m
        invalid: [65535]         # stored numbers that mean no measurement, besides 0
        channel: Z               # for EXR files with several channels
        range: [0.1, 60]         # in the unit: values outside are no measurement
      normals:
        kind: unit_vector
      ground:
        kind: binary             # masks that may overlap
        masks: [drivable, edge]  # in the order of the bits
        ignore: 255              # the stored number that means "no label"; default 255, for more than 7 masks 65535

===========  ======================================================================================================
kind         label file
===========  ======================================================================================================
classes      PNG of 8 or 16 bits with one channel, or a palette PNG, of which the indices are read; or RGB, in the
             declared ``colours``
scalar       PNG of 8 or 16 bits, TIFF of up to 32 bits, or ``.npy``, with one channel: floats in ``unit``, whole
             numbers in steps of ``scale``; 0, NaN, infinite, negative, ``invalid``, outside ``range`` = no measurement
unit_vector  RGB PNG of 8 bits, component = value / 127.5 - 1; vectors far from length 1 (black, grey) are no label
binary       PNG of 8 or 16 bits with one channel: bit k is set where mask k holds; for a single mask, 0 means no and
             any other number yes
===========  ======================================================================================================

An image with an EXIF orientation is turned upright before it is stored. Its labels count as drawn on the upright view,
or on the sensor's grid where only that fits their size; ``label_orientation: upright | sensor`` declares which.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import key_of
from shards.errors import UserError
from shards.images import read_picture
from shards.notes import member_context, note
from shards.orientation import align_label
from shards.sources.base import Frame
from shards.sources.declaration import FILE, IMAGES, Declaration, LabelFormat, declare
from shards.sources.layout import Files, Pattern, split_by_folder
from shards.sources.listing import normalise_name, stem_of
from shards.sources.sequences import describe_random_split, split_by_hash


class Folder:
    """A folder as described in this module. Arguments take precedence over ``dataset.yaml``, and can replace it.

    Args:
        root: the folder that contains ``rgb``, or the files that ``images`` of ``dataset.yaml`` names.
        name: the data set's name.
        classes: the number or the names of the classes of ``semseg``.
        ignore: the stored number(s) in ``semseg`` that mean "no label".
        offset: the stored number of the first class of ``semseg``.
        depth_scale: metres per stored step of ``depth``.
        val_fraction: the share of frames for validation, chosen by a hash of their keys.
        intrinsics: ``fx``, ``fy``, ``cx``, ``cy`` of the camera, in pixels of the original frames.
        group_by: what ``val_fraction`` keeps in one split: ``folder``, or a regular expression of names.

    Raises:
        UserError: when the folder, its lists or its declaration are not consistent.
    """

    unmatched: dict[str, list[str]]
    """Files that no frame uses, by folder (``rgb``, or a task's name): labels without an image, and files with a suffix
    that is not read there. They are reported to the user, as is :attr:`undeclared`."""
    undeclared: list[str]
    """Folders besides ``rgb`` that no declared task reads."""
    unlisted: list[str]
    """Images that are in no list of frames."""

    def __init__(
        self,
        root: str | Path,
        *,
        name: str | None = None,
        classes: int | Sequence[str] | None = None,
        ignore: int | Sequence[int] | None = None,
        offset: int | None = None,
        depth_scale: float | None = None,
        val_fraction: float | None = None,
        intrinsics: Mapping[str, float] | None = None,
        group_by: str | None = None,
    ) -> None:
        self.root = Path(root)
        semseg = _without_none(classes=classes, ignore=ignore, offset=offset)
        depth = _without_none(scale=depth_scale)
        tasks = {"semseg": {"kind": "classes", **semseg}} if semseg else {}
        tasks |= {"depth": {"kind": "scalar", **depth}} if depth else {}
        overrides = _without_none(name=name, val_fraction=val_fraction, group_by=group_by)
        overrides |= _without_none(intrinsics=intrinsics, tasks=tasks or None)
        declared = declare(self.root, overrides)
        self.name, self._formats = declared.name, declared.formats
        self.tasks = tuple(fmt.task for fmt in self._formats)
        pictures = declared.find_images(self.root)
        label_files = {fmt.task.name: fmt.find(self.root) for fmt in self._formats}
        images = self._images(declared.images, pictures, label_files.values())
        has_patterns = declared.images != IMAGES or any(fmt.files for fmt in self._formats)
        folders = {path.name for path in self.root.iterdir() if path.is_dir() and path.name[0] != "."}
        self.undeclared = [] if has_patterns else sorted(folders - {"rgb", *(task.name for task in self.tasks)})
        self.options: dict[str, Any] = {
            "source": "folder",
            "stored": {fmt.task.name: dict(fmt.how) for fmt in self._formats},
            "val_fraction": declared.val_fraction,
        }
        self._drawn_on, self._by_folder = declared.label_orientation, declared.images.splits
        self._camera = _without_none(intrinsics=declared.intrinsics)
        self.options |= self._camera
        self.options |= _without_none(group_by=declared.group_by, label_orientation=declared.label_orientation)
        if has_patterns:
            self.options["files"] = {"rgb": declared.images.text} | {
                fmt.task.name: fmt.pattern.text for fmt in self._formats
            }
        stems = self._split(images, declared)
        used = {stem for names in stems.values() for stem in names}
        self.unlisted = [file for stem, file in images.items() if stem not in used]
        fraction = declared.val_fraction
        self._doubt = describe_random_split(stems, fraction, declared.group_by) if fraction is not None else None
        self.splits = {split: [key_of(stem) for stem in names] for split, names in stems.items()}
        labels = {f.task.name: self._match(f, label_files[f.task.name], images, used) for f in self._formats}
        # only what load() needs, since the source is pickled for every shard that another process packs
        self._files = {
            split: [
                (images[stem], {task: files[stem] for task, files in labels.items() if stem in files}) for stem in names
            ]
            for split, names in stems.items()
        }

    def notices(self) -> list[str]:
        """Return what was left out of the folder, or assumed of it."""
        lines = [
            f"{name}: left out, not {'an image' if name == 'rgb' else 'a label of an image'}: {files[0]}{_more(files)}"
            for name, files in self.unmatched.items()
        ]
        if self.unlisted:
            where = "a folder of neither split" if self._by_folder else "no list"
            train = "the folder train" if self._by_folder else "train.txt"
            text = f"rgb: {len(self.unlisted)} images are in {where}: left out, the first is {self.unlisted[0]}"
            lines.append(f"{text}; frames without labels belong into {train}, for pseudo-labels")
        lines += [f"val_fraction: {self._doubt}"] if self._doubt else []
        lines += [f"{fmt.task.name}: {guess}" for fmt in self._formats for guess in fmt.guesses]
        lines += [f"{name}: left out, as no declared task has the name of this folder" for name in self.undeclared]
        return lines

    def files(self, split: str, position: int) -> dict[str, Path]:
        """Return the image of ``splits[split][position]`` as ``rgb``, and its label files by task."""
        image, labels = self._files[split][position]
        return {"rgb": self._folders["rgb"] / image} | {
            task: self._folders[task] / file for task, file in labels.items()
        }

    def load(self, split: str, position: int) -> Frame:
        """Return the frame of ``splits[split][position]``."""
        files = self.files(split, position)
        with member_context("rgb"):
            rgb, turn = read_picture(files["rgb"])
            if turn is not None and self._camera:
                note("turned; intrinsics are assumed to be those of the upright image")
        labels = {f.task.name: f.read(files[f.task.name]) for f in self._formats if f.task.name in files}
        if turn is not None and isinstance(rgb, np.ndarray):
            for task in (fmt.task for fmt in self._formats if fmt.task.name in labels):
                with member_context(task.name, files[task.name], self.splits[split][position]):
                    label, directional = labels[task.name], task.storage.directional
                    labels[task.name] = align_label(label, directional, turn, rgb.shape[:2], self._drawn_on)
        meta = {"file": files["rgb"].relative_to(self.root).as_posix(), **self._camera}
        return Frame(rgb, labels, meta, files)

    def _images(self, pattern: Pattern, pictures: Files, labels: Iterable[Files]) -> dict[str, str]:
        """Return images by stem, without files that match a pattern of labels."""
        label_paths = {files.folder / file for files in labels for file in files.by_stem.values()}
        images = {stem: file for stem, file in pictures.by_stem.items() if pictures.folder / file not in label_paths}
        unread = [file for file in pictures.unread if pictures.folder / file not in label_paths]
        self.unmatched = {"rgb": unread} if unread else {}
        self._folders = {"rgb": pictures.folder}
        if not images:
            hint = "correct the patterns: images and files"
            raise UserError(f"{pattern.text} matches only labels", file=self.root / FILE, key="images", hint=hint)
        return images

    def _match(self, fmt: LabelFormat, labels: Files, images: dict[str, str], used: set[str]) -> dict[str, str]:
        """Return label files by stem; those without an image go to :attr:`unmatched`."""
        task = fmt.task
        folder, files = labels.folder, labels.by_stem
        self._folders[task.name] = folder
        unmatched = labels.unread + [file for stem, file in files.items() if stem not in images]
        if unmatched:
            self.unmatched[task.name] = sorted(unmatched)
        if unmatched and not files.keys() & images.keys():
            suffixes = " or ".join(sorted(task.storage.suffixes))
            message = f"none of its {len(unmatched)} files is the label of an image, the first is {unmatched[0]}"
            hint = f"name each after its image in rgb, ending in {suffixes}"
            raise UserError(message, file=folder, hint=hint)
        if not files.keys() & used:
            message = f"none of its {len(files)} labels is of a frame that trains or validates"
            raise UserError(message, file=folder, hint="list frames that have labels in train.txt and val.txt")
        return files

    def _split(self, images: dict[str, str], declared: Declaration) -> dict[str, list[str]]:
        """Return the stems of every split, from folders, from lists or by fraction."""
        val_fraction = declared.val_fraction
        lists = {"train": self.root / "train.txt", "val": self.root / "val.txt"}
        if not lists["val"].exists():
            lists["val"] = self.root / "test.txt"
        listed = [path for path in lists.values() if path.exists()]
        if listed and val_fraction is not None:
            hint = f"leave val_fraction out, or move {listed[0].name} away"
            raise UserError(f"has both val_fraction and {listed[0].name}", file=self.root, hint=hint)
        if declared.images.splits:
            if listed:
                hint = f"move {listed[0].name} away, or write images without {{split}}"
                raise UserError(f"conflicts with {listed[0].name}", file=self.root / FILE, key="images", hint=hint)
            splits = split_by_folder(images)
        elif val_fraction is not None:
            try:
                splits = split_by_hash(images, val_fraction, declared.group_by)
            except UserError as error:
                where = self.root / FILE if (self.root / FILE).exists() else self.root
                raise UserError(error.what, file=where, key=error.key, hint=error.hint) from error
        elif len(listed) == 2:
            splits = {split: self._read_list(path, images) for split, path in lists.items()}
        else:
            hint = f"write train.txt and val.txt with one stem per line, or set val_fraction in {FILE} (--val-fraction)"
            raise UserError("does not define which frames train and which validate", file=self.root, hint=hint)
        empty = next((split for split, stems in splits.items() if not stems), None)
        if empty:
            message = f"no frame of {len(images)} is in split {empty}"
            hint = "change val_fraction" if val_fraction is not None else f"list some in {lists[empty].name}"
            if declared.images.splits:
                hint = "call the folders of {split} train and val"
            raise UserError(message, file=self.root, hint=hint)
        _check_unique(self._folders["rgb"], images, [stem for stems in splits.values() for stem in stems])
        return splits

    def _read_list(self, path: Path, images: dict[str, str]) -> list[str]:
        """Read the stems in a list of frames, in its order; a line may have the suffix of its image."""
        try:
            lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot be read ({error})", file=path, hint="save it as UTF-8 text") from error
        names = set(map(normalise_name, images.values()))
        stems = [stem_of(line) if line in names else line for line in map(normalise_name, lines) if line]
        missing = [stem for stem in stems if stem not in images]
        if missing:
            message = f"names frames without an image: {len(missing)}, the first is {missing[0]}"
            hint = f"put it into {self._folders['rgb']}, or take it off the list"
            raise UserError(message, file=path, hint=hint)
        return stems


def _check_unique(folder: Path, images: dict[str, str], stems: Iterable[str]) -> None:
    """Refuse frames that are listed twice, and different frames whose keys are the same."""
    stem_by_key: dict[str, str] = {}
    for stem in stems:
        key = key_of(stem)
        if stem_by_key.get(key) == stem:
            raise UserError("is listed twice", file=folder, key=stem, hint="list a frame once, in one split")
        if key in stem_by_key:
            message = f"{images[stem_by_key[key]]} and {images[stem]} have the same key"
            hint = "rename one: other characters than A-Za-z0-9_- become _"
            raise UserError(message, file=folder, key=key, hint=hint)
        stem_by_key[key] = stem


def _more(files: Sequence[str]) -> str:
    return f" and {len(files) - 1} more" if files[1:] else ""


def _without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
