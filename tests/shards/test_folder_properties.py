"""Generated folders: the shards contain what an independent reading of the folder gives, pixel for pixel, or packing
raises an error with the right reason.

The independent reading (:class:`Reading`) uses numpy and Pillow alone, and shares no code with Tutelage.
"""

import io
import json
import re
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shards.errors import UserError
from shards.inspect import remarks
from shards.pack import pack
from shards.sources.folder import Folder

NAMES = ["0001", "0002", "a b", "a_b", "site/0001", "site/x.y", "été", "Z-9"]
SCALES = [0.001, 0.01, 1.0, 1 / 128, 2**-16]
IMAGES = ["rgb", "grey", "alpha", "sixteen", "palette"]
DEPTHS = ["png16", "png8", "npy_float", "npy_int", "tif_float", "tif16"]
MASKS = ["png8", "png16", "palette", "colour"]


@dataclass
class Case:
    """A folder to write: files as arrays, and ``dataset.yaml``."""

    declared: dict[str, Any]
    images: dict[str, tuple[np.ndarray, str, int]] = field(default_factory=dict)
    depths: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    masks: dict[str, tuple[np.ndarray, str]] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def write(self, root: Path) -> None:
        for folder in ("rgb", *self.declared["tasks"]):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name, (pixels, mode, orientation) in self.images.items():
            image = Image.fromarray(pixels)
            image = image.convert("P") if mode == "palette" else image
            exif = Image.Exif()
            exif[0x0112] = orientation
            image.save(make_parent(root / "rgb" / f"{name}.png"), exif=exif)
        for name, (stored, kind) in self.depths.items():
            if kind.startswith("npy"):
                np.save(make_parent(root / "depth" / f"{name}.npy"), stored)
            else:
                Image.fromarray(stored).save(make_parent(root / "depth" / f"{name}.{kind[:3]}"))
        for name, (stored, kind) in self.masks.items():
            image = Image.fromarray(stored)
            if kind == "palette":
                image.putpalette([channel for index in range(256) for channel in (index, 255 - index, 7)])
            image.save(make_parent(root / "mask" / f"{name}.png"))
        for split, names in self.lists.items():
            (root / f"{split}.txt").write_text("\n".join(names), "utf-8")
        (root / "dataset.yaml").write_text(yaml.safe_dump(self.declared), "utf-8")


def make_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@st.composite
def cases(draw: st.DrawFn) -> Case:
    classes, offset = draw(st.integers(1, 4)), draw(st.integers(0, 2))
    mask: dict[str, Any] = {"kind": "classes", "classes": [f"c{i}" for i in range(classes)], "offset": offset}
    mask |= draw(st.sampled_from([{}, {}, {"ignore": 255}, {"ignore": [200, 255]}, {"ignore": 0} if offset else {}]))
    colours = [[40 * i + 1, 7, 9] for i in range(classes)]
    mask |= draw(st.sampled_from([{}, {"colours": colours}]))
    if draw(st.booleans()) and classes > 1:  # the same classes, and another number for the first one
        del mask["offset"]
        mask["classes"] = {offset + i: f"c{i}" for i in range(classes)} | {77: "c0"}
    depth: dict[str, Any] = {"kind": "scalar", "scale": draw(st.sampled_from(SCALES))}
    scale = depth["scale"]
    depth |= draw(st.sampled_from([{}, {"invalid": 65535}, {"invalid": [65535, 7]}]))
    depth |= draw(st.sampled_from([{}, {"range": [10.2 * scale, 3000.3 * scale]}]))
    tasks = draw(st.sampled_from([{"mask": mask}, {"depth": depth}, {"mask": mask, "depth": depth}]))
    case = Case({"name": "x", "tasks": tasks})
    faulty = draw(st.integers(0, 2)) == 2  # whether the folder may contain errors
    names = st.lists(st.sampled_from(NAMES), min_size=2, max_size=5, unique=True)
    for position, name in enumerate(
        draw(names if faulty else names.filter(lambda drawn: not {"a b", "a_b"} <= {*drawn}))
    ):
        seed = draw(st.integers(0, 2**16))
        random = np.random.default_rng(seed)
        sides = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        mode = draw(st.sampled_from(["rgb", "rgb", *IMAGES]))
        orientation = draw(st.sampled_from([1, 1, 1, 1, 2, 3, 5, 6, 7, 8]))
        double = draw(st.sampled_from([1, 1, 1, 2])) if orientation == 1 else 1
        case.images[name] = picture(random, (sides[0] * double, sides[1] * double), mode), mode, orientation
        # an upright label of an image that is stored in the sensor's view
        upright_label = orientation >= 5 and draw(st.booleans())
        view = sides[::-1] if upright_label else sides
        always_labelled = not faulty and position == 0
        if "depth" in tasks and (always_labelled or draw(st.integers(0, 3))):
            case.depths[name] = depths(random, view, draw(st.sampled_from(DEPTHS)), scale, faulty)
        if "mask" in tasks and (always_labelled or draw(st.integers(0, 3))):
            size = view if faulty and draw(st.booleans()) else tuple(side * double for side in view)
            kinds = MASKS if faulty or "colours" in mask else MASKS[:3]
            case.masks[name] = masks(random, size, draw(st.sampled_from(kinds)), numbers_of(mask), colours, faulty)
        split = draw(st.sampled_from(["train", "train", "val", "val", None]))
        split = ("train", "val")[position] if position < 2 and not faulty else split
        case.lists.setdefault("train", [])
        case.lists.setdefault("val", [])
        if split:
            case.lists[split].append(name)
    return case


