"""A user's own folder: the layouts and files that it may have, and the errors for contradictions."""

import io
import pickle
import struct
import textwrap
import unicodedata
import zlib
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageOps

import shards.sources.folder
from shards.codec import decode_rgb
from shards.errors import UserError
from shards.images import read_rgb, read_values
from shards.pack import pack
from shards.sources.declaration import declaration_of
from shards.sources.folder import Folder
from shards.tasks import IGNORE, Task

HEIGHT, WIDTH = 4, 6


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = array if isinstance(array, Image.Image) else Image.fromarray(np.asarray(array))
    image.save(path, **options)
    return path


def save_bits(path, bits, colour_type, width, row):
    """Write a PNG of one row, with bit depths that Pillow does not write."""
    chunks = [b"\x89PNG\r\n\x1a\n"]
    header = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")):
        chunks += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    path.write_bytes(b"".join(chunks))
    return path


def picture(seed=0, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, channels)).astype(np.uint8)


def filled(value, dtype=np.uint8):
    return np.full((HEIGHT, WIDTH), value, dtype)


def declare(root, text):
    (root / "dataset.yaml").write_text(textwrap.dedent(text))


@pytest.fixture
def root(tmp_path):
    """Return a folder of four frames, two with classes (0 = no label, 1..3) and three with depth in mm."""
    root = tmp_path / "warehouse"
    for i in range(4):
        save(root / f"rgb/{i:04d}.png", picture(i))
    for i in (0, 1):
        save(root / f"semseg/{i:04d}.png", filled(i + 1))
    for i in (0, 2, 3):
        save(root / f"depth/{i:04d}.png", filled(1500 + i, np.uint16))
    (root / "train.txt").write_text("0002\n0000\n0001\n")
    (root / "val.txt").write_text("0003\n")
    return root


def warehouse(root, **changes):
    options: dict[str, Any] = {"classes": ["floor", "shelf", "person"], "ignore": 0, "offset": 1}
    return Folder(root, **(options | changes))


def test_arguments_suffice(root):
    source = warehouse(root, depth_scale=0.001)
    assert source.name == "warehouse"
    assert source.splits == {"train": ["0002", "0000", "0001"], "val": ["0003"]}  # in the order of the list
    semseg, depth = source.tasks
    assert (semseg.name, semseg.classes) == ("semseg", ("floor", "shelf", "person"))
    assert (depth.name, depth.kind, depth.scale, depth.unit) == ("depth", "scalar", 0.001, "m")
    assert [set(source.load("train", i).labels) for i in range(3)] == [{"depth"}, {"semseg", "depth"}, {"semseg"}]
    frame = source.load("train", 1)
    assert frame.rgb == (root / "rgb/0000.png").read_bytes()
    assert frame.meta == {"file": "rgb/0000.png"}
    assert frame.labels["semseg"].dtype == np.uint8
    assert (frame.labels["semseg"] == 0).all()
    assert frame.labels["depth"].dtype == np.float32
    np.testing.assert_allclose(frame.labels["depth"], 1.5)


def test_a_number_of_classes_suffices(root):
    assert warehouse(root, classes=3).tasks[0].classes == ("class 0", "class 1", "class 2")


def test_the_example_of_the_docstring_works(root):
    lines = shards.sources.folder.__doc__.split(".. code-block:: yaml\n")[1].split("\n===")[0]
    example = yaml.safe_load(textwrap.dedent(lines))
    del example["val_fraction"], example["group_by"]
    (root / "dataset.yaml").write_text(yaml.safe_dump(example, sort_keys=False))
    for i in range(4):
        save(root / f"normals/{i:04d}.png", picture(i))
        save(root / f"ground/{i:04d}.png", picture(i)[..., 0] % 4)
    source = Folder(root)
    assert [(task.name, task.kind) for task in source.tasks] == [
        ("semseg", "classes"),
        ("depth", "scalar"),
        ("normals", "unit_vector"),
        ("ground", "binary"),
    ]
    assert source.tasks[0].colours[2] == (220, 20, 60)
    assert set(source.load("train", 1).labels) == {"semseg", "depth", "normals", "ground"}


