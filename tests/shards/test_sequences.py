"""Random splits: groups of frames stay together, or a remark says that they do not; unlisted frames are counted."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from shards.errors import UserError
from shards.sources.folder import Folder
from shards.sources.sequences import describe_random_split, describe_split_sequences, split_by_hash

STEMS = [f"seq{s}/{i:04d}" for s in range(4) for i in range(10)]


def test_folders_stay_together():
    splits = split_by_hash(STEMS, 0.25, "folder")
    assert len(splits["val"]) == 10 and len({stem[:4] for stem in splits["val"]}) == 1
    assert sorted(splits["train"] + splits["val"]) == STEMS
    assert splits == split_by_hash(STEMS[::-1], 0.25, "folder")
    assert describe_split_sequences(splits) is None


def test_a_pattern_names_the_group():
    stems = [stem.replace("/", "_") for stem in STEMS]
    splits = split_by_hash(stems, 0.5, r"seq(\d)_")
    assert len(splits["val"]) == 20 and len({stem[:4] for stem in splits["val"]}) == 2
    assert split_by_hash(stems, 0.5, r"^seq\d") != {}


def test_a_group_may_have_a_name_that_is_not_utf8():
    stems = [f"{os.fsdecode(name)}/{i}" for name in (b"stra\xdfe", b"hof") for i in range(10)]
    splits = split_by_hash(stems, 0.5, "folder")
    assert len(splits["val"]) == len(splits["train"]) == 10


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_both_splits_have_a_group(fraction):
    splits = split_by_hash(STEMS, fraction, "folder")
    assert splits["train"] and splits["val"]


@pytest.mark.parametrize("large", ["recording", "recording329"])
def test_a_group_much_larger_than_the_fraction_stays_in_training(large):
    """Whatever the hash of its name; that of the second comes before those of all rooms."""
    stems = [f"{large}/{i}" for i in range(900)] + [f"room{r}/{i}" for r in range(10) for i in range(10)]
    splits = split_by_hash(stems, 0.1, "folder")
    assert 80 <= len(splits["val"]) <= 100 and not any(stem.startswith(large) for stem in splits["val"])
    assert describe_random_split(splits, 0.1, "folder") is None


def test_where_every_group_is_too_large_the_closest_is_taken_and_reported():
    stems = [f"a/{i}" for i in range(60)] + [f"b/{i}" for i in range(40)]
    splits = split_by_hash(stems, 0.1, "folder")
    assert splits["val"] == sorted(stems[60:])
    expected = "val has 40 of 100 frames, a share of 0.4 where 0.1 was asked for"
    assert expected in describe_random_split(splits, 0.1, "folder")
    assert describe_random_split(splits, 0.3, "folder") is None


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        ("x", r"seq0/0000: does not match group_by; change 'x'"),
        ("seq", r"group_by: puts all 40 frames into one group, 'seq'; group by something that differs"),
        ("(", r"group_by: '\(' is not a regular expression"),
    ],
)
def test_groups_that_cannot_be_are_errors(group_by, message):
    with pytest.raises(UserError, match=message):
        split_by_hash(STEMS, 0.25, group_by)


def test_sequences_on_both_sides_are_told():
    message = describe_split_sequences(split_by_hash(STEMS, 0.5))
    assert message and "4 numbered sequences have frames in both train and val (seq0/0000 to seq0/0009)" in message
    assert "group_by: folder" in message
    assert describe_split_sequences({"train": ["kitchen", "hall"], "val": ["yard"]}) is None
    message_of_one = describe_split_sequences({"train": ["a_1", "a_2"], "val": ["a_3"]})
    assert (
        message_of_one
        and "a numbered sequence has" in message_of_one
        and "group_by: PATTERN, or train.txt" in message_of_one
    )


@pytest.fixture
def root(tmp_path):
    for number in range(6):
        for folder in ("rgb", "depth"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"rgb/{number}.png")
        Image.fromarray(np.full((4, 6), 2000, np.uint16)).save(tmp_path / f"depth/{number}.png")
    return tmp_path


def declare(root, text, lists=True):
    (root / "dataset.yaml").write_text(text)
    if lists:
        (root / "train.txt").write_text("0\n1\n")
        (root / "val.txt").write_text("2\n")
    return Folder(root)


def test_images_in_no_list_are_counted(root):
    source = declare(root, "tasks: {depth: {kind: scalar, scale: 0.001}}")
    assert source.unlisted == ["3.png", "4.png", "5.png"]
    assert source.notices() == [
        "rgb: 3 images are in no list: left out, the first is 3.png; frames without labels belong into train.txt, for "
        "pseudo-labels"
    ]


def test_a_guess_is_told_and_what_cannot_be_guessed_is_asked_for(root):
    (root / "depth").rename(root / "height")
    source = declare(root, "tasks: {height: {kind: scalar, scale: 1, unit: cm}}")
    assert source.tasks[0].zoom == "keep"
    assert "height: zoom: keep is assumed of its name and unit (m); declare zoom if that is wrong" in source.notices()
    (root / "height").rename(root / "x")
    with pytest.raises(
        UserError, match=r"tasks.x: it is not known what enlarging an image does to the values; declare"
    ):
        declare(root, "tasks: {x: {kind: scalar, scale: 1}}")
    assert declare(root, "tasks: {x: {kind: scalar, scale: 1, zoom: keep}}").tasks[0].zoom == "keep"


def test_a_folder_of_labels_that_no_frame_uses_is_an_error(root):
    for number in (0, 1, 2):
        (root / f"depth/{number}.png").unlink()
    text = "tasks: {depth: {kind: scalar, scale: 0.001}}"
    with pytest.raises(UserError, match=r"depth: none of its 3 labels is of a frame that trains or validates; list"):
        declare(root, text)
    for number in (3, 4, 5):
        (root / f"depth/{number}.png").unlink()
    with pytest.raises(UserError, match=r"depth: holds no label; put labels there, or, in dataset.yaml, say where"):
        declare(root, text)


def test_group_by_goes_with_val_fraction(root):
    text = "tasks: {depth: {kind: scalar, scale: 0.001}}\ngroup_by: '[0-2]|[3-5]'\n"
    with pytest.raises(UserError, match=r"group_by: applies only with val_fraction; give val_fraction too"):
        declare(root, text)
    for name in ("train.txt", "val.txt"):
        (root / name).unlink()
    source = declare(root, text.replace("[0-2]|[3-5]", ".") + "val_fraction: 0.5\n", lists=False)
    assert source.options["group_by"] == "." and len(source.splits["val"]) == 3
    assert not any("val_fraction" in line for line in source.notices())
    source = declare(root, text.replace("[0-2]|[3-5]", "(5)?") + "val_fraction: 0.5\n", lists=False)
    assert any(re.match("val_fraction: val has [15] of 6 frames", line) for line in source.notices())


@pytest.mark.parametrize("group_by", ["(", "x", "()"])
def test_a_pattern_that_cannot_group_is_an_error_that_names_the_file(root, group_by):
    with pytest.raises(UserError, match="group_by") as caught:
        Folder(root, depth_scale=0.001, val_fraction=0.5, group_by=group_by)
    assert caught.value.file == root and caught.value.hint
    text = f"tasks: {{depth: {{kind: scalar, scale: 0.001}}}}\nval_fraction: 0.5\ngroup_by: '{group_by}'\n"
    with pytest.raises(UserError, match=r"dataset\.yaml: .*group_by"):
        declare(root, text, lists=False)