def picture(random: np.random.Generator, sides: tuple[int, int], mode: str) -> np.ndarray:
    if mode in ("grey", "palette"):
        return random.integers(0, 256, sides, dtype=np.uint8)
    if mode == "sixteen":
        return random.integers(0, 65536, sides, dtype=np.uint16)
    return random.integers(0, 256, (*sides, 4 if mode == "alpha" else 3), dtype=np.uint8)


def depths(random: np.random.Generator, sides: tuple[int, int], kind: str, scale: float, faulty: bool):
    blank = random.random() < 0.1
    if "float" in kind:
        steps = random.uniform(0.1, 65000, sides) * random.choice([0, 1], sides, p=[0.2, 0.8])
        values = (0 * steps if blank else steps * scale).astype(np.float32)
        values[random.random(sides) < 0.2] = random.choice([np.nan, np.inf, -1, 0])
        if faulty and random.random() < 0.7:
            values.flat[0] = 70000 * scale
        return values, kind
    dtype = {"png8": np.uint8, "npy_int": np.int32}.get(kind, np.uint16)
    max_value = 70000 if dtype is np.int32 and faulty else np.iinfo(dtype).max if dtype is not np.int32 else 65535
    values = random.integers(0, max_value, sides, endpoint=True).astype(dtype)
    values[random.random(sides) < 0.3] = random.choice([0, 7, min(max_value, 65535)])
    return (0 * values if blank else values), kind


def masks(random, sides, kind, numbers, colours, faulty):
    stored = random.choice(list(numbers), sides)
    void = random.random(sides) < (1 if random.random() < 0.15 else 0.2)
    if kind == "colour":
        return np.array(colours, np.uint8)[random.integers(0, len(colours), sides)], kind
    stored = np.where(void, 255, stored)
    if faulty and random.random() < 0.3:
        stored.flat[-1] = random.choice([0, 77, 199, 200, 255])
    return stored.astype(np.uint16 if kind == "png16" else np.uint8), kind