def test_a_camera_is_known_to_every_frame(root):
    camera = {"fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5}
    assert "intrinsics" not in warehouse(root).options, "data sets without one stay what they were"
    source = warehouse(root, intrinsics=camera)
    assert source.options["intrinsics"] == source.load("train", 0).meta["intrinsics"] == camera
    declare(root, "intrinsics: {fx: 5, fy: 6, cx: 2, cy: 1}")
    assert warehouse(root).load("val", 0).meta["intrinsics"] == {"fx": 5, "fy": 6, "cx": 2, "cy": 1}


def test_arguments_win_over_the_file(root):
    declare(root, "{name: other, tasks: {semseg: {kind: classes, classes: 5, ignore: 0, offset: 1}}}")
    assert Folder(root).name == "other"
    source = Folder(root, name="mine", classes=3, depth_scale=0.5)
    assert source.name == "mine"
    assert len(source.tasks[0].classes) == 3
    assert source.tasks[1].scale == 0.5
    assert source.options != Folder(root, name="mine", classes=4, depth_scale=0.5).options


def test_survives_pickling(root):
    source = warehouse(root, depth_scale=0.001)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert copy.splits == source.splits
    np.testing.assert_array_equal(copy.load("val", 0).labels["depth"], source.load("val", 0).labels["depth"])


# splits


def test_test_txt_stands_in_for_val_txt(root):
    (root / "test.txt").write_text("0001\n")
    assert warehouse(root).splits["val"] == ["0003"]
    (root / "val.txt").unlink()
    (root / "train.txt").write_text("\ufeff0002.png\r\n\r\n0000\r\n", "utf-8")
    assert warehouse(root).splits == {"train": ["0002", "0000"], "val": ["0001"]}


def test_a_fraction_follows_from_the_keys_alone(tmp_path):
    for i in range(25):
        save(tmp_path / f"a/rgb/f{i}.png", picture())
        save(tmp_path / f"b/rgb/f{24 - i}.jpg", picture())
    for folder in "ab":
        save(tmp_path / folder / "depth/f0.png", filled(1, np.uint16))
    splits, other_splits = (Folder(tmp_path / folder, depth_scale=1, val_fraction=0.3).splits for folder in "ab")
    assert splits == other_splits
    assert len(splits["val"]) == round(25 * 0.3)
    assert sorted(splits["train"] + splits["val"]) == sorted(f"f{i}" for i in range(25))
    assert splits["val"] != sorted(splits["train"] + splits["val"])[: len(splits["val"])]
    larger_val = Folder(tmp_path / "a", depth_scale=1, val_fraction=0.5).splits["val"]
    assert set(splits["val"]) < set(larger_val)


def test_folders_within_make_part_of_the_key(root):
    save(root / "rgb/site a/x.y.JPG", picture(), format="JPEG")
    save(root / "semseg/site a/x.y.png", filled(3))
    (root / "val.txt").write_text("site a/x.y\n")
    source = warehouse(root)
    assert source.splits["val"] == ["site_a_x_y"]
    assert (source.load("val", 0).labels["semseg"] == 2).all()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("0000\n0007\n0008\n", r"train.txt: names frames without an image: 2, the first is 0007; "),
        ("\n", r"no frame of 4 is in split train; list some in train.txt"),
        ("0000\n0000\n", r"0000: is listed twice; "),
        ("0000\n0003\n", r"0003: is listed twice; list a frame once, in one split"),
        ("a b\na_b\n", r"a_b: a b.png and a_b.png have the same key; rename one"),
    ],
)
def test_a_list_that_contradicts_the_images_is_an_error(root, train, message):
    for name in ("a b", "a_b"):
        save(root / f"rgb/{name}.png", picture()) if name in train else None
    (root / "train.txt").write_text(train)
    with pytest.raises(UserError, match=message):
        warehouse(root)


