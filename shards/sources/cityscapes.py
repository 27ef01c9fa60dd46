"""Cityscapes from its official tree: street scenes of 50 cities at 2048×1024, 19 classes or 7, stereo disparity.

    ROOT/leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png
    ROOT/gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png
    ROOT/gtCoarse/SPLIT/CITY/NAME_gtCoarse_labelIds.png      with ``coarse`` only
    ROOT/disparity/SPLIT/CITY/NAME_disparity.png
    ROOT/camera/SPLIT/CITY/NAME_camera.json

Cordts et al.: "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016; class names, ids and
colours are those of ``labels.py`` in its published scripts, disparity and camera those of its README. The 7 classes are
the categories of that table: each of the 19 classes counts as its category; classes that are not trained on stay void.
"""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shards.codec import key_of
from shards.errors import UserError
from shards.images import read_rgb, read_values
from shards.sources.base import Frame
from shards.tasks import IGNORE, Task

_CLASSES = {  # label id: name, colour; in the order of the train ids
    7: ("road", (128, 64, 128)),
    8: ("sidewalk", (244, 35, 232)),
    11: ("building", (70, 70, 70)),
    12: ("wall", (102, 102, 156)),
    13: ("fence", (190, 153, 153)),
    17: ("pole", (153, 153, 153)),
    19: ("traffic light", (250, 170, 30)),
    20: ("traffic sign", (220, 220, 0)),
    21: ("vegetation", (107, 142, 35)),
    22: ("terrain", (152, 251, 152)),
    23: ("sky", (70, 130, 180)),
    24: ("person", (220, 20, 60)),
    25: ("rider", (255, 0, 0)),
    26: ("car", (0, 0, 142)),
    27: ("truck", (0, 0, 70)),
    28: ("bus", (0, 60, 100)),
    31: ("train", (0, 80, 100)),
    32: ("motorcycle", (0, 0, 230)),
    33: ("bicycle", (119, 11, 32)),
}
_CATEGORIES = {  # name: label ids; the colour is that of the first id
    "flat": (7, 8),
    "construction": (11, 12, 13),
    "object": (17, 19, 20),
    "nature": (21, 22),
    "sky": (23,),
    "human": (24, 25),
    "vehicle": (26, 27, 28, 31, 32, 33),
}
_LICENSE_PLATE = 255  # -1 of labels.py in 8 bits
_LAST_ID = 33
_SCALE = 1 / 128
_STORED = 500
"""Metres that 16 bits hold at that scale, rounded down."""
MAX_DEPTH = 200.0
"""Metres, the range of depth in the paper. There disparity is about 2.4 pixels, and a quarter pixel is 20 m."""
DEPTH = Task("depth", "scalar", scale=_SCALE, unit="m")
INVERSE_DEPTH = Task("inverse_depth", "scalar", scale=2**-16, unit="1/m", zoom="multiply")
"""Steps of 1/65536 m⁻¹ represent distances from 1 m to 500 m; the camera's disparity in 16 bits starts at 1.9 m."""
_TREE_HINT = "unpack leftImg8bit, gtFine, disparity and camera of cityscapes-dataset.com side by side into this folder"