class Reading:
    """An independent reading of a folder: members by split and key, and the reasons for which packing must fail."""

    def __init__(self, root: Path) -> None:
        self.root, self.reasons, self.frames = root, set[str](), {}
        self.declared = yaml.safe_load((root / "dataset.yaml").read_text("utf-8"))["tasks"]
        if "mask" in self.declared and set(ignored(self.declared["mask"])) & set(numbers_of(self.declared["mask"])):
            self.reasons.add("is both ignored and class")
        seen: dict[str, str] = {}
        for split in ("train", "val"):
            names = [line for line in (root / f"{split}.txt").read_text("utf-8").splitlines() if line]
            if not names:
                self.reasons.add("no frame of")
            for name in names:
                key = re.sub(r"[^A-Za-z0-9_-]", "_", name)
                if key in seen:
                    self.reasons.add("have the same key")
                seen[key] = name
                self.frames[split, key] = self.frame(name)
        for task in self.declared:
            files = [path for path in (root / task).rglob("*.*") if path.is_file()]
            stems = {path.relative_to(root / task).with_suffix("").as_posix() for path in files}
            if not stems:
                self.reasons.add("holds no label")
            elif not stems & set(seen.values()):
                self.reasons.add("is of a frame that trains or validates")

    def frame(self, name: str) -> dict[str, Any]:
        path = self.root / "rgb" / f"{name}.png"
        image = Image.open(path)
        orientation = image.getexif().get(0x0112, 1)
        pixels = np.asarray(ImageOps.exif_transpose(image))
        frame: dict[str, Any] = {"rgb": path.read_bytes()}
        if image.mode != "RGB" or orientation != 1:
            rgb = Image.fromarray((pixels >> 8).astype(np.uint8)) if pixels.dtype == np.uint16 else None
            rgb = rgb or ImageOps.exif_transpose(image)
            frame["rgb"] = np.asarray(rgb.convert("RGB"))
        for task, read in (("depth", self.depth), ("mask", self.mask)):
            candidates = [self.root / task / f"{name}.{suffix}" for suffix in ("png", "npy", "tif")]
            file = next((path for path in candidates if path.exists()), None)
            if file is None or task not in self.declared:
                continue
            label = read(file, self.declared[task])
            if label is None:
                continue
            label = self.on_image(label, orientation, pixels.shape[:2], task)
            blank = 0 if task == "depth" else 255
            if label is not None and (label != blank).any():
                frame[task] = label
        return frame

    def on_image(self, label, orientation, size, task):
        """Put a label on the upright image's grid: turned where only that fits, or depth of half the size repeated."""
        if orientation >= 5 and label.shape[0] != label.shape[1] and label.shape != size and label.shape == size[::-1]:
            image = Image.fromarray(label)
            image.getexif()[0x0112] = orientation
            label = np.asarray(ImageOps.exif_transpose(image))
        if label.shape == size:
            return label
        if task == "depth" and (label.shape[0] * 2, label.shape[1] * 2) == size:
            return label.repeat(2, 0).repeat(2, 1)
        self.reasons.add("its image")
        return None

    def depth(self, path: Path, declared: dict[str, Any]):
        stored = np.load(path) if path.suffix == ".npy" else np.asarray(Image.open(path))
        scale, invalid = declared["scale"], np.atleast_1d(declared.get("invalid", []))
        floats = stored.dtype.kind == "f"
        with np.errstate(invalid="ignore"):
            steps = stored.astype(np.float64) / scale if floats else stored.astype(np.float64)
            measured = np.isfinite(stored) & (stored > 0) & ~np.isin(stored, invalid)
        if "range" in declared:
            low, high = (limit / scale for limit in declared["range"])
            measured &= (steps >= low - 0.5) & (steps <= high + 0.5)
        stored_steps = np.where(measured, np.maximum(np.rint(np.where(measured, steps, 0)), 1), 0)
        if stored_steps.max() > 65535:
            self.reasons.add("that 16 bits hold")
            return None
        return stored_steps.astype(np.uint16)

    def mask(self, path: Path, declared: dict[str, Any]):
        image = Image.open(path)
        stored = np.asarray(image)
        numbers = numbers_of(declared)
        names = list(dict.fromkeys(numbers.values()))
        if stored.ndim == 3:
            if "colours" not in declared:
                self.reasons.add("expected one channel")
                return None
            label = np.full(stored.shape[:2], 255, np.uint8)
            for index, colour in enumerate(declared["colours"]):
                label[(stored == colour).all(-1)] = index
            return label
        label = np.full(stored.shape, 254, np.uint8)
        for number, name in numbers.items():
            label[stored == number] = names.index(name)
        label[np.isin(stored, ignored(declared))] = 255
        if (label == 254).any():
            self.reasons.add("is none of")
            return None
        if len(numbers) <= 2 and "ignore" not in declared and set(np.unique(stored)) == {0, 255}:
            self.reasons.add("is drawn in 0 and 255")
            return None
        return label


def numbers_of(declared: dict[str, Any]) -> dict[int, str]:
    """Return the class name of each stored number."""
    classes, first = declared["classes"], declared.get("offset", 0)
    return classes if isinstance(classes, dict) else {first + i: name for i, name in enumerate(classes)}


