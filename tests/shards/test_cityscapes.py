"""The Cityscapes source, on a miniature of the official folder tree."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from shards.codec import decode_rgb
from shards.errors import UserError
from shards.pack import pack
from shards.sources.cityscapes import Cityscapes, depth_of
from shards.tasks import IGNORE

SHAPE = (4, 6)
CAMERA = {
    "extrinsic": {"baseline": 0.209313, "pitch": 0.038},
    "intrinsic": {"fx": 2262.52, "fy": 2265.3017905988554, "u0": 1096.98, "v0": 513.137},
}


class Tree:
    """Writes the files of frames, one at a time."""

    def __init__(self, root):
        self.root = root

    def path(self, kind, frame, ending):
        path = self.root / kind / f"{frame}_{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, frame, value=7):
        array = np.full((*SHAPE, 3), value, np.uint8)
        Image.fromarray(array).save(self.path("leftImg8bit", frame, "leftImg8bit.png"))

    def ids(self, frame, ids, kind="gtFine"):
        array = np.broadcast_to(np.array(ids), SHAPE).astype(np.uint8)
        Image.fromarray(array).save(self.path(kind, frame, f"{kind}_labelIds.png"))

    def disparity(self, frame, stored=2048):
        array = np.broadcast_to(np.array(stored), SHAPE).astype(np.uint16)
        Image.fromarray(array).save(self.path("disparity", frame, "disparity.png"))

    def camera(self, frame, camera=CAMERA):
        self.path("camera", frame, "camera.json").write_text(json.dumps(camera))


@pytest.fixture
def tree(tmp_path):
    tree = Tree(tmp_path)
    for frame in (
        "train/ulm/ulm_000001_000019",
        "train/aachen/aachen_000000_000019",
        "val/lindau/lindau_000000_000019",
    ):
        tree.image(frame)
        tree.ids(frame, 7)
        tree.disparity(frame)
        tree.camera(frame)
    tree.image("test/berlin/berlin_000000_000019")
    tree.ids("test/berlin/berlin_000000_000019", 0)
    return tree


def test_splits_are_sorted_and_leave_the_test_split_out(tree):
    source = Cityscapes(tree.root)
    assert source.splits == {
        "train": ["aachen_000000_000019", "ulm_000001_000019"],
        "val": ["lindau_000000_000019"],
    }


def test_files_that_a_mac_leaves_behind_are_no_frames(tree):
    tree.path("leftImg8bit", "train/ulm/._ulm_000001_000019", "leftImg8bit.png").write_bytes(b"")
    assert len(Cityscapes(tree.root).splits["train"]) == 2


def test_ids_become_train_ids(tree):
    names = ["road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"]
    names += ["vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train"]
    names += ["motorcycle", "bicycle"]
    semseg = Cityscapes(tree.root).tasks[0]
    assert list(semseg.classes) == names
    assert semseg.colours[10] == (70, 130, 180)
    ids = np.array([[23, 10, 0, 7, 33, 255], [11, 14, 29, 30, 31, 1]] * 2)
    tree.ids("train/aachen/aachen_000000_000019", ids)
    label = Cityscapes(tree.root).load("train", 0).labels["semseg"]
    sky, ignored = names.index("sky"), IGNORE  # 10 is rail track, not sky
    assert label.dtype == np.uint8
    assert label[:2].tolist() == [[sky, ignored, ignored, 0, 18, ignored], [2, ignored, ignored, ignored, 16, ignored]]


def test_an_id_that_cityscapes_has_not_is_an_error(tree):
    tree.ids("train/aachen/aachen_000000_000019", 40)
    with pytest.raises(UserError, match=r"aachen_000000_000019_gtFine_labelIds.png: label id 40 is none"):
        Cityscapes(tree.root).load("train", 0)


def test_depth_comes_from_the_frames_own_camera(tree):
    wide_camera = {**CAMERA, "extrinsic": {"baseline": 0.22}}
    tree.camera("train/ulm/ulm_000001_000019", wide_camera)
    source = Cityscapes(tree.root)
    disparity = (2048 - 1) / 256
    aachen, ulm = source.load("train", 0), source.load("train", 1)
    np.testing.assert_allclose(aachen.labels["depth"], 0.209313 * 2262.52 / disparity, rtol=1e-6)
    np.testing.assert_allclose(ulm.labels["depth"], 0.22 * 2262.52 / disparity, rtol=1e-6)
    assert aachen.labels["depth"].dtype == np.float32
    assert ulm.meta == {
        "city": "ulm",
        "intrinsics": {"fx": 2262.52, "fy": 2265.3017905988554, "cx": 1096.98, "cy": 513.137},
        "baseline": 0.22,
    }


def test_no_disparity_and_the_far_away_are_no_measurement():
    # the paper: "from a few meters to two hundred meters", here 609 is 200.01 m and 610 199.68 m
    stored = np.array([[0, 1, 2, 128, 258, 609, 610, 32257]], np.uint16)
    depth = depth_of(stored, baseline=0.21, fx=2262.0)
    focal = 0.21 * 2262
    np.testing.assert_allclose(depth, [[0, 0, 0, 0, 0, 0, focal * 256 / 609, focal / 126]], rtol=1e-6)


def test_how_far_is_no_measurement_can_be_told(tree):
    frame = "train/aachen/aachen_000000_000019"
    tree.disparity(frame, [258, 610, 4097, 4098, 32257, 0])  # 472, 199, 29.598, 29.591, 3.8 m, none
    focal = 0.209313 * 2262.52
    far, near = Cityscapes(tree.root, max_depth=500), Cityscapes(tree.root, max_depth=29.595)
    assert np.count_nonzero(far.load("train", 0).labels["depth"][0]) == 5
    expected = [0, 0, 0, focal * 256 / 4097, focal / 126, 0]
    np.testing.assert_allclose(near.load("train", 0).labels["depth"][0], expected, rtol=1e-6)


@pytest.mark.parametrize("metres", [0, -1, 501, float("nan")])
def test_a_depth_that_cannot_be_stored_is_refused(tree, metres):
    with pytest.raises(UserError, match=r"--max-depth: .*; give metres, more than 0 and at most 500"):
        Cityscapes(tree.root, max_depth=metres)
    depth = Cityscapes(tree.root, max_depth=500).tasks[1]
    assert (depth.kind, depth.unit) == ("scalar", "m")
    assert 500 / depth.scale <= 65535


def test_the_manifest_tells_how_far_depth_reaches(tree, tmp_path):
    manifest = pack(Cityscapes(tree.root, max_depth=25), tmp_path / "near")
    assert manifest.source["max_depth"] == 25
    with pytest.raises(UserError, match="max_depth"):
        pack(Cityscapes(tree.root), tmp_path / "near")
    assert pack(Cityscapes(tree.root), tmp_path / "default").source["max_depth"] == 200


def test_seven_classes_are_the_categories_of_the_nineteen(tree):
    """Category ids 1 to 7 of the published label table; ids that are not trained on stay void in both."""
    table = {7: 1, 8: 1, 11: 2, 12: 2, 13: 2, 17: 3, 19: 3, 20: 3, 21: 4, 22: 4, 23: 5}
    table |= {24: 6, 25: 6} | dict.fromkeys((26, 27, 28, 31, 32, 33), 7)
    source = Cityscapes(tree.root, classes=7)
    assert source.tasks[0].classes == ("flat", "construction", "object", "nature", "sky", "human", "vehicle")
    assert source.tasks[0].colours[0] == (128, 64, 128) and len(set(source.tasks[0].colours)) == 7
    frame = "train/aachen/aachen_000000_000019"
    for label_id in (*range(34), 255):
        tree.ids(frame, label_id)
        fine, coarse = (Cityscapes(tree.root, classes=n).load("train", 0).labels["semseg"] for n in (19, 7))
        assert set(coarse.ravel().tolist()) == {table.get(label_id, IGNORE + 1) - 1}
        assert ((fine == IGNORE) == (coarse == IGNORE)).all()


def test_inverse_depth_is_one_over_depth_in_place_of_it(tree):
    tree.disparity("train/aachen/aachen_000000_000019", np.array([[0, 1, 2, 258, 2048, 65535]] * SHAPE[0]))
    depth = Cityscapes(tree.root, max_depth=500).load("train", 0).labels["depth"]
    source = Cityscapes(tree.root, max_depth=500, inverse_depth=True)
    task, labels = source.tasks[1], source.load("train", 0).labels
    assert (task.name, task.kind, task.unit, task.zoom) == ("inverse_depth", "scalar", "1/m", "multiply")
    assert set(labels) == {"semseg", "inverse_depth"} and labels["inverse_depth"].dtype == np.float32
    disparity = np.array([0, 0, 0, 257, 2047, 65534]) / 256
    np.testing.assert_allclose(labels["inverse_depth"][0], disparity / (0.209313 * 2262.52), rtol=1e-5)
    np.testing.assert_array_equal(labels["inverse_depth"] > 0, depth > 0)
    stored = task.storage.decode(task.storage.encode(labels["inverse_depth"]))
    np.testing.assert_allclose(stored, labels["inverse_depth"], atol=task.scale / 2)
    assert stored.max() < 65535 * task.scale, "the nearest is not clipped"
    assert source.files("train", 0)["inverse_depth"].name.endswith("disparity.png")


def test_options_of_a_protocol_are_noted_and_the_usual_ones_are_not(tree):
    assert Cityscapes(tree.root).options == {"source": "cityscapes", "coarse": False, "max_depth": 200.0}
    options = Cityscapes(tree.root, classes=7, inverse_depth=True).options
    assert options == {"source": "cityscapes", "coarse": False, "max_depth": 200.0, "classes": 7, "inverse_depth": True}
    with pytest.raises(UserError, match="8 classes; give 19 or 7"):
        Cityscapes(tree.root, classes=8)  # type: ignore[arg-type]


def test_rgb_is_the_files_own_bytes(tree):
    frame = Cityscapes(tree.root).load("val", 0)
    path = tree.root / "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"
    assert isinstance(frame.rgb, bytes)
    assert frame.rgb == path.read_bytes()
    assert decode_rgb(frame.rgb, "png").shape == (*SHAPE, 3)


def test_a_frame_may_lack_any_label(tree):
    for frame in ("train/ulm/ulm_000002_000019", "train/ulm/ulm_000003_000019", "train/ulm/ulm_000004_000019"):
        tree.image(frame)
    tree.ids("train/ulm/ulm_000003_000019", 8)
    tree.disparity("train/ulm/ulm_000004_000019")
    tree.camera("train/ulm/ulm_000004_000019")
    source = Cityscapes(tree.root)
    label_names = [set(source.load("train", position).labels) for position in (2, 3, 4)]
    assert label_names == [set(), {"semseg"}, {"depth"}]


def test_a_disparity_without_its_camera_is_an_error(tree):
    (tree.root / "camera/train/ulm/ulm_000001_000019_camera.json").unlink()
    with pytest.raises(UserError, match=r"ulm_000001_000019_camera.json: is missing.*; unpack camera"):
        Cityscapes(tree.root).load("train", 1)


@pytest.mark.parametrize(("text", "message"), [('{"intrinsic": {}}', "fx: is missing"), ("{", "cannot be read")])
def test_a_broken_camera_is_an_error(tree, text, message):
    tree.path("camera", "train/ulm/ulm_000001_000019", "camera.json").write_text(text)
    with pytest.raises(UserError, match=rf"ulm_000001_000019_camera.json: {message}"):
        Cityscapes(tree.root).load("train", 1)


def test_coarse_adds_train_extra_and_gives_way_to_fine(tree):
    tree.ids("train/aachen/aachen_000000_000019", 8, kind="gtCoarse")
    tree.image("train/ulm/ulm_000002_000019")
    tree.ids("train/ulm/ulm_000002_000019", 11, kind="gtCoarse")
    tree.image("train_extra/bayreuth/bayreuth_000000_000019")
    tree.ids("train_extra/bayreuth/bayreuth_000000_000019", 12, kind="gtCoarse")
    tree.image("val/lindau/lindau_000001_000019")
    tree.ids("val/lindau/lindau_000001_000019", 13, kind="gtCoarse")
    fine, source = Cityscapes(tree.root), Cityscapes(tree.root, coarse=True)
    assert source.splits["train"] == [*fine.splits["train"], "bayreuth_000000_000019"]
    assert source.splits["val"] == fine.splits["val"]
    classes = [source.load("train", position).labels["semseg"][0, 0] for position in range(4)]
    assert classes == [0, 0, 2, 3]  # aachen: its fine road, not its coarse sidewalk
    assert "semseg" not in fine.load("train", 2).labels
    assert "semseg" not in source.load("val", 1).labels
    assert source.options != fine.options
    kinds = [source.files("train", position)["semseg"].name.split("_")[-2] for position in range(4)]
    assert kinds == ["gtFine", "gtFine", "gtCoarse", "gtCoarse"]
    assert set(fine.files("train", 0)) == {"rgb", "semseg", "depth", "camera"}
    assert set(fine.files("val", 1)) == {"rgb"}


def test_coarse_without_its_files_is_an_error(tree):
    with pytest.raises(UserError, match="has no gtCoarse; unpack"):
        Cityscapes(tree.root, coarse=True)
    (tree.root / "gtCoarse").mkdir()
    with pytest.raises(UserError, match="has no train_extra/CITY"):
        Cityscapes(tree.root, coarse=True)


def test_an_empty_tree_says_how_to_lay_out_the_download(tmp_path):
    with pytest.raises(UserError, match=r"unpack leftImg8bit, gtFine, disparity and camera"):
        Cityscapes(tmp_path)
    (tmp_path / "gtFine").mkdir()
    with pytest.raises(UserError, match=r"leftImg8bit: has no train/CITY/\*_leftImg8bit.png; unpack"):
        Cityscapes(tmp_path)


def test_a_cut_image_is_an_error_that_names_it(tree):
    path = tree.root / "leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"lindau_000000_000019_leftImg8bit.png: .*; replace the file"):
        Cityscapes(tree.root).load("val", 0)


def test_survives_pickling(tree):
    source = Cityscapes(tree.root)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert copy.load("train", 1).rgb == source.load("train", 1).rgb
    assert copy.splits == source.splits


@pytest.mark.parametrize(("kind", "role"), [("gtFine", "semseg"), ("disparity", "depth")])
def test_labels_that_no_frame_has_are_an_error(tree, kind, role):
    nested = tree.root / f"{kind}_trainvaltest"
    nested.mkdir()
    (tree.root / kind).rename(nested / kind)
    with pytest.raises(UserError, match=rf"{kind}: no frame has {role}; move .*{kind}_trainvaltest/{kind} to"):
        Cityscapes(tree.root)
    nested.rename(tree.root / kind)
    with pytest.raises(UserError, match=rf"{kind}: no frame has {role}; move|{kind}: holds no file of a frame"):
        Cityscapes(tree.root)
