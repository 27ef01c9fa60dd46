"""Label files of a folder: classes, quantities, unit vectors."""

import numpy as np
import pytest
from PIL import Image
from warehouse import HEIGHT, declare, filled, picture, save, save_bits, warehouse

from shards.errors import UserError
from shards.images import read_values
from shards.sources.folder import Folder
from shards.tasks import IGNORE, Task


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
    with pytest.raises(UserError, match=r"semseg/0000.png: is a RGB picture, expected one channel; store"):
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
