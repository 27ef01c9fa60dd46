"""Predictions of picture files, as label files that can be read again."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from shards.errors import UserError
from shards.read import Readers
from shards.sources.folder import Folder
from trainer.predict import draw, pictures, predict
from trainer.predictor import Predictor


@pytest.fixture
def student(finished):
    return Predictor(finished("student").checkpoints / "last")


@pytest.fixture
def photos(tmp_path, scenes_dataset):
    """Three validation frames, one of them in a folder of its own and one of another size."""
    folder = tmp_path / "robot" / "rgb"
    (folder / "hall").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "hall/a.png")):
        image = Image.fromarray(Readers(scenes_dataset, "val")[0].decode(number)["rgb"])
        (image.resize((100, 50)) if number == 1 else image).save(folder / name)
    return folder


def test_label_files_are_a_data_set_with_their_pictures(student, photos, tmp_path):
    files = pictures([photos]).files
    advances = []
    assert len(predict(student, files, tmp_path / "out", advances.append).seconds) == 3 and advances == [0, 1, 1, 1]
    (photos.parent / "train.txt").write_text("a\nb\n")
    (photos.parent / "val.txt").write_text("hall/a\n")
    for path in (tmp_path / "out").iterdir():
        path.rename(photos.parent / path.name)
    source = Folder(photos.parent)
    assert source.tasks == student.tasks and source.unmatched == {}
    for split, position, name in (("train", 0, "a"), ("train", 1, "b"), ("val", 0, "hall/a")):
        expected = student.predict({"rgb": np.asarray(Image.open(files[name]))})
        labels = source.load(split, position).labels
        assert np.array_equal(labels["semseg"], expected["semseg"])
        depth = expected["depth"].astype(np.float64)
        steps = np.where(depth > 0, np.maximum(np.rint(depth / 0.001), 1), 0)
        np.testing.assert_allclose(labels["depth"], steps * 0.001, rtol=1e-5)
    assert labels["semseg"].shape == (32, 64)


def test_what_is_there_stays_and_what_is_missing_is_added(student, photos):
    """Also where the predictions, which are pictures too, lie within the folder of the pictures."""
    out = photos / "predicted"
    excluded = [out / "semseg", out / "depth"]
    assert len(predict(student, pictures([photos], excluded).files, out, lambda advance: None).seconds) == 3
    (out / "semseg/a.png").write_bytes(b"corrected by hand")
    (out / "depth/b.png").unlink()
    (out / "dataset.yaml").write_text("# corrected, too")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(photos / "new.png")
    modified = (out / "semseg/b.png").stat().st_mtime_ns
    files = pictures([photos], excluded).files
    assert list(files) == ["a", "b", "hall/a", "new"]
    assert len(predict(student, files, out, lambda advance: None).seconds) == 2
    assert (out / "semseg/a.png").read_bytes() == b"corrected by hand"
    assert (out / "semseg/b.png").stat().st_mtime_ns == modified and (out / "depth/b.png").exists()
    assert (out / "dataset.yaml").read_text() == "# corrected, too" and (out / "semseg/new.png").exists()
    assert json.loads((out / "predictions.json").read_text()) == {"network": student.facts["sha256"], "size": [32, 64]}


def test_labels_are_not_mixed_with_others(finished, student, photos, tmp_path):
    files = pictures([photos / "a.png"]).files
    for folder in (photos.parent, photos / "a.png"):
        with pytest.raises(UserError, match=r"(robot|a\.png): holds other files; choose a new folder: labels are not"):
            predict(student, files, folder, lambda advance: None)
    assert sorted(path.name for path in photos.parent.iterdir()) == ["rgb"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.hidden").touch()
    predict(student, files, tmp_path / "out", lambda advance: None)
    predictor = Predictor(student.folder, size=(64, 64))
    with pytest.raises(UserError, match=r"out: holds predictions of another network or size; choose another folder"):
        predict(predictor, files, tmp_path / "out", lambda advance: None)


def test_refusals(finished, photos, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UserError,
        match=r"empty: no pictures; name pictures \(\.bmp, \.jpeg, \.jpg, \.png, \.ppm, \.tif, \.tiff, \.webp\), or a",
    ):
        pictures([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"nowhere: does not exist; correct the path"):
        pictures([photos, tmp_path / "nowhere"])
    with pytest.raises(UserError, match=r"hall/a\.png: has the name of .*rgb/a\.png, and so would its labels"):
        pictures([photos / "a.png", photos / "hall" / "a.png"])
    teacher = Predictor(finished("teacher").checkpoints / "last")
    with pytest.raises(UserError, match="last: the network sees rgb and depth, not RGB alone; prepare frames"):
        predict(teacher, pictures([photos]).files, out, lambda advance: None)
    assert not out.exists()


def test_a_file_that_cannot_be_read_is_set_aside(student, photos, tmp_path):
    (photos / "0.jpg").write_bytes(b"no picture")
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:-60])
    files = pictures([photos]).files
    with pytest.raises(UserError, match=r"0\.jpg: is neither JPEG, PNG nor WebP; convert it, or take it out"):
        predict(student, files, tmp_path / "strict", lambda advance: None, strict=True)
    assert not (tmp_path / "strict").exists()
    result = predict(student, files, tmp_path / "out", lambda advance: None)
    assert len(result.seconds) == 3 and list(result.bad) == ["0", "cut"]
    assert str(result.bad["cut"].file).endswith("cut.png")
    shutil.copy(photos / "a.png", photos / "cut.png")
    second = predict(student, files, tmp_path / "out", lambda advance: None)
    assert len(second.seconds) == 1 and list(second.bad) == ["0"]


def test_what_is_done_to_a_picture_is_counted(student, photos, tmp_path):
    picture = Image.open(photos / "a.png")
    exif = Image.Exif()
    exif[274] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(photos / "turned.jpg", exif=exif, quality=95)
    picture.convert("RGBA").save(photos / "alpha.png")
    Image.fromarray(np.full((32, 64), 40_000, np.uint16)).save(photos / "deep.png")
    picture.convert("L").save(photos / "grey.png")
    result = predict(student, pictures([photos]).files, tmp_path / "out", lambda advance: None)
    assert result.changed == {
        "turned upright by its EXIF orientation": 1,
        "alpha is dropped": 1,
        "of 16 bits a channel, of which the upper 8 are taken": 1,
        "grey: made RGB": 1,
        "brought to 32x64 and their labels back, the size that the network sees": 1,
    }
    with Image.open(tmp_path / "out/semseg/turned.png") as label:
        assert label.size == (64, 32)


def test_the_same_place_twice_and_files_of_other_kinds(photos):
    (photos / "hall/clip.mp4").touch()
    listing = pictures([photos, photos.parent / "rgb", photos / "a.png"])
    assert list(listing.files) == ["a", "b", "hall/a"] and set(listing.others) == {photos / "hall/clip.mp4"}


def test_a_drawing_has_a_row_for_each_picture(student, photos, tmp_path):
    draw(student, pictures([photos]).files, tmp_path / "p.png", 2)
    image = np.asarray(Image.open(tmp_path / "p.png"))
    top = 20 + 6 + 2 * 166
    assert image.shape[1] == 6 + 3 * 326 and image.shape[0] >= top + 2 * 20, "a line for each end of the depths"
    swatches = image[[top + 6, top + 26], 6 + 2 * 326 + 6].tolist()
    assert swatches == [[253, 231, 37], [68, 1, 84]], "viridis: near is yellow"
