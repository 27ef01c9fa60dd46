"""Images that EXIF turns or that are not 8-bit RGB, labels of another grid: converted with a remark, or refused."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from shards.errors import UserError
from shards.inspect import remarks
from shards.orientation import Turn, apply_turn, undo_turn
from shards.pack import pack
from shards.read import ShardReader
from shards.sources.folder import Folder

DEPTH = np.arange(1000, 1024, dtype=np.uint16).reshape(4, 6)


@pytest.fixture
def prepare(tmp_path):
    """``prepare(image, label)`` packs two frames of this image and label; returns manifest and first frame's arrays."""

    def prepare_folder(
        image,
        label=DEPTH,
        declared="tasks: {depth: {kind: scalar, scale: 0.001}}",
        task="depth",
        suffix="png",
        label_file=None,
        **options,
    ):
        for name in ("x", "y"):
            for folder in ("rgb", task):
                (tmp_path / "raw" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / f"raw/rgb/{name}.{suffix}", **options)
            file, tags = label_file or ("{name}.png", {})
            Image.fromarray(label).save(tmp_path / f"raw/{task}" / file.format(name=name), **tags)
        (tmp_path / "raw/dataset.yaml").write_text(f"val_fraction: 0.5\n{declared}\n")
        manifest = pack(Folder(tmp_path / "raw"), tmp_path / "out")
        return manifest, ShardReader(manifest, manifest.shards("train")[0]).decode(0)

    return prepare_folder


def make_exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def rgb(shape=(4, 6)):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("turn", list(Turn))
def test_arrays_turn_as_images_do(turn):
    np.testing.assert_array_equal(apply_turn(rgb(), turn), np.asarray(Image.fromarray(rgb()).transpose(turn)))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_label_on_the_sensors_grid_is_turned_with_its_image(prepare, orientation, suffix):
    manifest, frame = prepare(rgb(), suffix=suffix, exif=make_exif(orientation))
    image = Image.fromarray(DEPTH)
    image.getexif()[0x0112] = orientation
    np.testing.assert_allclose(frame["depth"], np.asarray(ImageOps.exif_transpose(image)) / 1000, rtol=1e-6)
    text = "\n".join(remarks(manifest))
    assert "rgb: turned upright by its EXIF orientation (1 frame" in text
    assert "depth: lies on the sensor's grid: turned upright with its image (1 frame" in text


@pytest.mark.parametrize("turn", list(Turn))
def test_a_turn_is_undone(turn):
    np.testing.assert_array_equal(undo_turn(apply_turn(rgb(), turn), turn), rgb())


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_of_a_labels_own_is_not_applied_and_told(prepare, orientation, suffix):
    manifest, frame = prepare(rgb(), label_file=(f"{{name}}.{suffix}", {"exif": make_exif(orientation)}))
    np.testing.assert_allclose(frame["depth"], DEPTH / 1000, rtol=1e-6)
    told = any("depth: its own EXIF orientation is not applied; where" in line for line in remarks(manifest))
    assert told == (orientation > 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_label_with_its_images_orientation_is_turned_once(prepare, suffix):
    declared = "label_orientation: sensor\ntasks: {depth: {kind: scalar, scale: 0.001}}"
    label_file = f"{{name}}.{suffix}", {"exif": make_exif(3)}
    _, frame = prepare(rgb(), declared=declared, label_file=label_file, exif=make_exif(3))
    np.testing.assert_allclose(frame["depth"], DEPTH[::-1, ::-1] / 1000, rtol=1e-6)


def test_a_label_that_is_upright_stays(prepare):
    manifest, frame = prepare(rgb(), DEPTH.T, exif=make_exif(6))
    np.testing.assert_allclose(frame["depth"], DEPTH.T / 1000, rtol=1e-6)
    assert not any("sensor" in line or "taken as upright" in line for line in remarks(manifest))


def test_where_the_sides_do_not_tell_it_is_told_or_declared(prepare):
    manifest, frame = prepare(rgb(), exif=make_exif(3))
    np.testing.assert_allclose(frame["depth"], DEPTH / 1000, rtol=1e-6)
    assert any("the label taken as upright; declare label_orientation" in line for line in remarks(manifest))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_view_of_labels_can_be_declared(prepare, suffix):
    declared = "label_orientation: sensor\ntasks: {depth: {kind: scalar, scale: 0.001}}"
    _, frame = prepare(rgb(), declared=declared, suffix=suffix, exif=make_exif(3))
    np.testing.assert_allclose(frame["depth"], DEPTH[::-1, ::-1] / 1000, rtol=1e-6)


def test_directions_on_the_sensors_grid_are_refused(prepare):
    declared = "tasks: {normals: {kind: unit_vector}}"
    with pytest.raises(UserError, match=r"normals/[xy].png: [xy]: normals lies on the sensor's grid, which its"):
        prepare(rgb(), rgb(), declared, "normals", exif=make_exif(6))


def test_depth_of_another_resolution_takes_the_nearest_value(prepare):
    manifest, frame = prepare(rgb((8, 12)))
    np.testing.assert_allclose(frame["depth"], DEPTH.repeat(2, 0).repeat(2, 1) / 1000, rtol=1e-6)
    expected = "depth: of another resolution than its image: every pixel takes the nearest value (1 frame; the first is"
    assert any(expected in line and "4x6, its image 8x12" in line for line in remarks(manifest))


def test_depth_of_another_view_is_refused(prepare):
    with pytest.raises(UserError, match=r"depth is 4x6, its image 8x16; register it to the image"):
        prepare(rgb((8, 16)))


def test_classes_of_another_resolution_are_refused(prepare):
    with pytest.raises(UserError, match=r"semseg is 4x6, its image 8x12; give every label the size of its image"):
        label = np.zeros((4, 6), np.uint8)
        prepare(rgb((8, 12)), label, "tasks: {semseg: {kind: classes, classes: 2}}", "semseg")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (rgb()[..., 0], "rgb: grey: made RGB"),
        (np.dstack([rgb(), rgb()[..., 0]]), "rgb: alpha is dropped"),
        (rgb()[..., 0].astype(np.uint16) << 8, "rgb: of 16 bits a channel, of which the upper 8 are taken"),
        (np.full((4, 6), 4095, np.uint16), "rgb: does not fill its 16 bits, so that the image is dark; scale"),
    ],
)
def test_what_is_converted_is_told(prepare, image, said):
    assert any(said in line for line in remarks(prepare(image)[0]))


def test_8_bit_rgb_is_stored_without_a_word(prepare):
    assert remarks(prepare(rgb())[0]) == []