class Cityscapes:
    """The official train and val splits; the test split is left out, since its published labels are blank.

    A frame without a label file lacks that label. Keys are the file names without ``_leftImg8bit.png``.

    Args:
        root: the folder that contains ``leftImg8bit``.
        coarse: add the frames of ``train_extra`` to ``train``, and coarse labels to frames of ``train`` without fine
            ones. ``val`` has fine labels only, so that metrics stay comparable.
        max_depth: metres; a greater depth counts as no measurement.
        classes: 19, or 7 for their categories.
        inverse_depth: True for a task ``inverse_depth`` in 1/m, disparity / (baseline × fx), instead of ``depth``.

    Raises:
        UserError: when a folder is missing or empty, or 16 bits cannot hold depths up to ``max_depth``.
    """

    name = "cityscapes"

    def __init__(
        self,
        root: str | Path,
        coarse: bool = False,
        max_depth: float = MAX_DEPTH,
        classes: Literal[19, 7] = 19,
        inverse_depth: bool = False,
    ) -> None:
        if not 0 < max_depth <= _STORED:
            hint = f"give metres, more than 0 and at most {_STORED}, which 16 bits hold"
            raise UserError(f"{max_depth:g}", key="--max-depth", hint=hint)
        if classes not in (19, 7):
            raise UserError(f"{classes} classes", key="classes", hint="give 19 or 7")
        self.root, self.max_depth = Path(root), max_depth
        self.options: dict[str, Any] = {"source": self.name, "coarse": coarse, "max_depth": float(max_depth)}
        self.options |= {"classes": classes} if classes != 19 else {}
        self.options |= {"inverse_depth": True} if inverse_depth else {}
        ids_of = {name: (label_id,) for label_id, (name, _) in _CLASSES.items()} if classes == 19 else _CATEGORIES
        colours = tuple(_CLASSES[label_ids[0]][1] for label_ids in ids_of.values())
        self._index_of = np.full(256, IGNORE, np.uint8)
        for index, label_ids in enumerate(ids_of.values()):
            self._index_of[list(label_ids)] = index
        self._depth = INVERSE_DEPTH if inverse_depth else DEPTH
        self.tasks: tuple[Task, ...] = (Task("semseg", "classes", tuple(ids_of), colours), self._depth)
        self._labels = {"train": ("gtFine", "gtCoarse") if coarse else ("gtFine",), "val": ("gtFine",)}
        if coarse and not (self.root / "gtCoarse").is_dir():
            raise UserError("has no gtCoarse", file=self.root, hint="unpack gtCoarse there, or leave coarse out")
        if not any((self.root / kind).is_dir() for kind in (*self._labels["train"], "disparity")):
            raise UserError("has neither gtFine nor disparity", file=self.root, hint=_TREE_HINT)
        folders = {"train": ("train", "train_extra") if coarse else ("train",), "val": ("val",)}
        self._frames = {
            split: [frame for name in names for frame in self._list(name)] for split, names in folders.items()
        }
        self.splits = {
            split: [key_of(frame.rpartition("/")[2]) for frame in frames] for split, frames in self._frames.items()
        }

        self._check_labels()

    def _check_labels(self) -> None:
        """Refuse a folder of labels that match no frame, or that lies one level too deep."""
        frames = [(split, place) for split, names in self._frames.items() for place in range(len(names))]
        for role, kinds in (("semseg", self._labels["train"]), (self._depth.name, ("disparity",))):
            if any(role in self.files(*frame) for frame in frames):
                continue
            for kind in kinds:
                nested = next(iter(sorted(self.root.glob(f"*/{kind}"))), None)
                if nested is not None:
                    hint = f"move {nested} to {self.root / kind}"
                    raise UserError(f"no frame has {role}", file=self.root / kind, hint=hint)
                if (self.root / kind).is_dir():
                    hint = f"it should hold {kind}/SPLIT/CITY/*.png, as it was published; or move it away"
                    raise UserError(f"holds no file of a frame: no frame has {role}", file=self.root / kind, hint=hint)

    def files(self, split: str, position: int) -> dict[str, Path]:
        """Return the existing files of ``splits[split][position]``: ``rgb``, ``semseg``, ``depth`` (or
        ``inverse_depth``) and ``camera``."""
        frame = self._frames[split][position]
        labels = [
            *(("semseg", self._path(kind, frame, f"{kind}_labelIds.png")) for kind in reversed(self._labels[split])),
            (self._depth.name, self._path("disparity", frame, "disparity.png")),
            ("camera", self._path("camera", frame, "camera.json")),
        ]
        rgb = self._path("leftImg8bit", frame, "leftImg8bit.png")
        return {"rgb": rgb} | {role: path for role, path in labels if path.is_file()}

    def load(self, split: str, position: int) -> Frame:
        """Return the frame of ``splits[split][position]``, with RGB as the file's own bytes."""
        frame, files, labels = self._frames[split][position], self.files(split, position), {}
        camera = _read_camera(files["camera"]) if "camera" in files else None
        if "semseg" in files:
            labels["semseg"] = self._index_of[_read_ids(files["semseg"])]
        if self._depth.name in files:
            if camera is None:
                message = "is missing, but depth needs it in addition to the disparity"
                hint = "unpack camera into the same folder as disparity"
                raise UserError(message, file=self._path("camera", frame, "camera.json"), hint=hint)
            stored, fx = read_values(files[self._depth.name]), camera["intrinsics"]["fx"]
            depth = depth_of(stored, camera["baseline"], fx, self.max_depth)
            if self._depth == INVERSE_DEPTH:
                depth = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
            labels[self._depth.name] = depth
        return Frame(read_rgb(files["rgb"]), labels, {"city": frame.split("/")[1], **(camera or {})}, files)

    def _list(self, folder: str) -> list[str]:
        """Return the frames of a folder of ``leftImg8bit`` as ``FOLDER/CITY/NAME``, sorted."""
        ending = "_leftImg8bit.png"
        images = self.root / "leftImg8bit"
        frames = sorted(
            path.relative_to(images).as_posix().removesuffix(ending)
            for path in images.glob(f"{folder}/*/[!.]*{ending}")
        )
        if not frames:
            raise UserError(f"has no {folder}/CITY/*{ending}", file=images, hint=_TREE_HINT)
        return frames

    def _path(self, kind: str, frame: str, ending: str) -> Path:
        return self.root / kind / f"{frame}_{ending}"