def test_splits_must_be_given_and_given_once(root):
    with pytest.raises(UserError, match=r"has both val_fraction and train.txt; leave"):
        warehouse(root, val_fraction=0.5)
    (root / "train.txt").unlink()
    with pytest.raises(UserError, match=r"which frames train and which validate; write train.txt and val.txt"):
        warehouse(root)
    (root / "val.txt").unlink()
    with pytest.raises(UserError, match=r"no frame of 4 is in split val; change val_fraction"):
        warehouse(root, val_fraction=0.01)
    with pytest.raises(UserError, match=r"val_fraction: 1.5; give a number between 0 and 1"):
        warehouse(root, val_fraction=1.5)


# files


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_and_their_accents_are_the_same_in_one_or_apart(root, form):
    """macOS, and archives made there, write letters and accents apart."""
    for task, file in (("rgb", "0000.png"), ("semseg", "0000.png")):
        name = unicodedata.normalize("NFD" if task == "rgb" else "NFC", "café.png")
        (root / task / file).rename(root / task / name)
    listed = unicodedata.normalize(form, "café")
    suffix = ".png" if form == "NFD" else ""  # a list may name the suffix
    (root / "train.txt").write_text(f"0002\n{listed}{suffix}\n0001\n", "utf-8")
    source = warehouse(root)
    assert source.splits["train"] == ["0002", "caf_", "0001"]
    assert source.load("train", 1).labels.keys() == {"semseg"}


def test_two_files_of_one_stem_are_an_error(root):
    save(root / "rgb/0002.jpg", picture())
    with pytest.raises(UserError, match=r"rgb: holds both 0002.jpg and 0002.png; keep one"):
        warehouse(root)


def test_files_that_no_frame_uses_are_listed(root):
    save(root / "semseg/0099.png", filled(1))
    save(root / "semseg/0002.jpg", filled(1))
    (root / "rgb/Thumbs.db").write_bytes(b"")
    (root / "rgb/.hidden.png").write_bytes(b"")
    source = warehouse(root)
    assert source.unmatched == {"rgb": ["Thumbs.db"], "semseg": ["0002.jpg", "0099.png"]}
    assert source.undeclared == ["depth"]


def test_the_files_of_a_frame_are_those_it_is_read_from(root):
    source = warehouse(root, depth_scale=0.001)
    assert source.files("train", 1) == {name: root / name / "0000.png" for name in ("rgb", "semseg", "depth")}
    assert source.files("train", 1) == source.load("train", 1).files
    out = root.parent / "out"
    pack(source, out)
    save(root / "semseg/0003.png", filled(1))
    with pytest.raises(UserError, match="files: the raw files have changed"):
        pack(warehouse(root, depth_scale=0.001), out)


def test_a_class_without_a_name_is_an_error(root):
    with pytest.raises(UserError, match=r"tasks.semseg: a class has an empty name; name every class"):
        warehouse(root, classes=["floor", "shelf", ""])


def test_labels_that_never_match_are_an_error(root):
    for path in (root / "semseg").iterdir():
        path.rename(path.with_stem(f"{path.stem}_label"))
    with pytest.raises(UserError, match=r"semseg: none of its 2 files .* first is 0000_label.png; name each after"):
        warehouse(root)


def test_a_zoom_is_declared_and_written_back(root):
    declare(root, "tasks: {depth: {kind: scalar, scale: 0.001, unit: 1/m, zoom: multiply}}")
    task = Folder(root).tasks[0]
    assert task.zoom == "multiply"
    (root / "dataset.yaml").write_text(declaration_of([task]))
    assert Folder(root).tasks == (task,)


