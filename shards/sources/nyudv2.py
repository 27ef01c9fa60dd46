"""NYU Depth V2 from its official files: 1,449 labelled indoor frames of a Kinect, 40 classes or 13.

    FOLDER/nyu_depth_v2_labeled.mat   images, depths, rawDepths, labels, scenes: MATLAB 7.3, that is HDF5
    FOLDER/splits.mat                 trainNdxs and testNdxs, 1-based
    FOLDER/classMapping40.mat         from the raw classes to the 40 of Gupta et al.

Silberman, Hoiem, Kohli, Fergus: "Indoor Segmentation and Support Inference from RGBD Images", ECCV 2012;
Gupta, Arbelaez, Malik: "Perceptual Organization and Recognition of Indoor Scenes from RGB-D Images", CVPR 2013.
The 13 classes are those of Couprie, Farabet, Najman, LeCun: "Indoor Semantic Segmentation using depth information",
ICLR 2013, as A. Handa's ``nyuv2-meta-data`` (github.com/ankurhanda) merges the 40 into them.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import scipy.io

from shards.errors import UserError
from shards.sources.base import Frame
from shards.tasks import IGNORE, Task, palette

FRAMES, SPLITS, MAPPING = "nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"
INTRINSICS = {"fx": 518.8579, "fy": 519.4696, "cx": 325.5824, "cy": 253.7362}
"""The Kinect's RGB camera in pixels of the full 640×480 frame, onto which the depth is projected
(``camera_params.m`` of the data set's toolbox; its lens distortion is left out)."""
_DEPTHS = {"filled": "depths", "raw": "rawDepths"}
_PAGE = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
_CLASSES_13: dict[str, tuple[int, ...]] = {  # name: numbers of the 40 classes that it merges, from 1
    "bed": (4,),
    "books": (23,),
    "ceiling": (22,),
    "chair": (5,),
    "floor": (2, 20),
    "furniture": (3, 10, 12, 15, 17, 24, 32, 39),
    "objects": (18, 19, 21, 26, 27, 28, 29, 30, 31, 33, 34, 35, 36, 37, 38, 40),
    "picture": (11,),
    "sofa": (6,),
    "table": (7, 14),
    "tv": (25,),
    "wall": (1, 8),
    "window": (9, 13, 16),
}
_AXES = {"images": 4, "depths": 3, "rawDepths": 3, "labels": 3}


class Nyudv2:
    """The official splits, ``test`` as ``val``; keys are ``nyu_0001`` by the official 1-based index.

    Each frame is read from the file on demand, so memory holds one at a time. The file is opened for every frame (well
    under a millisecond), so that no open file has to survive pickling or a fork.

    Args:
        folder: the folder of the three files.
        depth: ``filled`` for depth with its holes filled in, ``raw`` for the sensor's depth, which is 0 in holes.
        classes: 40, or 13 that the 40 are merged into.

    Raises:
        UserError: when a file is missing or does not have the official layout.
    """

    name = "nyudv2"

    def __init__(
        self, folder: str | Path, depth: Literal["filled", "raw"] = "filled", classes: Literal[40, 13] = 40
    ) -> None:
        if depth not in _DEPTHS:
            raise UserError(f"depth {depth!r}", key="depth", hint=f"give one of {', '.join(_DEPTHS)}")
        if classes not in (40, 13):
            raise UserError(f"{classes} classes", key="classes", hint="give 40 or 13")
        self.folder = Path(folder)
        self.options: dict[str, Any] = {"source": self.name, "depth": depth}
        if classes != 40:
            self.options["classes"] = classes
        self._depth = _DEPTHS[depth]
        names, self._index_of = _class_mapping(self.folder / MAPPING)
        if classes == 13:
            names, self._index_of = _merge_classes(names, self._index_of, self.folder / MAPPING)
        self.tasks: tuple[Task, ...] = (
            Task("semseg", "classes", names, palette(len(names))),
            Task("depth", "scalar", scale=0.001, unit="m"),
        )
        official = _splits(self.folder / SPLITS, _frame_count(self.folder / FRAMES, self._depth))
        self._official = {"train": official["trainNdxs"], "val": official["testNdxs"]}
        self.splits = {split: [f"nyu_{i:04d}" for i in indices] for split, indices in self._official.items()}

    def files(self, split: str, position: int) -> dict[str, Path]:
        """Return the three files, which all frames share."""
        return {name: self.folder / name for name in (FRAMES, SPLITS, MAPPING)}

    def load(self, split: str, position: int) -> Frame:
        """Return the frame of ``splits[split][position]``, with both labels."""
        index = self._official[split][position]
        path = self.folder / FRAMES
        meta: dict[str, Any] = {"index": index, "intrinsics": INTRINSICS}
        with _hdf5(path) as file:
            # MATLAB's axes are reversed: (3, W, H) and (W, H)
            rgb = np.ascontiguousarray(file["images"][index - 1].transpose(2, 1, 0))
            depth = np.ascontiguousarray(file[self._depth][index - 1].T, dtype=np.float32)
            raw = file["labels"][index - 1].T
            if "scenes" in file:
                meta["scene"] = "".join(map(chr, file[file["scenes"][0, index - 1]][:].ravel()))
        if raw.max() >= len(self._index_of):
            message = f"raw class {raw.max()}, where {MAPPING} maps 1 to {len(self._index_of) - 1}"
            raise UserError(message, file=path, key=f"labels[{index}]", hint=f"download both again from {_PAGE}")
        depth[~np.isfinite(depth)] = 0
        return Frame(rgb, {"semseg": self._index_of[raw], "depth": depth}, meta)


def _frame_count(path: Path, depth: str) -> int:
    """Return the number of frames, after checking that all arrays that are read have it."""
    _require(path)
    if not h5py.is_hdf5(path):
        hint = f"download it from {_PAGE}; if it was saved again, save it as MATLAB 7.3"
        raise UserError("is not an HDF5 file, which MATLAB 7.3 writes", file=path, hint=hint)
    shapes = {}
    with _hdf5(path) as file:
        for name in ("images", depth, "labels"):
            if name not in file:
                raise UserError("is not in the file", file=path, key=name, hint=f"download it from {_PAGE}")
            shapes[name] = file[name].shape
    count, *size = shapes["labels"]
    for name, shape in shapes.items():
        if len(shape) != _AXES[name] or shape[0] != count or [*shape[-2:]] != size:
            message = f"has shape {shape}, where labels has {shapes['labels']}"
            raise UserError(message, file=path, key=name, hint=f"download it again from {_PAGE}")
    return count


def _splits(path: Path, count: int) -> dict[str, list[int]]:
    """Read the 1-based frame indices ``trainNdxs`` and ``testNdxs`` of the official splits."""
    arrays = _load_mat(path, "trainNdxs", "testNdxs")
    indices = {name: array.ravel().astype(np.int64) for name, array in arrays.items()}
    for name, array in indices.items():
        wrong = array[(array < 1) | (array > count)]
        if wrong.size:
            message = f"names frame {wrong[0]}, where {FRAMES} has {count}"
            raise UserError(message, file=path, key=name, hint="take both files from the same download")
    return {name: array.tolist() for name, array in indices.items()}


def _class_mapping(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Read the class names, and the class index of every raw class from 0 (no label) up."""
    arrays = _load_mat(path, "className", "mapClass")
    names, mapped = arrays["className"].ravel(), arrays["mapClass"].ravel().astype(np.int64)
    if not mapped.size or mapped.min() < 0 or mapped.max() > len(names):
        message = f"maps {mapped.size} raw classes, but not to 0..{len(names)}, the classes that it names"
        raise UserError(message, file=path, key="mapClass", hint="use the file as it was published")
    index_of = np.full(len(mapped) + 1, IGNORE, np.uint8)
    index_of[1:][mapped > 0] = mapped[mapped > 0] - 1
    return tuple(str(name[0]) for name in names), index_of


def _merge_classes(names: tuple[str, ...], index_of: np.ndarray, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Merge the 40 classes: return the names of the 13, and the index of every raw class among them."""
    if len(names) != 40:
        message = f"names {len(names)} classes, where 40 are merged into 13"
        raise UserError(message, file=path, key="className", hint="use the file as it was published")
    merged = np.full(IGNORE + 1, IGNORE, np.uint8)
    for index, numbers in enumerate(_CLASSES_13.values()):
        merged[np.array(numbers) - 1] = index
    return tuple(_CLASSES_13), merged[index_of]


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # h5py raises nearly any exception for a broken file
        reason = " ".join(str(error).split())
        hint = "it may be cut short: download it again"
        raise UserError(f"cannot be read ({reason})", file=path, hint=hint) from error


def _load_mat(path: Path, *names: str) -> Mapping[str, np.ndarray]:
    """Read arrays of a MATLAB 5 file."""
    _require(path)
    hint = f"use the file as it was published, see {_PAGE}"
    try:
        arrays = scipy.io.loadmat(path, variable_names=names)
    except Exception as error:  # scipy raises nearly any exception for a broken file
        reason = " ".join(str(error).split())
        raise UserError(f"is not a MATLAB 5 file ({reason})", file=path, hint=hint) from error
    for name in names:
        if name not in arrays:
            raise UserError("is not in the file", file=path, key=name, hint=hint)
    return {name: arrays[name] for name in names}


def _require(path: Path) -> None:
    if not path.is_file():
        hint = f"put {FRAMES}, {SPLITS} and {MAPPING} into one folder ({_PAGE})"
        raise UserError("is missing", file=path, hint=hint)
