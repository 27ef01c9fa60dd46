"""Folders with other layouts than ``rgb/NAME`` and ``TASK/NAME``, which patterns in ``dataset.yaml`` describe."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards.errors import UserError
from shards.pack import pack
from shards.read import ShardReader
from shards.sources.folder import Folder
from shards.sources.layout import Pattern, split_by_folder


@pytest.fixture
def save(tmp_path):
    """``save("train/images/a.png", 7)`` writes an image of one value; mode ``L`` is for labels."""

    def save(name: str, value: int, mode: str = "RGB") -> None:
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (6, 4), (value,) * 3 if mode == "RGB" else value).save(path)

    return save


@pytest.fixture
def prepare(tmp_path):
    """``prepare(text)`` packs the saved files; returns the source, and by split and key the values of RGB and label."""

    def prepare(text: str) -> tuple[Folder, dict[str, dict[str, tuple[int, int | None]]]]:
        (tmp_path / "raw/dataset.yaml").write_text(text)
        source = Folder(tmp_path / "raw")
        manifest = pack(source, tmp_path / "out")
        values: dict[str, dict[str, tuple[int, int | None]]] = {}
        for split in manifest.splits:
            reader = ShardReader(manifest, manifest.shards(split)[0])
            for position in range(len(reader)):
                arrays = reader.decode(position)
                label = int(arrays["semseg"].max()) if "semseg" in arrays else None
                values.setdefault(split, {})[reader.key(position)] = (int(arrays["rgb"].max()), label)
        return source, values

    return prepare


CLASSES = "kind: classes, classes: 9"


def test_splits_by_folder_with_images_and_masks_in_each(save, prepare):
    for split, values in (("train", (1, 2, 3)), ("valid", (4, 5))):
        for value in values:
            save(f"{split}/images/site/{value}.png", 10 * value)
            if value != 3:
                save(f"{split}/masks/site/{value}_mask.png", value, "L")
    save("extra/images/x.png", 9)
    masks = "'{split}/masks/{name}_mask'"
    source, samples = prepare(f"images: '{{split}}/images/{{name}}'\ntasks: {{semseg: {{{CLASSES}, files: {masks}}}}}")
    assert samples == {
        "train": {"train_site_1": (10, 1), "train_site_2": (20, 2), "train_site_3": (30, None)},
        "val": {"valid_site_4": (40, 4), "valid_site_5": (50, 5)},
    }
    assert any("1 images are in a folder of neither split" in line for line in source.notices())


def test_images_and_labels_in_one_folder(save, prepare):
    for value in (1, 2, 3, 4):
        save(f"all/{value}.jpg", 10 * value)
        save(f"all/{value}_L.png", value, "L")
    source, splits = prepare(
        f"images: 'all/{{name}}'\nval_fraction: 0.5\ntasks: {{semseg: {{{CLASSES}, files: 'all/{{name}}_L.png'}}}}"
    )
    assert {label for samples in splits.values() for _, label in samples.values()} == {1, 2, 3, 4}
    assert source.notices()[:-1] == [] or all("left out" not in line for line in source.notices())


def test_other_names_of_folders(save, prepare, tmp_path):
    for value in (1, 2):
        save(f"color/{value}.png", 10 * value)
        save(f"label-filt/{value}.png", value, "L")
    (tmp_path / "raw/train.txt").write_text("1\n")
    (tmp_path / "raw/val.txt").write_text("2.png\n")
    _, samples = prepare(f"images: 'color/{{name}}'\ntasks: {{semseg: {{{CLASSES}, files: 'label-filt/{{name}}'}}}}")
    assert samples == {"train": {"1": (10, 1)}, "val": {"2": (20, 2)}}


def test_what_tests_validates_where_nothing_else_does():
    assert split_by_folder(["train/a", "test/b", "Test/c"]) == {"train": ["train/a"], "val": ["test/b", "Test/c"]}
    assert split_by_folder(["train/a", "val/d", "test/b"]) == {"train": ["train/a"], "val": ["val/d"]}


@pytest.mark.parametrize("text", ["rgb", "{name}/{name}", "{file}", "{name}{", "/data/{name}", "../{name}", "{split}"])
def test_what_is_no_pattern(text):
    with pytest.raises(
        UserError, match=r"is not a pattern; write \{name\} once|leaves the folder; name files inside it"
    ):
        Pattern(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: 'color/{name}'\ntasks: {semseg: {CLASSES, files: '{split}/{name}'}}", r"images: has no \{split\}"),
        ("images: '{split}/{name}'\ntasks: {semseg: {CLASSES}}", r"tasks.semseg.files: 'semseg/\{name\}' has no"),
        (
            "images: '{split}/{name}'\nval_fraction: 0.5\ntasks: {semseg: {CLASSES, files: '{split}/{name}_L'}}",
            "conflicts with",
        ),
        (
            "images: 'color/{name}.webp'\ntasks: {semseg: {CLASSES, files: 'color/{name}_L'}}",
            "images: color.* no image",
        ),
        (
            "images: 'color/{name}'\nval_fraction: 0.5\ntasks: {semseg: {CLASSES, files: 'color/{name}_M'}}",
            "semseg.files: color.* no file",
        ),
        ("images: 'colour/{name}'\ntasks: {semseg: {CLASSES, files: 'color/{name}'}}", "colour: is not a folder"),
        ("tasks: {semseg: {CLASSES}}", "rgb: is not a folder; make it, or say in dataset.yaml where images lie"),
    ],
)
def test_errors_name_the_key(save, tmp_path: Path, text, message):
    for name in "ab":
        save(f"color/{name}.png", 1)
        save(f"color/{name}_L.png", 1, "L")
    (tmp_path / "raw/dataset.yaml").write_text(text.replace("CLASSES", CLASSES))
    with pytest.raises(UserError, match=message):
        Folder(tmp_path / "raw")


def test_the_usual_layout_is_what_it_was(save, tmp_path: Path):
    """The options name patterns only if some are declared, so that older unfinished data sets can be continued."""
    for value in (1, 2):
        save(f"rgb/{value}.png", value)
        save(f"semseg/{value}.png", value, "L")
    source = Folder(tmp_path / "raw", classes=9, val_fraction=0.5)
    assert "files" not in source.options
    assert source.files("train", 0)["rgb"].parent.name == "rgb"
    assert np.asarray(source.load("train", 0).labels["semseg"]).shape == (4, 6)