def test_missing_folders_are_errors(root):
    with pytest.raises(UserError, match=r"normals: is not a folder"):
        declare(root, "tasks: {normals: {kind: unit_vector}}")
        Folder(root)
    for options in ({}, {"classes": 3}):
        with pytest.raises(UserError, match=r"elsewhere: does not exist; give the folder that holds your frames"):
            Folder(root / "elsewhere", **options)
    with pytest.raises(UserError, match=r"train.txt: is not a folder"):
        Folder(root / "train.txt")
    (root / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty/rgb: is not a folder"):
        Folder(root / "empty", classes=3)


# label files


def test_classes_may_be_palette_or_16_bit_or_few_bits(root):
    palette = Image.fromarray(filled(2), "P")
    palette.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
    for label, options in (
        (palette, {}),
        (palette, {"bits": 2}),
        (filled(2, np.uint16), {}),
        (filled(2), {}),
    ):
        save(root / "semseg/0000.png", label, **options)
        assert (warehouse(root).load("train", 1).labels["semseg"] == 1).all()


def test_a_grey_png_of_few_bits_keeps_its_numbers(tmp_path):
    for bits, packed, expected in ((1, 0b01000000, [0, 1]), (2, 0b01110000, [1, 3]), (4, 0b00011010, [1, 10])):
        path = save_bits(tmp_path / "x.png", bits, 0, 2, bytes([packed]))
        assert read_values(path).tolist() == [expected]


def test_several_numbers_may_mean_no_label(root):
    label = filled(1)
    label[0] = [0, 255, 3, 2, 1, 0]
    save(root / "semseg/0000.png", label)
    stored = warehouse(root, ignore=[0, 255]).load("train", 1).labels["semseg"]
    assert stored[0].tolist() == [IGNORE, IGNORE, 2, 1, 0, IGNORE]


def test_classes_may_be_stored_as_any_numbers(root):
    declare(root, "tasks: {semseg: {kind: classes, classes: {50: wall, 7: floor, 1000: sky}, ignore: 255}}")
    save(root / "semseg/0000.png", np.array([[7, 50, 1000, 255, 50, 7]] * HEIGHT, np.uint16))
    source = Folder(root)
    assert source.tasks[0].classes == ("wall", "floor", "sky")
    assert source.load("train", 1).labels["semseg"][0].tolist() == [1, 0, 2, IGNORE, 0, 1]


def test_a_class_out_of_range_is_an_error(root):
    label = filled(1)
    label[2, 3] = 4
    path = save(root / "semseg/0000.png", label)
    with pytest.raises(UserError, match=r"stored 4 is none of 3 classes, which are 1 to 3; .*ignore") as caught:
        warehouse(root).load("train", 1)
    assert caught.value.file == path


def test_a_coloured_label_is_an_error(root):
    save(root / "semseg/0000.png", picture())
    with pytest.raises(UserError, match=r"semseg/0000.png: is a RGB picture, where one channel is due; store"):
        warehouse(root).load("train", 1)


def test_metric_labels_may_be_npy(root):
    nan, inf = np.nan, np.inf
    (root / "depth/0002.png").unlink()
    np.save(root / "depth/0002.npy", np.array([[0.5, nan, inf, -1, 0, 80]] * HEIGHT, np.float64))
    np.save(root / "depth/0001.npy", filled(2500, np.int32))
    source = warehouse(root, depth_scale=0.001)
    first, last = source.load("train", 0).labels["depth"], source.load("train", 2).labels["depth"]
    np.testing.assert_array_equal(first[0], np.array([0.5, 0, 0, 0, 0, 80], np.float32))
    np.testing.assert_allclose(last, 2.5)
    assert type(first) is np.ndarray


def test_npy_files_are_never_unpickled(root):
    (root / "depth/0002.png").unlink()
    np.save(root / "depth/0002.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(UserError, match=r"0002.npy: is not an array that can be read .*; write it again"):
        warehouse(root, depth_scale=1).load("train", 0)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x93NUMPY\1\0\2\0{("])
def test_a_broken_npy_is_an_error(root, content):
    (root / "depth/0002.png").unlink()
    (root / "depth/0002.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"0002.npy: is not an array"):
        warehouse(root, depth_scale=1).load("train", 0)


def test_unit_vectors_have_length_one_or_none(root):
    declare(root, "tasks: {normals: {kind: unit_vector}}")
    expected = np.array([[0, 0, 1], [0.6, -0.8, 0], [-1, 0, 0]])
    stored = np.rint((expected + 1) * 127.5).tolist()
    stored += [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    save(root / "normals/0002.png", np.broadcast_to(np.array(stored, np.uint8), (HEIGHT, 6, 3)))
    label = Folder(root).load("train", 0).labels["normals"]
    assert (label.shape, label.dtype) == ((HEIGHT, 6, 3), np.float32)
    np.testing.assert_allclose(label[0, :3], expected, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(label[0, :3], axis=-1), 1, atol=1e-6)
    assert (label[:, 3:] == 0).all()


def test_unit_vectors_that_are_written_for_a_folder_come_back(root):
    declare(root, "tasks: {normals: {kind: unit_vector}}")
    vectors = np.random.default_rng(0).normal(size=(HEIGHT, 6, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors[0, 0] = 0
    (root / "normals").mkdir(exist_ok=True)
    (root / "normals/0002.png").write_bytes(Task("normals", "unit_vector").storage.write_file(vectors))
    label = Folder(root).load("train", 0).labels["normals"]
    np.testing.assert_allclose(label, vectors, atol=0.006)
    assert not label[0, 0].any() and abs((label - vectors).mean()) < 5e-4


# images


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "JPEG"), ("jpeg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_8_bit_rgb_keeps_its_own_bytes(tmp_path, suffix, kind):
    path = save(tmp_path / f"x.{suffix}", picture(), format=kind)
    assert read_rgb(path) == path.read_bytes()


def test_other_pictures_become_rgb(tmp_path):
    rgb, grey = picture(), picture(channels=1)[..., 0]
    alpha = np.dstack([rgb, grey])
    sixteen = (grey.astype(np.uint16) << 8) + 77
    grey_rgb = np.dstack([grey] * 3)
    for image, expected in ((grey, grey_rgb), (alpha, rgb), (sixteen, grey_rgb)):
        np.testing.assert_array_equal(read_rgb(save(tmp_path / "x.png", image)), expected)
    cmyk = Image.fromarray(np.full((HEIGHT, WIDTH, 3), (250, 10, 10), np.uint8)).convert("CMYK")
    pixels = np.asarray(read_rgb(save(tmp_path / "x.jpg", cmyk, quality=95)))
    assert np.abs(pixels.astype(int) - (250, 10, 10)).max() < 12


def test_16_bit_rgb_becomes_8_bit(tmp_path):
    path = save_bits(tmp_path / "x.png", 16, 2, 1, struct.pack(">3H", 0x1234, 0xABCD, 0xFF00))
    assert np.asarray(read_rgb(path)).tolist() == [[[0x12, 0xAB, 0xFF]]]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_image_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.png", picture(), exif=exif)
    np.testing.assert_array_equal(read_rgb(path), np.asarray(ImageOps.exif_transpose(Image.open(path))))


NO_ORIENTATION = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0"  # one tag: orientation 0


@pytest.mark.parametrize("exif", [NO_ORIENTATION, b"MMMM????"])
def test_exif_that_means_nothing_turns_nothing(tmp_path, exif):
    path = save(tmp_path / "x.jpg", picture(), exif=b"Exif\0\0" + exif)
    assert read_rgb(path) == path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_cut_image_is_an_error_that_names_it(root, suffix):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(
        buffer, {"jpg": "JPEG"}.get(suffix, suffix)
    )
    path = root / f"rgb/0009.{suffix}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (root / "val.txt").write_text("0009\n")
    with pytest.raises(UserError, match=r"is not a \w+ image that can be decoded") as caught:
        warehouse(root).load("val", 0)
    assert caught.value.file == path
    assert caught.value.hint


def test_a_picture_of_another_kind_or_none_is_an_error(root):
    source = warehouse(root)
    (root / "rgb/0003.png").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"rgb/0003.png: is neither JPEG, PNG nor WebP; convert"):
        source.load("val", 0)
    (root / "rgb/0003.png").unlink()
    with pytest.raises(UserError, match=r"rgb/0003.png: cannot be read \(No such file"):
        source.load("val", 0)
    decoded = decode_rgb(source.load("train", 0).rgb, "png")
    np.testing.assert_array_equal(decoded, picture(2))


# dataset.yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "taks: {}",
            r"dataset.yaml: taks: is not a key; did you mean tasks\? known: name, images, val_fraction, tasks",
        ),
        ("tasks: {depth: {kind: scalar, scal: 1}}", r"tasks.depth.scal: is not a key; did you mean scale\?"),
        ("tasks: {semseg: {kind: classes, classes: 3, colors: []}}", r"semseg.colors: .* did you mean colours\?"),
        ("tasks: {depth: {kind: scalar, classes: 3}}", r"tasks.depth.classes: is not a key"),
        ("tasks: {depth: {scale: 1}}", r"tasks.depth: has no kind; give kind: classes, scalar, unit_vector"),
        ("tasks: {depth: {kind: metrik}}", r"tasks.depth: has no kind"),
        ("tasks: {depth: {kind: [scalar]}}", r"tasks.depth: has no kind"),
        ("tasks: {depth: {kind: scalar}}", r"tasks.depth: scale is not a number; give the value of one stored step"),
        ("tasks: {depth: {kind: scalar, scale: -1}}", r"tasks.depth: scale -1.0 is not positive; "),
        ("tasks: {depth: {kind: scalar, scale: 1, zoom: up}}", r"tasks.depth: zoom 'up' is none of divide, multiply"),
        ("tasks: {Depth: {kind: unit_vector}}", r"tasks.Depth: 'Depth' is not a task name"),
        ("tasks: {semseg: {kind: classes}}", r"tasks.semseg: classes are missing; give a list"),
        (
            "tasks: {semseg: {kind: classes, classes: [yes, no]}}",
            r"class name True is not text in YAML; put it in quo",
        ),
        ("tasks: {semseg: {kind: classes, classes: [a, b], ignore: 1}}", r"stored 1 is both ignored and class 1 \(b"),
        (
            "tasks: {semseg: {kind: classes, classes: [a], ignore: x}}",
            r"'x' is not a stored number; give whole numbers",
        ),
        ("tasks: {semseg: {kind: classes, classes: [a], offset: -1}}", r"tasks.semseg: -1 is not a stored number"),
        ("tasks: {semseg: {kind: classes, classes: [a], offset: 1.5}}", r"offset 1.5 is not a whole number"),
        ("tasks: {semseg: {kind: classes, classes: {1: a}, offset: 1}}", r"offset is given although classes have"),
        ("tasks: {semseg: {kind: classes, classes: [a], colours: [red]}}", r"colours is not a list of \[r, g, b\]"),
        ("tasks: {semseg: {kind: classes, classes: 2, colours: [[1, 2, 3]]}}", r"1 colours for 2 classes; "),
        ("tasks: {semseg: {kind: classes, classes: 300}}", r"300 classes, where 1 to 255 can be stored"),
        ("tasks: {}", r"dataset.yaml: tasks: no tasks are declared; name them in dataset.yaml"),
        ("name: a/b", r"name: 'a/b'; use letters"),
        ("intrinsics: {fx: 1, fy: 1, cx: 0}", r"yaml: intrinsics: {.*}; give fx, fy, cx, cy in pixels, the first two"),
        ("intrinsics: {fx: 0, fy: 1, cx: 0, cy: 0}", r"intrinsics: {'fx': 0, .*}; give fx, fy, cx, cy in pixels"),
        ("intrinsics: {fx: 1, fy: 1, cx: .nan, cy: 0}", r"intrinsics: {.*nan.*}; give fx, fy, cx, cy in pixels"),
        ("intrinsics: 525", r"intrinsics: 525; give fx, fy, cx, cy in pixels"),
        ("name: [", r"dataset.yaml: cannot be read as YAML .*line 1.*; correct the file"),
        ("- a", r"dataset.yaml: is not a mapping; give its keys: name"),
        ("!!python/object/apply:os.system [true]", r"cannot be read as YAML"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_an_error(root, text, message):
    declare(root, text)
    with pytest.raises(UserError, match=message) as caught:
        Folder(root)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
