"""Measurements in files: which numbers mean none, which are refused, and the remarks on suspicious ones."""

import numpy as np
import pytest
from PIL import Image
from warehouse import save_bits

from shards.errors import UserError
from shards.inspect import remarks
from shards.kinds.zoom import zoom_of
from shards.pack import pack
from shards.read import ShardReader
from shards.sources.folder import Folder
from shards.tasks import Task

SHAPE = (10, 10)


@pytest.fixture
def prepare(tmp_path):
    """``prepare(depth, suffix)`` packs two frames of this depth; returns the manifest and the stored depth in m."""

    def prepare_folder(depth, suffix="png", declared="scale: 0.001"):
        root = tmp_path / "raw"
        for name in ("a", "b"):
            for folder in ("rgb", "depth"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((*depth.shape[:2], 3), np.uint8)).save(root / f"rgb/{name}.png")
            path = root / f"depth/{name}.{suffix}"
            np.save(path, depth) if suffix == "npy" else Image.fromarray(depth).save(path)
        (root / "dataset.yaml").write_text(f"val_fraction: 0.5\ntasks: {{depth: {{kind: scalar, {declared}}}}}\n")
        manifest = pack(Folder(root), tmp_path / "out")
        reader = ShardReader(manifest, manifest.shards("train")[0])
        return manifest, reader.decode(0).get("depth")

    return prepare_folder


def filled(dtype, value, *others):
    """Return an array of one value, in which the first rows have the other values, one row for each."""
    values = np.full(SHAPE, value, dtype)
    for row, other in enumerate(others):
        values[row] = other
    return values


def test_a_number_can_be_declared_to_mean_no_measurement(prepare):
    manifest, depth = prepare(filled(np.uint16, 2000, 65535, 9), declared="scale: 0.001, invalid: [65535, 9]")
    np.testing.assert_allclose(depth[2:], 2)
    assert not depth[:2].any()
    statistics = manifest.statistics["train"]["depth"]
    assert (statistics["pixels"], statistics["missing"]) == (80, 20)
    assert any("depth: declared as invalid: no measurement (1 frame, 20 pixels" in line for line in remarks(manifest))


def test_a_range_can_be_declared_and_holds_its_ends(prepare):
    declared = "scale: 0.001, range: [0.1, 80]"
    manifest, depth = prepare(filled(np.float32, 5, 0.09, 0.1, 80, 1000), "npy", declared.replace("0.001", "0.002"))
    np.testing.assert_allclose(depth[:5, 0], [0, 0.1, 80, 0, 5], rtol=1e-6)
    assert any("outside the declared range of 0.1 to 80 m" in line for line in remarks(manifest))


def test_the_largest_number_of_the_bits_is_doubted(prepare):
    manifest, depth = prepare(filled(np.uint16, 2000, 65535))
    assert depth.max() == pytest.approx(65.535), "nothing is thrown away on a guess"
    text = "\n".join(remarks(manifest))
    assert (
        "train: depth: 65535, the largest number of its bits, counts as a measurement; if it means none: invalid: [6"
        in text
    )
    assert "(1 frame, 10 pixels; the first is" in text and "10 % of it)" in text


@pytest.mark.parametrize(("sky", "doubted"), [(1000, True), (9, False)])
def test_a_sky_at_one_far_value_is_doubted(prepare, sky, doubted):
    values = np.linspace(1, 10, 100, dtype=np.float32).reshape(SHAPE)
    values[0] = sky
    manifest, _ = prepare(values, "npy", "scale: 0.02")
    assert any("many pixels share the largest value" in line for line in remarks(manifest)) == doubted


def test_values_of_a_limit_are_doubted_and_a_flat_wall_is_not(prepare):
    values = np.linspace(1, 20, 100, dtype=np.float32).reshape(SHAPE).clip(None, 10)
    assert any("in 53 % of the measured" in line for line in remarks(prepare(values, "npy")[0]))