def depth_of(stored: np.ndarray, baseline: float, fx: float, max_depth: float = MAX_DEPTH) -> np.ndarray:
    """Compute depth from a stored disparity map.

    ``disparity = (stored - 1) / 256`` pixels, ``depth = baseline · fx / disparity`` (Cityscapes README). A stored 0
    means no measurement, 1 would be infinitely far, and 2 is over 100 km.

    Args:
        stored: ``(H, W)`` uint16.
        baseline: metres between the cameras.
        fx: focal length in pixels.
        max_depth: metres.

    Returns:
        ``(H, W)`` float32 in metres, 0 where there is no measurement or the depth is over ``max_depth``.
    """
    disparity = (stored.astype(np.float32) - 1) / 256
    depth = np.divide(baseline * fx, disparity, out=np.zeros_like(disparity), where=disparity > 0)
    depth[depth > max_depth] = 0
    return depth


def _read_camera(path: Path) -> dict[str, Any]:
    """Read the baseline in metres and the intrinsics in pixels."""
    try:
        camera = json.loads(path.read_bytes())
        intrinsic = camera["intrinsic"]
        # the principal point is (u0, v0) in the file, and (cx, cy) in every other data set
        names = {"fx": "fx", "fy": "fy", "cx": "u0", "cy": "v0"}
        return {
            "intrinsics": {name: float(intrinsic[key]) for name, key in names.items()},
            "baseline": float(camera["extrinsic"]["baseline"]),
        }
    except KeyError as error:
        raise UserError("is missing", file=path, key=error.args[0], hint="unpack camera again") from error
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"cannot be read ({error})", file=path, hint="unpack camera again") from error


def _read_ids(path: Path) -> np.ndarray:
    """Read the label ids ``(H, W)`` of a ``labelIds`` file."""
    ids = read_values(path)
    wrong = ids[(ids > _LAST_ID) & (ids != _LICENSE_PLATE)]
    if wrong.size:
        message = f"label id {wrong[0]} is none of Cityscapes' (0 to {_LAST_ID})"
        raise UserError(message, file=path, hint="use the labelIds files as they were published")
    return ids
