"""Class masks in files: several numbers per class, colours, masks in black and white, duplicate names."""

import numpy as np
import pytest
from PIL import Image

from shards.errors import UserError
from shards.inspect import remarks
from shards.kinds.classfile import IGNORE
from shards.pack import pack
from shards.read import ShardReader
from shards.sources.folder import Folder


@pytest.fixture
def prepare(tmp_path):
    """``prepare(declared, *masks)`` packs frames with these masks (None: no file), the last one for validation.

    It returns the manifest and the stored masks of the training frames that have one.
    """

    def prepare_folder(declared, *masks, kind="classes"):
        for position, mask in enumerate(masks):
            for folder in ("rgb", "mask"):
                (tmp_path / "raw" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 6, 3), position, np.uint8)).save(tmp_path / f"raw/rgb/{position}.png")
            if mask is not None:
                Image.fromarray(mask).save(tmp_path / f"raw/mask/{position}.png")
        names = [str(position) for position in range(len(masks))]
        (tmp_path / "raw/train.txt").write_text("\n".join(names[:-1]))
        (tmp_path / "raw/val.txt").write_text(names[-1])
        (tmp_path / "raw/dataset.yaml").write_text(f"tasks: {{mask: {{kind: {kind}, {declared}}}}}")
        manifest = pack(Folder(tmp_path / "raw"), tmp_path / "out")
        reader = ShardReader(manifest, manifest.shards("train")[0])
        frames = [reader.decode(position) for position in range(len(reader))]
        return manifest, [frame["mask"] for frame in frames if "mask" in frame]

    return prepare_folder


def mask(*rows, dtype=np.uint8):
    return np.array([[value] * 6 for value in rows], dtype)


def test_several_numbers_can_be_one_class(prepare):
    numbers = mask(0, 1, 2, 3)
    manifest, (stored,) = prepare("classes: {0: wall, 1: floor, 2: wall, 3: door}", numbers, numbers)
    assert manifest.task("mask").classes == ("wall", "floor", "door")
    assert stored[:, 0].tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    ("declared", "kind", "message"),
    [
        ("classes: [a, b, a]", "classes", r"tasks.mask: class 'a' occurs twice; write \{number: name"),
        ("masks: [a, a]", "binary", r"tasks.mask: mask 'a' occurs twice; give every mask"),
        ("classes: {0: a, 0: b}", "classes", r"dataset.yaml: cannot be read as YAML \(.*0 occurs twice"),
        ("classes: 2, ignore: [[1, 2]]", "classes", r"ignore \[\[1, 2\]\] is neither numbers nor colours"),
    ],
)
def test_what_stands_twice_is_an_error(prepare, declared, kind, message):
    with pytest.raises(UserError, match=message):
        prepare(declared, mask(0, 0, 0, 0), mask(0, 0, 0, 0), kind=kind)


def coloured(*rows):
    return np.array([[value] * 6 for value in rows], np.uint8)


RED, GREEN, BLACK = [255, 0, 0], [0, 255, 0], [0, 0, 0]


def test_colours_of_dataset_yaml_are_read(prepare):
    declared = f"classes: [a, b], colours: [{RED}, {GREEN}], ignore: [255, {BLACK}]"
    _, (stored, numbers) = prepare(declared, coloured(RED, GREEN, BLACK, RED), mask(0, 1, 255, 0), mask(0, 1, 0, 1))
    assert stored[:, 0].tolist() == numbers[:, 0].tolist() == [0, 1, IGNORE, 0]


def test_a_colour_that_is_both_a_class_and_ignored_is_an_error(prepare):
    declared = f"classes: [a, b], colours: [{RED}, {GREEN}], ignore: [255, {GREEN}]"
    with pytest.raises(UserError, match=r"tasks.mask: colour \[0, 255, 0\] is both ignored and that of class .b.; ch"):
        prepare(declared, coloured(RED, GREEN, GREEN, RED), mask(0, 1, 0, 1))


def test_a_colour_that_is_no_class_is_an_error(prepare):
    with pytest.raises(UserError, match=r"0.png: holds the colour \[0, 0, 0\], which no class has"):
        prepare(f"classes: [a, b], colours: [{RED}, {GREEN}]", coloured(RED, GREEN, BLACK, RED), mask(0, 1, 0, 1))


def test_colours_that_are_not_declared_are_refused(prepare):
    with pytest.raises(UserError, match=r"is a RGB picture, expected one channel; .* may declare their colours"):
        prepare("classes: 2", coloured(RED, GREEN, BLACK, RED), mask(0, 1, 0, 1))


@pytest.mark.parametrize(("declared", "kind"), [("classes: 2", "classes"), ("masks: [thing]", "binary")])
def test_a_mask_in_black_and_white_has_to_say_what_white_is(prepare, declared, kind):
    black_white = mask(0, 255, 255, 0)
    with pytest.raises(UserError, match=r"0.png: is drawn in 0 and 255, and 255 means no label where ignore is no"):
        prepare(declared, black_white, black_white, kind=kind)


def test_black_and_white_is_read_as_declared(prepare):
    black_white = mask(0, 255, 255, 0)
    _, (stored,) = prepare("classes: {0: background, 255: thing}", black_white, black_white)
    assert stored[:, 0].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize(("ignore", "expected"), [(254, [1, 2, 2, 1]), (255, [1, 0, 0, 1])])
def test_a_binary_mask_in_black_and_white_is_read_as_declared(prepare, ignore, expected):
    black_white = mask(0, 255, 255, 0)
    _, (stored,) = prepare(f"masks: [thing], ignore: {ignore}", black_white, black_white, kind="binary")
    assert stored[:, 0].tolist() == expected


def test_a_blank_mask_is_no_label_and_counted(prepare):
    blank = mask(255, 255, 255, 255)
    manifest, stored = prepare("classes: 4", mask(0, 1, 2, 3), blank, blank, mask(0, 1, 2, 3))
    assert len(stored) == 1 and manifest.shards("train")[0].labels == {"mask": 1}
    assert manifest.statistics["train"]["mask"]["frames"] == 1
    expected = (
        "train: mask: no pixel has a label: the frame counts as one without this label (2 frames; the first is 1)"
    )
    assert expected in remarks(manifest)


def test_a_task_that_nobody_labels_is_told(prepare):
    manifest, stored = prepare("classes: 1", None, None, mask(0, 0, 0, 0))
    assert not stored
    assert "mask: no frame of train has a label, so nothing can be learnt from it" in remarks(manifest)


def test_classes_without_a_pixel_are_told(prepare):
    manifest, _ = prepare("classes: [a, b, c]", mask(0, 0, 1, 1), mask(0, 0, 0, 0))
    assert remarks(manifest) == [
        "mask: no pixel of train is of 1 of the classes: c",
        "mask: no pixel of val is of 2 of the classes: b, c",
    ]


def test_masks_that_hold_nowhere_are_told(prepare):
    manifest, _ = prepare("masks: [a, b]", mask(1, 1, 1, 1), mask(3, 2, 0, 0), kind="binary")
    assert remarks(manifest) == ["mask: holds nowhere in train: b", "mask: holds everywhere in train: a"]