def test_nothing_is_said_of_what_is_right(prepare):
    values = np.linspace(1000, 5000, 100).astype(np.uint16).reshape(SHAPE)
    manifest, depth = prepare(values)
    np.testing.assert_allclose(depth, values / 1000, rtol=1e-6)
    assert remarks(manifest) == [] and manifest.notes == {}


def test_negative_numbers_are_counted(prepare):
    manifest, depth = prepare(filled(np.float32, 5, -3), "npy")
    assert not depth[0].any()
    assert any("negative numbers count as no measurement" in line and "10 pixels" in line for line in remarks(manifest))


@pytest.mark.parametrize(
    ("depth", "declared", "message"),
    [
        (
            filled(np.float32, 5, 200),
            "scale: 0.001",
            r"raw/depth/[ab].npy: [ab]: depth holds 200 m, .*fit with scale: 0.005",
        ),
        (filled(np.float32, 5000), "scale: 0.001", r"5000 m, .*; if the values are millimetres: unit: mm, scale: 1; "),
        (filled(np.float32, 150), "scale: 0.001", r"holds 150 m, .* steps of 0.001; floats fit with scale: 0.005, or"),
        (filled(np.int32, 70000), "scale: 0.001", r"depth holds 70 m, .* declare range: \[0, 65.535\]"),
        (filled(np.float64, 1e300), "scale: 0.001", r"depth holds inf m, over"),
        (
            filled(np.float32, 200_000),
            "scale: 1, unit: mm",
            r"depth holds 200 m, over .*; floats fit with scale: 5, or declare range: \[0, 65535\] .*, in mm",
        ),
        (filled(np.float32, 500), "scale: 0.002, unit: ft", r"fit with scale: 0.01, or declare range: \[0, 131.07\]"),
    ],
)
def test_a_value_that_cannot_be_stored_is_an_error_that_names_the_file(prepare, depth, declared, message):
    with pytest.raises(UserError, match=message) as caught:
        prepare(depth, "npy", declared)
    assert caught.value.file and caught.value.key and caught.value.hint


def test_steps_that_are_too_coarse_are_told(prepare):
    values = np.linspace(0.3, 5, 100, dtype=np.float32).reshape(SHAPE)
    manifest, _ = prepare(values, "npy", "scale: 1")
    text = "\n".join(remarks(manifest))
    assert "steps of 1 m are coarse for these values; scale: 0.0001 is fine enough for floats" in text
    assert "values under half a step are stored as one step, 1 m (1 frame, 5 pixels" in text


def test_a_scale_is_suggested_in_the_declared_unit(prepare):
    values = np.linspace(300, 5000, 100, dtype=np.float32).reshape(SHAPE)
    text = "\n".join(remarks(prepare(values, "npy", "scale: 1000, unit: mm")[0]))
    assert "steps of 1 m are coarse for these values; scale: 0.1 (in mm as declared) is fine enough for floats" in text


def test_a_picture_of_depth_is_doubted(prepare):
    manifest, _ = prepare(np.arange(100, dtype=np.uint8).reshape(SHAPE), "png", "scale: 0.05")
    assert any("8 bits hold 255 steps of 0.05 m at most: is this a picture of" in line for line in remarks(manifest))