def ignored(declared: dict[str, Any]) -> list[int]:
    return [int(number) for number in np.atleast_1d(declared.get("ignore", 255))]


def check(case: Case) -> None:
    """Pack a case and compare it with its reading."""
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "raw", Path(folder) / "out"
        case.write(root)
        reading = Reading(root)
        try:
            manifest = pack(Folder(root), out, samples_per_shard=2)
        except UserError as error:
            text = str(error)
            assert any(reason in text for reason in reading.reasons), (text, reading.reasons)
            assert error.hint and "\n" not in text and (error.file or error.key), text
            event("refused")
            return
        assert not reading.reasons, f"nothing was said of {reading.reasons}"
        event("prepared")
        compare(out, reading)
        compare_statistics(json.loads((out / "MANIFEST.json").read_text()), reading)
        unlisted_images = {name for name in case.images if not any(name in names for names in case.lists.values())}
        assert any(f"{len(unlisted_images)} images are in no list" in line for line in remarks(manifest)) == bool(
            unlisted_images
        )
        blank_labels = (
            len(case.depths) + len(case.masks) - sum(len(set(frame) - {"rgb"}) for frame in reading.frames.values())
        )
        unlisted_labels = sum(name in unlisted_images for name in [*case.depths, *case.masks])
        noted_labels = sum(
            entry["frames"]
            for split in ("train", "val")
            for texts in manifest.notes.get(split, {}).values()
            for text, entry in texts.items()
            if text.startswith("no pixel has a label")
        )
        assert noted_labels == blank_labels - unlisted_labels, "every blank label is counted"


def compare(out: Path, reading: Reading) -> None:
    members_by_frame: dict[tuple[str, str], dict[str, bytes]] = {}
    for path in out.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                members_by_frame.setdefault((path.name.split("-")[0], key), {})[extension.partition(".")[0]] = (
                    file.read()
                )
    assert members_by_frame.keys() == reading.frames.keys()
    for frame_id, frame_members in members_by_frame.items():
        expected = reading.frames[frame_id]
        assert frame_members.keys() - {"json"} == expected.keys(), frame_id
        for name, value in expected.items():
            if isinstance(value, bytes):
                assert frame_members[name] == value, frame_id
                continue
            stored = np.asarray(Image.open(io.BytesIO(frame_members[name])))
            if name == "rgb":  # not the file's own bytes: a JPEG of the pixels
                jpeg = io.BytesIO()
                Image.fromarray(value).save(jpeg, "JPEG", quality=95, subsampling=0)
                value = np.asarray(Image.open(jpeg))
            np.testing.assert_array_equal(stored, value, err_msg=f"{frame_id} {name}")
            assert stored.dtype == value.dtype


def compare_statistics(manifest: dict[str, Any], reading: Reading) -> None:
    for split in ("train", "val"):
        for task, declared in reading.declared.items():
            labels = [
                frame[task].ravel()
                for (frame_split, _), frame in reading.frames.items()
                if frame_split == split and task in frame
            ]
            statistics = manifest["statistics"][split][task]
            assert statistics["frames"] == len(labels)
            values = np.concatenate([*labels, np.zeros(0, np.uint8)])
            if task == "mask":
                classes = len(statistics["pixels"])
                assert statistics["pixels"] == np.bincount(values, minlength=256)[:classes].tolist()
                assert statistics["ignore"] == np.count_nonzero(values == 255)
            else:
                measurements = values[values > 0].astype(np.float64) * declared["scale"]
                assert (statistics["pixels"], statistics["missing"]) == (
                    len(measurements),
                    len(values) - len(measurements),
                )
                assert statistics["sum"] == pytest.approx(measurements.sum(), rel=1e-6)
                if len(measurements):
                    assert statistics["min"] == pytest.approx(measurements.min(), rel=1e-6)
                    assert statistics["max"] == pytest.approx(measurements.max(), rel=1e-6)


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=SLOW)
@given(cases())
def test_shards_hold_what_a_plain_reading_of_the_folder_gives(case):
    check(case)


@pytest.mark.long
@settings(max_examples=5000, suppress_health_check=SLOW)
@given(cases())
def test_shards_hold_what_a_plain_reading_of_the_folder_gives_many_times(case):
    check(case)
