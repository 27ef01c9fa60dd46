"""Verification, statistics and contact sheets of a data set."""

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tiny import DEPTH, NORMALS, SEMSEG, Tiny

from shards.errors import UserError
from shards.inspect import contact_sheet, split_rows, verify
from shards.picture import sheet
from shards.read import Readers
from shards.statistics import mean_and_deviation, merge
from shards.tasks import IGNORE


def labels_of(manifest, split, task):
    """Return every label of a task, decoded one by one."""
    readers = Readers(manifest, split)
    positions = [
        (shard_number, position)
        for shard_number, shard in enumerate(manifest.shards(split))
        for position in range(shard.samples)
    ]
    arrays = [readers[shard_number].decode(position) for shard_number, position in positions]
    return np.array([sample[task.name] for sample in arrays if task.name in sample])


def test_a_whole_data_set_passes(tiny_dataset):
    progress = []
    assert verify(tiny_dataset, progress.append) == 17
    assert progress == [3, 3, 3, 3, 3, 2]


def test_rows_count_what_is_there(tiny_dataset):
    (train, val) = split_rows(tiny_dataset)
    assert train[:5] == ["train", "4", "12", "8", "9"]
    assert val[:5] == ["val", "2", "5", "4", "4"]
    megabytes = sum(path.stat().st_size for path in tiny_dataset.folder.glob("train-*.tar")) / 1e6
    assert train[5] == f"{megabytes:.1f}"


@pytest.mark.parametrize("split", ["train", "val"])
def test_statistics_are_those_of_the_stored_labels(tiny_dataset, split):
    semseg, depth = (tiny_dataset.statistics[split][task.name] for task in (SEMSEG, DEPTH))
    classes, metres = labels_of(tiny_dataset, split, SEMSEG), labels_of(tiny_dataset, split, DEPTH).astype(np.float64)
    assert semseg["pixels"] == [int((classes == number).sum()) for number in range(4)]
    assert semseg["ignore"] == (classes == IGNORE).sum() > 0
    assert semseg["frames"] == len(classes) and depth["frames"] == len(metres)
    values = metres[metres > 0]
    assert (depth["pixels"], depth["missing"]) == (len(values), (metres == 0).sum())
    assert (depth["min"], depth["max"]) == (values.min(), values.max())
    mean, deviation = mean_and_deviation(depth)
    assert mean == pytest.approx(values.mean(), rel=1e-12)
    assert deviation == pytest.approx(values.std(), rel=1e-9)


def test_shares_and_ranges_are_in_words(tiny_dataset):
    statistics, classes = tiny_dataset.statistics["val"], labels_of(tiny_dataset, "val", SEMSEG)
    shares = [100 * (classes == number).sum() / (classes != IGNORE).sum() for number in range(4)]
    expected = sorted(zip(SEMSEG.classes, shares, strict=True), key=lambda share: -share[1])
    assert SEMSEG.storage.describe(statistics["semseg"]) == ", ".join(f"{n} {share:.1f} %" for n, share in expected)
    line = DEPTH.storage.describe(statistics["depth"])
    assert re.fullmatch(r"1.00 to 5.00 m, mean \d\.\d\d ± \d\.\d\d, 4.7 % missing", line)
    assert DEPTH.storage.describe(merge(DEPTH, [])) == "no measurement"
    assert SEMSEG.storage.describe(merge(SEMSEG, [])).startswith("floor 0.0 %")


def test_statistics_of_parts_are_those_of_the_whole():
    random = np.random.default_rng(0)
    classes = random.choice([0, 1, 3, IGNORE], (4, 8, 8)).astype(np.uint8)
    metres = np.maximum(random.normal(1, 1, (4, 8, 8)), 0).astype(np.float32)
    vectors = np.where(metres[..., None] > 0, random.normal(size=(4, 8, 8, 3)), 0).astype(np.float32)
    for task, labels in ((SEMSEG, classes), (DEPTH, metres), (NORMALS, vectors)):
        merged = merge(task, [task.storage.statistics(label) for label in labels])
        expected = task.storage.statistics(labels.reshape(32, 8, *labels.shape[3:])) | {"frames": 4}
        assert merged.keys() == expected.keys()
        for name, value in expected.items():
            assert merged[name] == pytest.approx(value)
    no_measurement = DEPTH.storage.statistics(np.zeros((2, 2), np.float32))
    assert (no_measurement["min"], no_measurement["missing"]) == (None, 4)
    assert (
        merge(DEPTH, [no_measurement, DEPTH.storage.statistics(np.full((1, 1), 2, np.float32)), no_measurement])["min"]
        == 2
    )
    assert mean_and_deviation(no_measurement) == (0, 1)


@pytest.mark.parametrize(("frames", "rows"), [(1, 1), (3, 3), (100, 5)])
def test_the_contact_sheet_is_a_png_of_rgb_and_every_task(tiny_dataset, tmp_path, frames, rows):
    path = tmp_path / "sheet.png"
    contact_sheet(tiny_dataset, "val", path, frames)
    with Image.open(path) as image:
        assert image.format == "PNG"
        classes = (image.height - (rows * (160 + 6 + 20) + 6 + 20)) / 20
        assert image.width == 3 * (320 + 6) + 6 and classes in range(1, 1 + len(SEMSEG.classes))
    assert [entry.name for entry in tmp_path.iterdir()] == ["sheet.png"]


