"""Images that are stored for crops: a window decodes to the whole image's pixels, and nothing else is decoded."""

import contextlib
import io
import random
import struct
import zlib

import numpy as np
import pytest
import tifffile
import webdataset
from PIL import Image
from tiny import DEPTH, NORMALS, SEMSEG, SIZE, Tiny, dataset_of, png

from launchers.sources import PROFILES as CHOICES
from shards import fastdecode, tiles
from shards.codec import decode_png, decode_rgb, encode_png, encode_rgb
from shards.dataset import ShardDataset
from shards.errors import UserError
from shards.extras import EXTRAS
from shards.inspect import verify
from shards.manifest import Manifest
from shards.members import PROFILES, decode_label, decode_picture, encode_label, encode_picture, picture_size
from shards.pack import pack
from shards.read import Readers
from shards.restarts import cut_jpeg, encode_restarts
from shards.stream import Batches
from shards.window import Window
from trainer.trainingdata import TrainingData

SHAPES = [(7, 9), (96, 128), (97, 131), (300, 520), (33, 1000)]
IMAGES = {"L": ("uint8", ()), "I;16": ("uint16", ()), "RGB": ("uint8", (3,))}


def noise(shape, mode="RGB", seed=0):
    """Return an image with smooth and rough parts, so that every code of the compression occurs."""
    dtype, channels = IMAGES[mode]
    values = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*shape, *channels), dtype=dtype)
    values[: shape[0] // 2] = np.linspace(0, 200, shape[1]).astype(dtype).reshape(-1, *(1 for _ in channels))
    return values


def windows(shape, seed=0, count=12):
    rng = random.Random(seed)
    yield Window(0, 0, *shape)
    yield Window(shape[0] - 1, shape[1] - 1, 1, 1)
    for _ in range(count):
        top, left = rng.randrange(shape[0]), rng.randrange(shape[1])
        yield Window(top, left, rng.randint(1, shape[0] - top), rng.randint(1, shape[1] - left))


@pytest.mark.parametrize("mode", IMAGES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("by_tile", [True, False], ids=["tiles", "pillow"])
def test_a_window_of_tiles_is_that_of_the_image(shape, mode, by_tile, monkeypatch):
    image = noise(shape, mode)
    monkeypatch.setattr(tiles, "has_imagecodecs", lambda: by_tile)
    data = encode_label(image, "tif")
    assert np.array_equal(decode_label(data, mode, "tif"), image)
    for window in windows(shape):
        assert np.array_equal(decode_label(data, mode, "tif", window), window.cut(image))


def test_a_crop_decodes_only_the_tiles_it_touches(monkeypatch):
    data = bytearray(encode_label(noise((1024, 1024)), "tif"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages[0]
        tile_slices = [
            slice(offset, offset + size) for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
    for number, tile_slice in enumerate(tile_slices):
        if number not in (9, 13):
            data[tile_slice] = bytes(tile_slice.stop - tile_slice.start)  # cannot be decoded
    window = Window(260, 300, 200, 200)
    assert np.array_equal(decode_label(bytes(data), "RGB", "tif", window), window.cut(noise((1024, 1024))))
    with pytest.raises(UserError):
        decode_label(bytes(data), "RGB", "tif", Window(200, 300, 200, 200))


def test_tiles_are_a_tiff_of_anyone():
    image = noise((300, 520), "I;16")
    with Image.open(io.BytesIO(encode_label(image, "tif"))) as opened:
        assert opened.format == "TIFF"
        assert np.array_equal(np.asarray(opened), image)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fast", [True, False], ids=["imagecodecs", "pillow"])
def test_a_window_of_a_jpeg_is_that_of_the_image(shape, fast, monkeypatch):
    monkeypatch.setattr(fastdecode, "has_imagecodecs", lambda: fast)
    image = noise(shape)
    data = encode_restarts(image)
    whole = decode_rgb(data, "jpg")
    assert np.array_equal(whole, decode_rgb(encode_rgb(image), "jpg")), "the same pixels as without markers"
    for window in windows(shape):
        part, within = cut_jpeg(data, window)
        assert np.array_equal(within.cut(decode_rgb(part, "jpg")), window.cut(whole))
        assert np.array_equal(decode_picture(data, "jpg", window), window.cut(whole))


@pytest.mark.parametrize("shape", [(37, 53), (207, 311)], ids=["small", "inflated by libdeflate"])
@pytest.mark.parametrize("mode", ["L", "I;16", "RGB"])
def test_pngs_and_windows_of_them_decode_alike_with_and_without_imagecodecs(mode, shape, monkeypatch):
    rgb = noise(shape)
    image = {"L": rgb[..., 0], "I;16": rgb[..., 0].astype(np.uint16) * 257, "RGB": rgb}[mode]
    data = encode_png(image)
    if fastdecode.has_imagecodecs():
        for window in (None, *windows(shape)):
            assert fastdecode.fast_png(data, mode, 10**6, window) is not None
    for fast in (fastdecode.has_imagecodecs(), False):
        monkeypatch.setattr(fastdecode, "has_imagecodecs", lambda fast=fast: fast)
        decoded = decode_png(data, mode)
        assert decoded.dtype == image.dtype and np.array_equal(decoded, image)
        for window in windows(shape):
            assert np.array_equal(decode_png(data, mode, window), window.cut(image))
        with pytest.raises(UserError, match=f"is {shape[0]}x{shape[1]}, its image 5x5"):
            decode_png(data, mode, Window(0, 0, 5, 5, frame=(5, 5)))


def test_pngs_of_any_filter_and_division_into_chunks_decode():
    """What other programs write: each filter alone, data in many chunks, chunks of other kinds, no compression."""
    image = noise((207, 311))
    for filter_type in range(5):
        data = png_of(image, filter_type)
        assert np.array_equal(fastdecode.fast_png(data, "RGB", 10**6), image)
        window = Window(50, 60, 70, 80)
        assert np.array_equal(fastdecode.fast_png(data, "RGB", 10**6, window), window.cut(image))
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


def png_of(image: np.ndarray, filter_type: int) -> bytes:
    """A PNG whose rows all have one filter (PNG specification, 9.2)."""
    height, width, channels = image.shape
    padded = np.zeros((height + 1, width + 1, channels), int)
    padded[1:, 1:] = image
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    estimate = left + up - corner
    distances = np.stack([abs(estimate - near) for near in (left, up, corner)])
    paeth = np.choose(distances.argmin(axis=0), [left, up, corner])
    predicted = [np.zeros_like(left), left, up, (left + up) // 2, paeth][filter_type]
    rows = ((image - predicted) % 256).astype(np.uint8).reshape(height, -1)
    return png_of_rows(np.insert(rows, 0, filter_type, axis=1).tobytes(), width, height, compress=filter_type > 0)


def interlaced_png(image: np.ndarray) -> bytes:
    """A PNG of seven passes without filters (PNG specification, 8.2)."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [image[top::down, left::right] for top, left, down, right in passes]
    rows = [np.insert(part.reshape(len(part), -1), 0, 0, axis=1).tobytes() for part in parts if part.size]
    return png_of_rows(b"".join(rows), image.shape[1], image.shape[0], interlaced=True)


def png_of_rows(rows: bytes, width: int, height: int, compress: bool = True, interlaced: bool = False) -> bytes:
    stream = zlib.compress(rows, 6 if compress else 0)
    size = struct.pack(">II5B", width, height, 8, 2, 0, 0, interlaced)
    pieces = [(b"IDAT", stream[start : start + 5000]) for start in range(0, len(stream), 5000)]
    chunks = [(b"IHDR", size), (b"gAMA", struct.pack(">I", 45455)), *pieces, (b"tEXt", b"Title\0noise"), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("shape", [(37, 53), (207, 311)])
def test_an_interlaced_png_decodes_without_a_warning(shape, caplog):
    image = noise(shape)
    data, window = interlaced_png(image), Window(5, 6, 7, 8)
    assert np.array_equal(decode_rgb(data, "png"), image)
    assert np.array_equal(decode_rgb(data, "png", window), window.cut(image))
    assert caplog.messages == []


@pytest.mark.parametrize("length", range(8, 34))
def test_a_png_that_ends_in_its_header_is_an_error(length):
    with pytest.raises(UserError, match="is not a PNG image that can be decoded"):
        decode_png(encode_png(noise((32, 48)))[:length], "RGB")


def test_what_is_not_surely_right_is_pillows_to_judge():
    """Another mode, damage, a size over the limit, JPEGs that end early or have another colour space."""
    rgb = noise((32, 48))
    png, jpeg = encode_png(rgb), encode_rgb(rgb)
    grey = io.BytesIO()
    Image.fromarray(rgb[..., 0]).save(grey, "JPEG")
    palette = io.BytesIO()
    Image.fromarray(rgb).quantize(8).save(palette, "PNG")
    for data, mode in ((png, "L"), (png[:-40], "RGB"), (palette.getvalue(), "L"), (jpeg, "RGB"), (b"", "L")):
        assert fastdecode.fast_png(data, mode, 10**6) is None
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 0xFF
    assert fastdecode.fast_png(bytes(damaged), "RGB", 10**6) is None
    assert fastdecode.fast_png(png, "RGB", 32 * 48 - 1) is None
    large = encode_png(noise((200, 300)))
    for end in (60, len(large) // 2, len(large) - 20):  # in the data
        wrong = bytearray(large)
        wrong[end] ^= 0x10
        for damaged_file in (large[:end], bytes(wrong)):
            for window in (None, Window(0, 0, 8, 8)):
                assert fastdecode.fast_png(damaged_file, "RGB", 10**6, window) is None
    assert fastdecode.fast_png(large, "RGB", 200 * 300 - 1, Window(0, 0, 8, 8)) is None
    for data in (jpeg[: len(jpeg) // 2], grey.getvalue(), png, b"", jpeg[:2] + jpeg[-2:]):
        assert fastdecode.fast_jpeg(data, 10**6) is None
    assert fastdecode.fast_jpeg(jpeg, 32 * 48 - 1) is None


def test_a_crop_decodes_only_the_blocks_it_touches():
    data = encode_restarts(noise((1024, 2048)))
    part, within = cut_jpeg(data, Window(100, 300, 200, 500))
    assert picture_size(part, "jpg") == (208, 576)
    assert within == Window(4, 44, 200, 500)
    assert len(part) < len(data) / 4


@pytest.mark.parametrize(
    "options",
    [
        {"subsampling": 2, "restart_marker_blocks": 2},
        {"subsampling": 0, "progressive": True, "restart_marker_blocks": 2},
        {"subsampling": 0},
        {"subsampling": 0, "restart_marker_blocks": 3},  # not a whole number of them in a row
    ],
    ids=["subsampled", "progressive", "no markers", "odd"],
)
def test_other_jpegs_are_decoded_whole(options):
    image = Image.fromarray(noise((48, 64)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    window = Window(8, 8, 20, 30)
    assert cut_jpeg(buffer.getvalue(), window) == (buffer.getvalue(), window)
    whole = decode_rgb(buffer.getvalue(), "jpg")
    assert np.array_equal(decode_picture(buffer.getvalue(), "jpg", window), window.cut(whole))


@pytest.mark.parametrize("length", [b"\x00\x0e", b"\x7f\xff"], ids=["to the end", "beyond it"])
def test_a_header_that_leads_beyond_the_file_is_not_cut(length):
    whole = encode_restarts(noise((64, 128)))
    scan = whole.index(b"\xff\xda")
    damaged = whole[: scan + 2] + length + whole[scan + 4 : scan + 14] + b"\xff\xd9"
    window = Window(8, 8, 16, 16)
    assert cut_jpeg(damaged, window) == (damaged, window)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_images_are_errors_and_nothing_else(seed):
    rng = random.Random(seed)
    image = noise((64, 96))
    for extension, data in (("jpg", encode_restarts(image)), ("tif", encode_label(image, "tif"))):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        damaged = bytes(damaged[: rng.choice([len(data), rng.randrange(len(data))])])
        for window in (None, Window(8, 40, 30, 40)):
            try:
                decoded = decode_picture(damaged, extension, window)
            except UserError:
                continue
            assert decoded.dtype == np.uint8 and decoded.ndim == 3


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"compression": "deflate"}, "compression 32946"),
        ({"compression": "zstd", "planarconfig": "separate"}, "planar configuration 2"),
        ({"compression": "zstd", "photometric": "ycbcr"}, "photometric interpretation 6"),
        ({"compression": "zstd", "byteorder": ">"}, "big-endian"),
        ({"compression": "zstd", "tile": None}, "without tiles"),
        ({"compression": "zstd", "tile": (16, 1 << 20)}, "tiles of 16x1048576"),
        ({"compression": "zstd", "extratags": [(274, "H", 1, 6, True)]}, "orientation 6"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("window", [None, Window(8, 8, 20, 30)], ids=["whole", "window"])
def test_of_all_that_tiff_can_be_only_ours_is_read(how, what, window):
    """It holds for windows and whole images, and so with and without the extra."""
    image, buffer = noise((48, 64)), io.BytesIO()
    pixels = image.transpose(2, 0, 1) if "planarconfig" in how else image
    with contextlib.suppress(Exception):  # what tifffile itself refuses to write need not be tested
        tifffile.imwrite(buffer, pixels, **{"tile": (16, 16), "photometric": "rgb", "metadata": None} | how)
    if not buffer.getvalue():
        pytest.skip("not written by this tifffile")
    with pytest.raises(UserError, match=what):
        decode_label(buffer.getvalue(), "RGB", "tif", window)


def test_a_jpeg_whose_scan_says_nothing_is_decoded_whole_and_refused():
    data = encode_restarts(noise((48, 64)))
    scan = data.index(b"\xff\xda")
    length = int.from_bytes(data[scan + 2 : scan + 4], "big")
    forged = data[: scan + 2] + b"\x00\x02" + data[scan + 2 + length :]
    with pytest.raises(UserError, match="is not a JPEG image that can be decoded"):
        decode_picture(forged, "jpg", Window(8, 8, 20, 30))


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_a_picture_of_another_size_or_too_many_pixels_is_refused_in_part_too(extension, monkeypatch):
    rgb = noise((48, 64))
    data = encode_restarts(rgb) if extension == "jpg" else png(rgb)
    with pytest.raises(UserError, match="is 48x64, its image 48x72"):
        decode_picture(data, extension, Window(0, 0, 20, 30, (48, 72)))
    for module in ("codec", "restarts"):
        monkeypatch.setattr(f"shards.{module}.MAX_PIXELS", 3000)
    with pytest.raises(UserError, match="64x48 pixels are over the limit of 3000"):
        decode_picture(data, extension, Window(0, 0, 20, 30, (48, 64)))


@pytest.mark.parametrize("extension", ["png", "tif"])
@pytest.mark.parametrize("shape", [(40, 64), (48, 60), (96, 128)])
def test_a_window_of_another_size_than_its_picture_is_refused(extension, shape):
    data = encode_label(noise(shape, "L"), extension)
    with pytest.raises(UserError, match=f"is {shape[0]}x{shape[1]}, its image 48x64"):
        decode_label(data, "L", extension, Window(0, 0, 20, 30, (48, 64)))


@pytest.mark.parametrize("profile", ["archive", "train"])
def test_members_may_stand_in_any_order(profile, tmp_path):
    rgb, label = noise((40, 56)), noise((40, 56), "L") % 4
    suffix = "png" if profile == "archive" else "tif"
    members = {f"semseg.{suffix}": SEMSEG.storage.encode(label, suffix), "rgb.png": png(rgb), "json": b"{}"}
    manifest = dataset_of(tmp_path, {"a": members}, (SEMSEG,), label_format=suffix)
    window = Window(3, 5, 20, 30, (40, 56))
    sample = Readers(manifest, "train")[0].decode(0, window=lambda size: window)
    assert np.array_equal(sample["rgb"], window.cut(rgb)) and np.array_equal(sample["semseg"], window.cut(label))


def test_profiles_say_which_bytes_are_kept():
    image = noise((40, 56))
    lossless, lossy = png(image), encode_rgb(image)
    assert encode_picture(image, lossless, "png", "archive") == ("png", lossless)
    assert encode_picture(image, lossless, "png", "train")[0] == "tif"
    assert encode_picture(image, lossless, "png", "train-jpeg")[0] == "jpg"
    for profile in PROFILES:
        assert encode_picture(image, lossy, "jpg", profile) == ("jpg", lossy)
        assert encode_picture(image, None, "", profile)[0] == "jpg"
    buffers = {}
    for name, options in (("lossless", {"lossless": True}), ("lossy", {"quality": 60})):
        buffers[name] = io.BytesIO()
        Image.fromarray(image).save(buffers[name], "WEBP", **options)
    assert encode_picture(image, buffers["lossless"].getvalue(), "webp", "train")[0] == "tif"
    assert encode_picture(image, buffers["lossy"].getvalue(), "webp", "train")[0] == "webp"
    extended = io.BytesIO()
    Image.fromarray(image).save(extended, "WEBP", lossless=True, exif=Image.Exif().tobytes(), icc_profile=b"x" * 128)
    assert extended.getvalue()[12:16] == b"VP8X"
    assert encode_picture(image, extended.getvalue(), "webp", "train")[0] == "tif"
    assert CHOICES == PROFILES, "what the command offers"


@pytest.fixture(scope="module", params=["train", "train-jpeg"])
def pair(request, tiny_dataset, tmp_path_factory):
    """Return the same frames in the profile ``archive`` and in a profile for training, and that profile's name."""
    folder = tmp_path_factory.mktemp(request.param)
    return tiny_dataset, pack(Tiny(), folder, samples_per_shard=3, profile=request.param), request.param


def test_a_data_set_for_training_holds_the_same_values(pair):
    archive, train, profile = pair
    assert Manifest.load(train.folder) == train
    assert train.label_format == "tif" and train.source["profile"] == profile
    assert train.statistics == archive.statistics
    assert verify(train) == verify(archive)
    for split in ("train", "val"):
        archive_readers, train_readers = Readers(archive, split), Readers(train, split)
        for shard in range(len(archive_readers.shards)):
            for position in range(len(archive_readers[shard])):
                expected, sample = archive_readers[shard].decode(position), train_readers[shard].decode(position)
                assert expected.keys() == sample.keys()
                for name in expected:
                    if name != "rgb" or profile == "train":
                        assert np.array_equal(expected[name], sample[name])


def test_plain_webdataset_reads_it(pair):
    _, train, profile = pair
    samples = list(webdataset.WebDataset(str(train.folder / "train-000000.tar"), shardshuffle=False))
    assert len(samples) == 3
    depth = np.asarray(Image.open(io.BytesIO(samples[0]["depth.tif"])))
    assert depth.shape == SIZE and depth.dtype == np.uint16
    assert ("rgb.tif" in samples[0]) == (profile == "train")


@pytest.mark.parametrize("crop", [None, (16, 24)])
def test_training_sees_the_same_whichever_way_it_is_stored(pair, crop, monkeypatch):
    archive, train, profile = pair
    windows = []
    original_read = ShardDataset.stored
    monkeypatch.setattr(
        ShardDataset,
        "stored",
        lambda self, index, *window: windows.append(window) or original_read(self, index, *window),
    )
    batches = []
    for manifest in (archive, train):
        data = TrainingData(ShardDataset(manifest), ["rgb"], ["semseg", "depth"], crop=crop, seed=3)
        batches.append(list(data.batches(Batches(4), 0, 6)))
    assert any(windows), "windows are read"
    for archive_batch, train_batch in zip(*batches, strict=True):
        assert archive_batch.keys == train_batch.keys
        for name, labels in archive_batch.labels.items():
            assert labels.equal(train_batch.labels[name])
        if profile == "train":
            assert archive_batch.rgb.equal(train_batch.rgb)


def test_a_folder_keeps_its_profile(tmp_path):
    pack(Tiny(train=2, val=1), tmp_path, profile="train")
    with pytest.raises(UserError, match="profile"):
        pack(Tiny(train=2, val=1), tmp_path)


def test_what_is_not_installed_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("shards.extras.installed", lambda module: module not in EXTRAS["tiles"])
    with pytest.raises(UserError, match=r"--profile train: needs imagecodecs, tifffile; pip install"):
        pack(Tiny(), tmp_path / "out", profile="train")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", [SEMSEG, DEPTH, NORMALS], ids=lambda task: task.name)
def test_every_kind_decodes_a_window(task):
    shape = (50, 70)
    label = {
        "semseg": np.random.default_rng(0).integers(0, 4, shape, dtype=np.uint8),
        "depth": np.linspace(0.5, 9, 3500).reshape(shape).astype(np.float32),
        "normals": np.broadcast_to(np.float32([0, 0.6, -0.8]), (*shape, 3)).copy(),
    }[task.name]
    label[:3] = task.storage.empty(3, 70)
    whole = task.storage.decode(task.storage.encode(label))
    for extension in ("png", "tif"):
        data = task.storage.encode(label, extension)
        for window in windows(shape):
            assert np.array_equal(task.storage.decode(data, extension, window), window.cut(whole))


@pytest.mark.parametrize(
    "decode", [lambda data: decode_label(data, "L", "tif"), lambda data: picture_size(data, "png")]
)
def test_the_error_for_bytes_that_are_no_image_has_no_address(decode):
    with pytest.raises(UserError, match=r"^is not a (TIFF|PNG) image( that can be decoded)?; "):
        decode(b"none")
