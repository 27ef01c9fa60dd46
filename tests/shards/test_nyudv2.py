"""The NYUDv2 source, on a miniature of the official files: 6×8 frames, 3 classes, 5 raw classes."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from shards.codec import decode_rgb
from shards.errors import UserError
from shards.pack import pack
from shards.read import Readers
from shards.resize import resize_label
from shards.sources.folder import Folder
from shards.sources.nyudv2 import Nyudv2
from shards.tasks import IGNORE

HEIGHT, WIDTH, COUNT = 6, 8, 5
RAW_TO_CLASS = [3, 1, 1, 0, 2]  # raw classes 1..5; 4 is void


def cells(texts):
    array = np.empty((1, len(texts)), object)
    array[0] = texts
    return array


@pytest.fixture
def official(tmp_path):
    """Return a folder of official files, and the arrays that they contain in the usual (H, W) order."""
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 6, (COUNT, HEIGHT, WIDTH)).astype(np.uint16)
    rgb = rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3)).astype(np.uint8)
    filled = rng.uniform(0.7, 10, (COUNT, HEIGHT, WIDTH)).astype(np.float32)
    holes = np.where(rng.random(filled.shape) < 0.3, 0, filled).astype(np.float32)
    with h5py.File(tmp_path / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
        file["images"] = rgb.transpose(0, 3, 2, 1)
        file["depths"], file["rawDepths"], file["labels"] = (a.transpose(0, 2, 1) for a in (filled, holes, raw))
        references = np.empty((1, COUNT), h5py.ref_dtype)
        for i in range(COUNT):
            text = np.array([[ord(c)] for c in f"kitchen_{i:04d}"], np.uint16)
            references[0, i] = file.create_dataset(f"#refs#/s{i}", data=text).ref
        file.create_dataset("scenes", data=references, dtype=h5py.ref_dtype)
    splits = {"trainNdxs": np.array([[2], [3], [5]], np.uint16), "testNdxs": np.array([[1], [4]], np.float64)}
    scipy.io.savemat(tmp_path / "splits.mat", splits)
    mapping = {"className": cells(["wall", "floor", "bed"]), "mapClass": np.array([RAW_TO_CLASS], np.uint8)}
    scipy.io.savemat(tmp_path / "classMapping40.mat", mapping)
    return tmp_path, {"raw": raw, "rgb": rgb, "filled": filled, "holes": holes}


def test_splits_classes_and_counts_come_from_the_files(official):
    source = Nyudv2(official[0])
    assert source.splits == {"train": ["nyu_0002", "nyu_0003", "nyu_0005"], "val": ["nyu_0001", "nyu_0004"]}
    semseg, depth = source.tasks
    assert (semseg.name, semseg.classes) == ("semseg", ("wall", "floor", "bed"))
    assert len(set(semseg.colours)) == 3
    assert (depth.name, depth.kind, depth.scale, depth.unit) == ("depth", "scalar", 0.001, "m")


@pytest.mark.parametrize(("depth", "array"), [("filled", "filled"), ("raw", "holes")])
def test_every_frame_is_the_official_one(official, depth, array):
    folder, written = official
    source = Nyudv2(folder, depth)
    expected_class = np.array([IGNORE, 2, 0, 0, IGNORE, 1], np.uint8)
    for split, keys in source.splits.items():
        for position, key in enumerate(keys):
            i = int(key.removeprefix("nyu_")) - 1
            frame = source.load(split, position)
            np.testing.assert_array_equal(frame.rgb, written["rgb"][i])
            np.testing.assert_array_equal(frame.labels["depth"], written[array][i])
            np.testing.assert_array_equal(frame.labels["semseg"], expected_class[written["raw"][i]])
            assert frame.labels["semseg"].dtype == np.uint8
            assert frame.labels["depth"].dtype == np.float32
            assert frame.meta["index"] == i + 1
            assert frame.meta["scene"] == f"kitchen_{i:04d}"
            assert frame.meta["intrinsics"]["fx"] == pytest.approx(518.8579)


NAMES_40 = "wall floor cabinet bed chair sofa table door window bookshelf picture counter blinds desk shelves curtain "
NAMES_40 += (
    "dresser pillow mirror floormat clothes ceiling books refridgerator television paper towel showercurtain box "
)
NAMES_40 += "whiteboard person nightstand toilet sink lamp bathtub bag otherstructure otherfurniture otherprop"


@pytest.fixture
def forty(official):
    """Return ``official`` with the 40 published classes; raw classes 1..5: floormat, void, blinds, otherprop, wall."""
    mapping = {"className": cells(NAMES_40.split()), "mapClass": np.array([[20, 0, 13, 40, 1]], np.uint8)}
    scipy.io.savemat(official[0] / "classMapping40.mat", mapping)
    return official


def test_thirteen_classes_are_merged_from_the_forty(forty):
    folder, written = forty
    source = Nyudv2(folder, classes=13)
    names = source.tasks[0].classes
    assert " ".join(names) == "bed books ceiling chair floor furniture objects picture sofa table tv wall window"
    assert len(set(source.tasks[0].colours)) == 13
    expected = [IGNORE, *(names.index(name) if name else IGNORE for name in ("floor", "", "window", "objects", "wall"))]
    label = source.load("train", 0).labels["semseg"]
    np.testing.assert_array_equal(label, np.array(expected, np.uint8)[written["raw"][1]])
    assert label.dtype == np.uint8


def test_each_of_the_forty_classes_goes_where_the_published_mapping_has_it(official):
    """The numbers 1 to 13 that ``class13Mapping.mat`` gives to the classes 1 to 40."""
    published = [12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5]
    published += [7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7]
    for first in range(0, 40, 5):
        numbers = np.arange(first + 1, first + 6, dtype=np.uint8)
        mapping = {"className": cells(NAMES_40.split()), "mapClass": numbers[None]}
        scipy.io.savemat(official[0] / "classMapping40.mat", mapping)
        label = Nyudv2(official[0], classes=13).load("train", 0).labels["semseg"]
        expected = np.array([IGNORE, *(published[number - 1] - 1 for number in numbers)], np.uint8)
        np.testing.assert_array_equal(label, expected[official[1]["raw"][1]])


def test_thirteen_classes_want_the_forty(official):
    with pytest.raises(UserError, match=r"classMapping40.mat: className: names 3 classes, where 40 are merged into 13"):
        Nyudv2(official[0], classes=13)
    with pytest.raises(UserError, match="14 classes; give 40 or 13"):
        Nyudv2(official[0], classes=14)  # type: ignore[arg-type]


def test_options_tell_the_classes_apart_and_the_usual_ones_are_not_noted(forty):
    assert Nyudv2(forty[0]).options == {"source": "nyudv2", "depth": "filled"}
    assert Nyudv2(forty[0], classes=13).options == {"source": "nyudv2", "depth": "filled", "classes": 13}


def test_options_tell_the_depths_apart(official):
    assert Nyudv2(official[0], "raw").options != Nyudv2(official[0], "filled").options


def test_its_files_are_there(official):
    files = Nyudv2(official[0]).files("train", 0)
    assert len(files) == 3 and all(path.is_file() for path in files.values())


def test_survives_pickling(official):
    source = Nyudv2(official[0])
    source.load("train", 0)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    np.testing.assert_array_equal(copy.load("val", 1).rgb, source.load("val", 1).rgb)


@pytest.mark.parametrize("name", ["nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"])
def test_names_the_missing_file(official, name):
    (official[0] / name).unlink()
    with pytest.raises(UserError, match=rf"{name}: is missing; put"):
        Nyudv2(official[0])


@pytest.mark.parametrize("name", ["nyu_depth_v2_labeled.mat", "splits.mat", "classMapping40.mat"])
def test_names_the_file_that_is_something_else(official, name):
    (official[0] / name).write_bytes(b"<html>404</html>" * 20)
    with pytest.raises(UserError, match=rf"{name}: is not an? .*; "):
        Nyudv2(official[0])


def test_a_cut_download_is_an_error(official):
    path = official[0] / "nyu_depth_v2_labeled.mat"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cannot be read.*download it again"):
        Nyudv2(official[0])


def test_names_the_missing_array(official):
    with h5py.File(official[0] / "nyu_depth_v2_labeled.mat", "a") as file:
        del file["rawDepths"]
    Nyudv2(official[0], "filled")
    with pytest.raises(UserError, match=r"labeled.mat: rawDepths: is not in the file"):
        Nyudv2(official[0], "raw")


def test_arrays_of_different_lengths_are_an_error(official):
    with h5py.File(official[0] / "nyu_depth_v2_labeled.mat", "a") as file:
        depths = file["depths"][:-1]
        del file["depths"]
        file["depths"] = depths
    with pytest.raises(UserError, match=r"depths: has shape \(4, 8, 6\), where labels has \(5, 8, 6\)"):
        Nyudv2(official[0])


@pytest.mark.parametrize("index", [0, 6])
def test_an_index_out_of_range_is_an_error(official, index):
    splits = {"trainNdxs": np.array([[2]], np.uint16), "testNdxs": np.array([[index]], np.uint16)}
    scipy.io.savemat(official[0] / "splits.mat", splits)
    with pytest.raises(UserError, match=rf"splits.mat: testNdxs: names frame {index}, where .* has 5"):
        Nyudv2(official[0])


def test_a_mapping_beyond_its_names_is_an_error(official):
    mapping = {"className": cells(["wall", "floor"]), "mapClass": np.array([RAW_TO_CLASS], np.uint8)}
    scipy.io.savemat(official[0] / "classMapping40.mat", mapping)
    with pytest.raises(UserError, match=r"classMapping40.mat: mapClass: maps 5 raw classes"):
        Nyudv2(official[0])


def test_a_raw_class_beyond_the_mapping_is_an_error(official):
    with h5py.File(official[0] / "nyu_depth_v2_labeled.mat", "a") as file:
        file["labels"][1, 3, 3] = 9
    with pytest.raises(UserError, match=r"labels\[2\]: raw class 9, where .* maps 1 to 5"):
        Nyudv2(official[0]).load("train", 0)


def test_an_unknown_depth_is_an_error(official):
    with pytest.raises(UserError, match="give one of filled, raw"):
        Nyudv2(official[0], "painted")  # type: ignore[arg-type]


@pytest.mark.skipif("TUTELAGE_NYUDV2" not in os.environ, reason="TUTELAGE_NYUDV2 names no folder of real frames")
def test_real_frames_are_the_same_from_the_mat_and_from_the_folder(tmp_path):
    real_folder = Path(os.environ["TUTELAGE_NYUDV2"])
    subprocess.run([sys.executable, real_folder / "build_official_mat.py", tmp_path, "--frames", "3"], check=True)
    mat = Nyudv2(tmp_path)
    folder = Folder(real_folder, classes=mat.tasks[0].classes, ignore=0, offset=1, depth_scale=0.001)
    assert folder.unmatched == {}
    assert len(mat.tasks[0].classes) == 40
    for split, official_split in (("train", "train"), ("val", "test")):
        stems = (real_folder / f"{official_split}.txt").read_text().split()
        assert folder.splits[split] == stems
        for position in range(3):
            folder_frame, mat_frame = folder.load(split, position), mat.load(split, position)
            assert mat_frame.meta["scene"] == f"scene_{stems[position]}"
            assert isinstance(folder_frame.rgb, bytes)
            np.testing.assert_array_equal(decode_rgb(folder_frame.rgb, "jpg"), mat_frame.rgb)
            np.testing.assert_array_equal(folder_frame.labels["semseg"], mat_frame.labels["semseg"])
            np.testing.assert_allclose(folder_frame.labels["depth"], mat_frame.labels["depth"], atol=1e-6)
            assert (mat_frame.labels["semseg"] < 40).any()
            assert mat_frame.labels["depth"].max() > 1


@pytest.mark.skipif("TUTELAGE_NYUDV2" not in os.environ, reason="TUTELAGE_NYUDV2 names no folder of real frames")
def test_real_frames_at_the_size_of_the_protocol(tmp_path):
    """13 classes at 288x384: what the field's multi-task protocols train on."""
    real_folder = Path(os.environ["TUTELAGE_NYUDV2"])
    subprocess.run(
        [sys.executable, real_folder / "build_official_mat.py", tmp_path / "mat", "--frames", "3"], check=True
    )
    manifest = pack(Nyudv2(tmp_path / "mat", classes=13), tmp_path / "data", size=(288, 384), jobs=1)
    assert len(manifest.task("semseg").classes) == 13
    fine, coarse = Nyudv2(tmp_path / "mat"), Nyudv2(tmp_path / "mat", classes=13)
    names = coarse.tasks[0].classes
    for split in ("train", "val"):
        reader = Readers(manifest, split)[0]
        assert len(reader) == 3
        for position in range(3):
            label = reader.decode(position)["semseg"]
            assert label.shape == (288, 384)
            full_label = coarse.load(split, position).labels["semseg"]
            np.testing.assert_array_equal(label, resize_label(full_label, (288, 384)))
            fine_label = fine.load(split, position).labels["semseg"]
            for name in ("wall", "bed", "ceiling"):
                class_mask = fine_label == fine.tasks[0].classes.index(name)
                assert (full_label[class_mask] == names.index(name)).all()
            assert ((fine_label == IGNORE) == (full_label == IGNORE)).all()
