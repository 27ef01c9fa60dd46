"""Anybody's own data: a folder of images, and a folder of label images for each task.

    ROOT/rgb/0001.jpg         .jpg, .png, .webp, .bmp, .tif or .ppm; folders within are welcome (rgb/site_a/0001.jpg)
    ROOT/semseg/0001.png      the label of rgb/0001.*; a frame without one simply lacks the label
    ROOT/depth/0001.png       any task that dataset.yaml declares has a folder of its name
    ROOT/train.txt, val.txt   one stem a line (0001, or site_a/0001); test.txt stands in for a missing val.txt
    ROOT/dataset.yaml         what the numbers in the label files mean, and where files lie that are called otherwise:

.. code-block:: yaml

    name: warehouse              # default: the name of the folder
    val_fraction: 0.1            # instead of train.txt and val.txt
    group_by: folder             # what val_fraction keeps in one split: a folder of rgb, or a pattern of names
    images: "rgb/{name}"         # the default; "{split}/images/{name}" where folders say the split
    intrinsics: {fx: 525, fy: 525, cx: 319.5, cy: 239.5}     # of the camera, in pixels, where they are known
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
        scale: 0.001             # one stored step: here a millimetre, in metres
        unit: m                  # default m
        invalid: [65535]         # stored numbers that mean no measurement, beside 0
        channel: Z               # of EXR files with several
        range: [0.1, 60]         # in the unit: what is outside is no measurement
      normals:
        kind: unit_vector
      ground:
        kind: binary             # masks that may overlap
        masks: [drivable, edge]  # in the order of the bits
        ignore: 255              # the stored number that means "no label"; default 255, of more than 7 masks 65535

===========  ======================================================================================================
kind         label file
===========  ======================================================================================================
classes      PNG of 8 or 16 bits with one channel, or a palette PNG, whose indices count; or RGB, in the declared
             ``colours``
scalar       PNG of 8 or 16 bits, TIFF, or ``.npy``, with one channel: floats in ``unit``, whole numbers in steps of
             ``scale``; 0, NaN, infinite, negative, ``invalid``, outside ``range`` = no measurement
unit_vector  RGB PNG of 8 bits, component = value / 127.5 - 1; what is far from length 1 (black, grey) is no label
binary       PNG of 8 or 16 bits with one channel: bit k says whether mask k holds; of a single mask, 0 is no and
             anything else yes
===========  ======================================================================================================

An image that its EXIF orientation turns is turned before it is stored. Labels are taken as drawn on the upright view,
or where only that fits their sides, as lying on the sensor's grid; ``label_orientation: upright | sensor`` says which.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards.codec import key_of
from shards.errors import UserError
from shards.images import RGB_SUFFIXES, read_picture
from shards.notes import about, note
from shards.orientation import upright
from shards.sources.base import Frame
from shards.sources.declaration import FILE, IMAGES, Declaration, LabelFormat, declare
from shards.sources.layout import Files, Pattern, by_folder
from shards.sources.listing import composed, stem_of
from shards.sources.sequences import by_hash, divided


class Folder:
    """A folder as this module describes it. Arguments win over ``dataset.yaml``, and can stand in for it.

    Args:
        root: the folder that holds ``rgb``, or whatever ``images`` of ``dataset.yaml`` names.
        name: the data set's name.
        classes: the number or the names of the classes of ``semseg``.
        ignore: the stored number(s) in ``semseg`` that mean "no label".
        offset: the stored number of the first class of ``semseg``.
        depth_scale: metres a stored step of ``depth``.
        val_fraction: the part of the frames that validates, chosen by a hash of their keys.
        intrinsics: ``fx``, ``fy``, ``cx``, ``cy`` of the camera, in pixels of the frames as they are.
        group_by: what ``val_fraction`` keeps in one split: ``folder``, or a regular expression of names.

    Raises:
        UserError: when the folder, its lists or its declaration contradict themselves.
    """

    unmatched: dict[str, list[str]]
    """By folder (``rgb``, or a task's name), the files in it that no frame uses: labels without an image, and files
    of a kind that is not read there. For the user to see, as is :attr:`undeclared`."""
    undeclared: list[str]
    """Folders beside ``rgb`` that no declared task reads."""
    unlisted: list[str]
    """Images in no list of frames."""

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
        given = _without_none(name=name, val_fraction=val_fraction, group_by=group_by)
        given |= _without_none(intrinsics=intrinsics, tasks=tasks or None)
        declared = declare(self.root, given)
        self.name, self._formats = declared.name, declared.formats
        self.tasks = tuple(each.task for each in self._formats)
        if declared.images == IMAGES and not (self.root / "rgb").is_dir():
            hint = f"make it, or say in {FILE} where images lie, such as images: 'color/{{name}}'"
            raise UserError("is not a folder", file=self.root / "rgb", hint=hint)
        pictures = declared.images.find(self.root, RGB_SUFFIXES)
        found = {each.task.name: each.pattern.find(self.root, each.task.storage.suffixes) for each in self._formats}
        images = self._images(declared.images, pictures, found.values())
        own = declared.images != IMAGES or any(each.files for each in self._formats)
        folders = {path.name for path in self.root.iterdir() if path.is_dir() and path.name[0] != "."}
        self.undeclared = [] if own else sorted(folders - {"rgb", *(task.name for task in self.tasks)})
        self.options: dict[str, Any] = {
            "source": "folder",
            "stored": {each.task.name: dict(each.how) for each in self._formats},
            "val_fraction": declared.val_fraction,
        }
        self._drawn_on, self._by_folder = declared.label_orientation, declared.images.splits
        self._camera = _without_none(intrinsics=declared.intrinsics)
        self.options |= self._camera
        self.options |= _without_none(group_by=declared.group_by, label_orientation=declared.label_orientation)
        if own:
            self.options["files"] = {"rgb": declared.images.text} | {
                each.task.name: each.pattern.text for each in self._formats
            }
        stems = self._split(images, declared)
        used = {stem for names in stems.values() for stem in names}
        self.unlisted = [file for stem, file in images.items() if stem not in used]
        self._divided = None if declared.val_fraction is None or declared.group_by else divided(stems)
        self.splits = {split: [key_of(stem) for stem in names] for split, names in stems.items()}
        labels = {each.task.name: self._match(each, found[each.task.name], images, used) for each in self._formats}
        # only what load() needs, since every shard that is packed in another process pickles its source
        self._files = {
            split: [
                (images[stem], {task: files[stem] for task, files in labels.items() if stem in files}) for stem in names
            ]
            for split, names in stems.items()
        }

    def notices(self) -> list[str]:
        """What of the folder is left out."""
        lines = [
            f"{name}: left out, as no {'image' if name == 'rgb' else 'label of an image'}: {files[0]}{_more(files)}"
            for name, files in self.unmatched.items()
        ]
        if self.unlisted:
            where = "a folder of neither split" if self._by_folder else "no list"
            train = "the folder train" if self._by_folder else "train.txt"
            what = f"rgb: {len(self.unlisted)} images are in {where}: left out, the first is {self.unlisted[0]}"
            lines.append(f"{what}; frames without labels belong into {train}, for pseudo-labels")
        lines += [f"val_fraction: {self._divided}"] if self._divided else []
        lines += [f"{each.task.name}: {guess}" for each in self._formats for guess in each.guesses]
        lines += [f"{name}: left out, as no declared task has the name of this folder" for name in self.undeclared]
        return lines

    def files(self, split: str, position: int) -> dict[str, Path]:
        """The image of ``splits[split][position]`` as ``rgb``, and its label files by task."""
        image, labels = self._files[split][position]
        return {"rgb": self._folders["rgb"] / image} | {
            task: self._folders[task] / file for task, file in labels.items()
        }

    def load(self, split: str, position: int) -> Frame:
        """The frame of ``splits[split][position]``."""
        files = self.files(split, position)
        with about("rgb"):
            rgb, turn = read_picture(files["rgb"])
            if turn is not None and self._camera:
                note("turned, while intrinsics are taken as those of the upright image")
        labels = {f.task.name: f.read(files[f.task.name]) for f in self._formats if f.task.name in files}
        if turn is not None and isinstance(rgb, np.ndarray):
            for task in (each.task for each in self._formats if each.task.name in labels):
                with about(task.name, files[task.name], self.splits[split][position]):
                    label = labels[task.name]
                    labels[task.name] = upright(label, task.storage.directional, turn, rgb.shape[:2], self._drawn_on)
        meta = {"file": files["rgb"].relative_to(self.root).as_posix(), **self._camera}
        return Frame(rgb, labels, meta, files)

    def _images(self, pattern: Pattern, found: Files, labels: Iterable[Files]) -> dict[str, str]:
        """Images by stem; what a pattern of labels names is none."""
        taken = {of.folder / file for of in labels for file in of.by_stem.values()}
        images = {stem: file for stem, file in found.by_stem.items() if found.folder / file not in taken}
        other = [file for file in found.other if found.folder / file not in taken]
        self.unmatched = {"rgb": other} if other else {}
        self._folders = {"rgb": found.folder}
        if not images and pattern != IMAGES:
            hint = f"correct the pattern; images end in {', '.join(sorted(RGB_SUFFIXES))}"
            raise UserError(f"{pattern.text} names no image", file=self.root / FILE, key="images", hint=hint)
        return images

    def _match(self, declared: LabelFormat, found: Files, images: dict[str, str], used: set[str]) -> dict[str, str]:
        """Label files by stem; those without an image go to :attr:`unmatched`."""
        task = declared.task
        folder, files, other = found.folder, found.by_stem, found.other
        self._folders[task.name] = folder
        if declared.files and not files:
            hint = f"correct the pattern; labels end in {', '.join(sorted(task.storage.suffixes))}"
            raise UserError(
                f"{declared.files.text} names no file", file=self.root / FILE, key=f"tasks.{task.name}.files", hint=hint
            )
        lost = other + [file for stem, file in files.items() if stem not in images]
        if lost:
            self.unmatched[task.name] = sorted(lost)
        if lost and not files.keys() & images.keys():
            suffixes = " or ".join(sorted(task.storage.suffixes))
            what = f"none of its {len(lost)} files is the label of an image, the first is {lost[0]}"
            hint = f"name each after its image in rgb, ending in {suffixes}"
            raise UserError(what, file=folder, hint=hint)
        if not files:
            raise UserError("holds no label", file=folder, hint=f"put some there, or take the task out of {FILE}")
        if not files.keys() & used:
            what = f"none of its {len(files)} labels is of a frame that trains or validates"
            raise UserError(what, file=folder, hint="list frames that have labels in train.txt and val.txt")
        return files

    def _split(self, images: dict[str, str], declared: Declaration) -> dict[str, list[str]]:
        """Stems of every split, from the folders, the lists or by fraction."""
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
                raise UserError(f"says it beside {listed[0].name}", file=self.root / FILE, key="images", hint=hint)
            splits = by_folder(images)
        elif val_fraction is not None:
            splits = by_hash(images, val_fraction, declared.group_by)
        elif len(listed) == 2:
            splits = {split: self._read_list(path, images) for split, path in lists.items()}
        else:
            hint = f"write train.txt and val.txt with one stem a line, or set val_fraction in {FILE}"
            raise UserError("does not say which frames train and which validate", file=self.root, hint=hint)
        empty = next((split for split, stems in splits.items() if not stems), None)
        if empty:
            what = f"no frame of {len(images)} is in split {empty}"
            hint = "change val_fraction" if val_fraction is not None else f"list some in {lists[empty].name}"
            if declared.images.splits:
                hint = "call the folders of {split} train and val"
            raise UserError(what, file=self.root, hint=hint)
        _check_unique(self._folders["rgb"], images, [stem for stems in splits.values() for stem in stems])
        return splits

    def _read_list(self, path: Path, images: dict[str, str]) -> list[str]:
        """The stems that a list names, in its order; a name may carry its image's suffix."""
        try:
            lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot be read ({error})", file=path, hint="save it as UTF-8 text") from error
        image_of = set(map(composed, images.values()))
        stems = [stem_of(line) if line in image_of else line for line in map(composed, lines) if line]
        lost = [stem for stem in stems if stem not in images]
        if lost:
            what = f"names frames without an image: {len(lost)}, the first is {lost[0]}"
            hint = f"put it into {self._folders['rgb']}, or take it off the list"
            raise UserError(what, file=path, hint=hint)
        return stems


def _check_unique(folder: Path, images: dict[str, str], stems: Iterable[str]) -> None:
    """Refuse frames that stand in the lists twice, and different ones whose keys are the same."""
    seen: dict[str, str] = {}
    for stem in stems:
        key = key_of(stem)
        if seen.get(key) == stem:
            raise UserError("is listed twice", file=folder, key=stem, hint="list a frame once, in one split")
        if key in seen:
            what = f"{images[seen[key]]} and {images[stem]} have the same key"
            raise UserError(what, file=folder, key=key, hint="rename one: other characters than A-Za-z0-9_- become _")
        seen[key] = stem


def _more(files: Sequence[str]) -> str:
    return f" and {len(files) - 1} more" if files[1:] else ""


def _without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