def test_the_contact_sheet_shows_the_first_and_the_last_frame(tiny_dataset, tmp_path):
    contact_sheet(tiny_dataset, "train", tmp_path / "sheet.png", 2)
    pixels = np.asarray(Image.open(tmp_path / "sheet.png"))
    first, last = (pixels[top : top + 160, 332 : 332 + 320] for top in (26, 26 + 186))  # the column of semseg
    semseg = Tiny().load("train", 0).labels["semseg"]
    np.testing.assert_array_equal(first[::5, ::5], SEMSEG.storage.colourise(semseg))  # 32×64 enlarged to 160×320
    assert (last == 0xEE).all(-1).mean() > 0.9  # frame 11 has no label


@pytest.mark.parametrize("change", [{"scale": 0.01}, {"classes": tuple(reversed(SEMSEG.classes))}])
def test_another_scale_or_order_of_classes_changes_the_contact_sheet(tiny_dataset, tmp_path, change):
    name = "depth" if "scale" in change else "semseg"
    tasks = [replace(task, **change) if task.name == name else task for task in tiny_dataset.tasks]
    contact_sheet(tiny_dataset, "train", tmp_path / "right.png")
    contact_sheet(replace(tiny_dataset, tasks=tuple(tasks)), "train", tmp_path / "wrong.png")
    assert (tmp_path / "right.png").read_bytes() != (tmp_path / "wrong.png").read_bytes()


def test_a_text_is_cut_to_its_cell():
    picture = np.zeros((50, 100, 3), np.uint8)
    drawn = [sheet([[picture]], [""], texts=[[text]], keys=[[(text, (9, 9, 9))]]) for text in ("m" * 50, "m" * 60)]
    assert drawn[0].tobytes() == drawn[1].tobytes() and drawn[0].height == 160 + 6 + 20 + 6 + 20 + 20


def test_what_cannot_be_drawn_is_refused(tiny_dataset, tmp_path):
    with pytest.raises(UserError, match="--frames: 0 frames; give 1 or more"):
        contact_sheet(tiny_dataset, "val", tmp_path / "sheet.png", 0)
    with pytest.raises(UserError, match="split 'test' is empty; it has the splits: train, val"):
        contact_sheet(tiny_dataset, "test", tmp_path / "sheet.png")
    assert not list(tmp_path.iterdir())


def test_labels_are_coloured_by_kind():
    classes = SEMSEG.storage.colourise(np.array([[0, 3, IGNORE]], np.uint8))
    assert classes.dtype == np.uint8
    assert classes.tolist() == [[*map(list, np.take(SEMSEG.storage.colours, (0, 3), 0)), [32, 32, 32]]]
    near, far, missing = DEPTH.storage.colourise(np.array([[1, 5, 0]], np.float32))[0]
    assert missing.tolist() == [32, 32, 32]
    assert near.sum() > far.sum()  # near is bright
    limited = DEPTH.storage.colourise(np.array([[1, 5, 0]], np.float32), limits=(1, 9))[0]
    assert limited[0].tolist() == near.tolist() and limited[1].tolist() != far.tolist()
    assert (DEPTH.storage.colourise(np.zeros((2, 2), np.float32)) == 32).all()
    normals = NORMALS.storage.colourise(np.array([[[0, 0, 1], [-1, 0, 0], [0, 0, 0]]], np.float32))
    assert normals.tolist() == [[[127, 127, 0], [0, 127, 127], [32, 32, 32]]]


def test_a_sheet_keeps_the_shape_of_its_pictures():
    picture = np.zeros((50, 100, 3), np.uint8)
    assert sheet([[picture, None]], ["a", "b"], height=80).size == (2 * (160 + 6) + 6, 80 + 6 + 6 + 20)


def test_pictures_of_another_shape_are_fitted_into_their_place_undistorted():
    wide, tall = np.zeros((40, 80, 3), np.uint8), np.full((80, 40, 3), 9, np.uint8)
    pixels = np.asarray(sheet([[wide, tall]], ["", ""], height=80))[26 : 26 + 80, 172 : 172 + 160]
    assert (pixels[:, 60:100] == 9).all() and (pixels[:, :60] == 255).all() and (pixels[:, 100:] == 255).all()


def test_a_picture_makes_its_folder(tiny_dataset, tmp_path):
    contact_sheet(tiny_dataset, "val", tmp_path / "of" / "mine" / "sheet.png")
    assert (tmp_path / "of/mine/sheet.png").is_file()


def test_percentages_are_drawn_with_a_space_that_the_font_has():
    picture = np.zeros((20, 60, 3), np.uint8)
    drawn = [np.asarray(sheet([[picture]], [""], texts=[[text]])) for text in ("39\N{NO-BREAK SPACE}%", "39 %")]
    assert np.array_equal(*drawn)
