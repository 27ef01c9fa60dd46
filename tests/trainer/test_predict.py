"""Predictions of picture files, as label files that can be read again."""

import json

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
    files = pictures([photos], tmp_path / "out")
    counted = []
    assert predict(student, files, tmp_path / "out", counted.append) > 0 and counted == [1, 1, 1]
    (photos.parent / "train.txt").write_text("a\nb\n")
    (photos.parent / "val.txt").write_text("hall/a\n")
    for made in (tmp_path / "out").iterdir():
        made.rename(photos.parent / made.name)
    source = Folder(photos.parent)
    assert source.tasks == student.tasks and source.unmatched == {}
    for split, position, name in (("train", 0, "a"), ("train", 1, "b"), ("val", 0, "hall/a")):
        expected = student.predict({"rgb": np.asarray(Image.open(files[name]))})
        labels = source.load(split, position).labels
        assert np.array_equal(labels["semseg"], expected["semseg"])
        steps = np.where(expected["depth"] > 0, np.maximum(np.rint(expected["depth"] / 0.001), 1), 0)
        np.testing.assert_allclose(labels["depth"], steps * 0.001, rtol=1e-5)
    assert labels["semseg"].shape == (32, 64)


def test_predicting_again_is_welcome_and_finds_the_same_pictures(student, photos):
    """Also where predictions lie within the folder of the pictures, and are pictures themselves."""
    out = photos / "predicted"
    for _ in range(2):
        files = pictures([photos], out)
        assert list(files) == ["a", "b", "hall/a"]
        predict(student, files, out, lambda advance: None)
    assert json.loads((out / "predictions.json").read_text()) == {"network": student.facts["sha256"], "size": [32, 64]}


def test_labels_that_are_there_are_not_lost(finished, student, photos, tmp_path):
    files = pictures([photos / "a.png"], tmp_path / "out")
    with pytest.raises(UserError, match=r"robot: holds other files; choose a new folder: labels that are there would"):
        predict(student, files, photos.parent, lambda advance: None)
    assert sorted(path.name for path in photos.parent.iterdir()) == ["rgb"]
    predict(student, files, tmp_path / "out", lambda advance: None)
    other = Predictor(finished("student").checkpoints / "last", size=(64, 64))
    with pytest.raises(UserError, match=r"out: holds predictions of another network or size; choose another folder"):
        predict(other, files, tmp_path / "out", lambda advance: None)


def test_refusals(finished, photos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"empty: no pictures; name pictures \(\.jpeg, \.jpg, \.png, \.webp\), or a"):
        (tmp_path / "empty").mkdir()
        pictures([tmp_path / "empty"], out)
    with pytest.raises(UserError, match=r"hall/a\.png: has the name of .*rgb/a\.png, and so would its labels"):
        pictures([photos / "a.png", photos / "hall" / "a.png"], out)
    teacher = Predictor(finished("teacher").checkpoints / "last")
    with pytest.raises(UserError, match="MODEL: the network sees rgb and depth, not RGB alone; prepare frames"):
        predict(teacher, pictures([photos], out), out, lambda advance: None)
    assert not out.exists()


def test_a_file_that_is_no_picture_is_named(student, photos, tmp_path):
    (photos / "c.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"c\.jpg: is neither JPEG, PNG nor WebP; convert it, or take it out"):
        predict(student, pictures([photos], tmp_path / "out"), tmp_path / "out", lambda advance: None)
    assert not (tmp_path / "out" / "dataset.yaml").exists()


def test_a_drawing_has_a_row_for_each_picture(student, photos, tmp_path):
    draw(student, pictures([photos], tmp_path / "out"), tmp_path / "p.png", 2)
    image = np.asarray(Image.open(tmp_path / "p.png"))
    assert image.shape == (20 + 6 + 2 * 166, 6 + 3 * 326, 3)