def test_a_palette_picture_of_depth_is_an_error(tmp_path):
    palette_image = Image.fromarray(np.arange(100, dtype=np.uint8).reshape(SHAPE)).convert("P")
    palette_image.save(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x.png: is a palette picture, whose indices are not measurements; store"):
        Task("depth", "scalar", scale=1, unit="m").storage.read_file(tmp_path / "x.png", {})


@pytest.mark.parametrize(
    ("bits", "colour_type", "channels", "name"),
    [
        (8, 2, 3, "RGB"),
        (16, 2, 3, "RGB"),
        (8, 4, 2, "grey-and-alpha"),
        (16, 4, 2, "grey-and-alpha"),
        (16, 6, 4, "RGBA"),
    ],
)
def test_depth_of_several_channels_is_an_error(tmp_path, bits, colour_type, channels, name):
    path = save_bits(tmp_path / "x.png", bits, colour_type, 1, bytes(channels * bits // 8))
    message = f"x.png: is a {name} picture, expected one channel; store the values themselves, one per pixel: "
    with pytest.raises(UserError, match=message + "a 16-bit PNG with one channel, TIFF or .npy$"):
        Task("depth", "scalar", scale=1, unit="m").storage.read_file(path, {})


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int32])
def test_tiff_is_read(prepare, dtype):
    values = np.linspace(1, 60, 100).reshape(SHAPE)
    stored = values if dtype == np.float32 else (values * 1000).round()
    _, depth = prepare(stored.astype(dtype), "tif")
    np.testing.assert_allclose(depth, values, atol=0.0011)


def test_an_odd_tiff_is_an_error(prepare):
    with pytest.raises(UserError, match=r"is a RGB TIFF of 1 page\(s\), expected one channel and page"):
        prepare(np.zeros((*SHAPE, 3), np.uint8), "tiff")


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, "png"), (np.float32, "npy")])
def test_lengths_are_stored_in_metres_and_told(prepare, dtype, suffix):
    declared = "scale: 1, unit: mm, range: [1000, 2500]"
    manifest, depth = prepare(filled(dtype, 2000, 2001, 2600), suffix, declared)
    assert manifest.tasks[0].unit == "m" and manifest.tasks[0].scale == 0.001
    assert set(np.unique(depth)) == {
        np.float32(0),
        np.float32(2000) * np.float32(0.001),
        np.float32(2001) * np.float32(0.001),
    }
    assert any("depth: declared in mm: stored, learnt and reported in m (" in line for line in remarks(manifest))
    assert any("outside the declared range of 1 to 2.5 m" in line for line in remarks(manifest))


def test_units_of_other_sources_that_are_not_metres_are_told():
    statistics = {"train": {"pixels": 4, "frames": 1, "sum": 8000.0, "squares": 1.6e7, "min": 2000.0, "max": 2000.0}}
    lines = Task("depth", "scalar", scale=1, unit="mm").storage.remarks(statistics)
    assert "are in mm; to train and report in metres, declare scale: 0.001 and unit: m" in lines[0]


def test_a_mean_that_no_camera_sees_is_doubted(prepare):
    manifest, _ = prepare(filled(np.uint16, 2000, 2001), declared="scale: 1000")
    assert any(
        "the mean of train is 2.0001e+06 m: are scale (1000 m) and unit right?" in line for line in remarks(manifest)
    )


def test_the_deviation_of_one_value_is_zero(prepare):
    manifest, _ = prepare(filled(np.uint16, 2000))
    description = Task("depth", "scalar", scale=0.001, unit="m").storage.describe(manifest.statistics["train"]["depth"])
    assert description == "2.00 to 2.00 m, mean 2.00 ± 0.00, 0.0 % missing"


@pytest.mark.parametrize(
    ("name", "unit", "zoom"),
    [
        ("depth", "m", "divide"),
        ("depth", "mm", "divide"),
        ("depth", "", "divide"),
        ("disparity", "px", "multiply"),
        ("disparity", "", "multiply"),
        ("inverse_depth", "", "multiply"),
        ("temperature", "", "keep"),
        ("inverse_depth", "1/m", "multiply"),
        ("x", "1/m", "multiply"),
        ("temperature", "K", "keep"),
        ("x", "°C", "keep"),
        ("height", "cm", "keep"),
        ("yaw", "deg", "keep"),
        ("x", "m", None),
        ("x", "", None),
    ],
)
def test_name_and_unit_tell_what_a_zoom_does(name, unit, zoom):
    assert zoom_of(name, unit) == zoom
    assert Task(name, "scalar", scale=1, unit=unit).zoom == (zoom or "divide"), "depth, where they suggest nothing"
