"""A user's own folder: the layouts and files that it may have, and the errors for contradictions."""

import pickle
import textwrap
import unicodedata

import numpy as np
import pytest
import yaml
from warehouse import declare, filled, picture, save, warehouse

import shards.sources.folder
from shards.errors import UserError
from shards.pack import pack
from shards.sources.declaration import declaration_of
from shards.sources.folder import Folder


def test_arguments_suffice(root):
    source = warehouse(root, depth_scale=0.001)
    assert source.name == "warehouse"
    assert source.splits == {"train": ["0002", "0000", "0001"], "val": ["0003"]}  # in the order of the list
    semseg, depth = source.tasks
    assert (semseg.name, semseg.classes) == ("semseg", ("floor", "shelf", "person"))
    assert (depth.name, depth.kind, depth.scale, depth.unit) == ("depth", "scalar", 0.001, "m")
    assert [set(source.load("train", i).labels) for i in range(3)] == [{"depth"}, {"semseg", "depth"}, {"semseg"}]
    frame = source.load("train", 1)
    assert frame.rgb == (root / "rgb/0000.png").read_bytes()
    assert frame.meta == {"file": "rgb/0000.png"}
    assert frame.labels["semseg"].dtype == np.uint8
    assert (frame.labels["semseg"] == 0).all()
    assert frame.labels["depth"].dtype == np.float32
    np.testing.assert_allclose(frame.labels["depth"], 1.5)


def test_a_number_of_classes_suffices(root):
    assert warehouse(root, classes=3).tasks[0].classes == ("class 0", "class 1", "class 2")


def test_the_example_of_the_docstring_works(root):
    lines = shards.sources.folder.__doc__.split(".. code-block:: yaml\n")[1].split("\n===")[0]
    example = yaml.safe_load(textwrap.dedent(lines))
    del example["val_fraction"], example["group_by"]
    (root / "dataset.yaml").write_text(yaml.safe_dump(example, sort_keys=False))
    for i in range(4):
        save(root / f"normals/{i:04d}.png", picture(i))
        save(root / f"ground/{i:04d}.png", picture(i)[..., 0] % 4)
    source = Folder(root)
    assert [(task.name, task.kind) for task in source.tasks] == [
        ("semseg", "classes"),
        ("depth", "scalar"),
        ("normals", "unit_vector"),
        ("ground", "binary"),
    ]
    assert source.tasks[0].colours[2] == (220, 20, 60)
    assert set(source.load("train", 1).labels) == {"semseg", "depth", "normals", "ground"}


def test_a_camera_is_known_to_every_frame(root):
    camera = {"fx": 525.0, "fy": 525.0, "cx": 319.5, "cy": 239.5}
    assert "intrinsics" not in warehouse(root).options, "data sets without one stay what they were"
    source = warehouse(root, intrinsics=camera)
    assert source.options["intrinsics"] == source.load("train", 0).meta["intrinsics"] == camera
    declare(root, "intrinsics: {fx: 5, fy: 6, cx: 2, cy: 1}")
    assert warehouse(root).load("val", 0).meta["intrinsics"] == {"fx": 5, "fy": 6, "cx": 2, "cy": 1}


def test_arguments_win_over_the_file(root):
    declare(root, "{name: other, tasks: {semseg: {kind: classes, classes: 5, ignore: 0, offset: 1}}}")
    assert Folder(root).name == "other"
    source = Folder(root, name="mine", classes=3, depth_scale=0.5)
    assert source.name == "mine"
    assert len(source.tasks[0].classes) == 3
    assert source.tasks[1].scale == 0.5
    assert source.options != Folder(root, name="mine", classes=4, depth_scale=0.5).options


def test_survives_pickling(root):
    source = warehouse(root, depth_scale=0.001)
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301
    assert copy.splits == source.splits
    np.testing.assert_array_equal(copy.load("val", 0).labels["depth"], source.load("val", 0).labels["depth"])


# splits


def test_test_txt_stands_in_for_val_txt(root):
    (root / "test.txt").write_text("0001\n")
    assert warehouse(root).splits["val"] == ["0003"]
    (root / "val.txt").unlink()
    (root / "train.txt").write_text("\ufeff0002.png\r\n\r\n0000\r\n", "utf-8")
    assert warehouse(root).splits == {"train": ["0002", "0000"], "val": ["0001"]}


def test_a_fraction_follows_from_the_keys_alone(tmp_path):
    for i in range(25):
        save(tmp_path / f"a/rgb/f{i}.png", picture())
        save(tmp_path / f"b/rgb/f{24 - i}.jpg", picture())
    for folder in "ab":
        save(tmp_path / folder / "depth/f0.png", filled(1, np.uint16))
    splits, other_splits = (Folder(tmp_path / folder, depth_scale=1, val_fraction=0.3).splits for folder in "ab")
    assert splits == other_splits
    assert len(splits["val"]) == round(25 * 0.3)
    assert sorted(splits["train"] + splits["val"]) == sorted(f"f{i}" for i in range(25))
    assert splits["val"] != sorted(splits["train"] + splits["val"])[: len(splits["val"])]
    larger_val = Folder(tmp_path / "a", depth_scale=1, val_fraction=0.5).splits["val"]
    assert set(splits["val"]) < set(larger_val)


def test_folders_within_make_part_of_the_key(root):
    save(root / "rgb/site a/x.y.JPG", picture(), format="JPEG")
    save(root / "semseg/site a/x.y.png", filled(3))
    (root / "val.txt").write_text("site a/x.y\n")
    source = warehouse(root)
    assert source.splits["val"] == ["site_a_x_y"]
    assert (source.load("val", 0).labels["semseg"] == 2).all()


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("0000\n0007\n0008\n", r"train.txt: names frames without an image: 2, the first is 0007; "),
        ("\n", r"no frame of 4 is in split train; list some in train.txt"),
        ("0000\n0000\n", r"0000: is listed twice; "),
        ("0000\n0003\n", r"0003: is listed twice; list a frame once, in one split"),
        ("a b\na_b\n", r"a_b: a b.png and a_b.png have the same key; rename one"),
    ],
)
def test_a_list_that_contradicts_the_images_is_an_error(root, train, message):
    for name in ("a b", "a_b"):
        save(root / f"rgb/{name}.png", picture()) if name in train else None
    (root / "train.txt").write_text(train)
    with pytest.raises(UserError, match=message):
        warehouse(root)


def test_splits_must_be_given_and_given_once(root):
    with pytest.raises(UserError, match=r"has both val_fraction and train.txt; leave"):
        warehouse(root, val_fraction=0.5)
    (root / "train.txt").unlink()
    with pytest.raises(UserError, match=r"which frames train and which validate; write train.txt and val.txt"):
        warehouse(root)
    (root / "val.txt").unlink()
    with pytest.raises(UserError, match=r"no frame of 4 is in split val; change val_fraction"):
        warehouse(root, val_fraction=0.01)
    with pytest.raises(UserError, match=r"val_fraction: 1.5; give a number between 0 and 1"):
        warehouse(root, val_fraction=1.5)


# files


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_and_their_accents_are_the_same_in_one_or_apart(root, form):
    """macOS, and archives made there, write letters and accents apart."""
    for task, file in (("rgb", "0000.png"), ("semseg", "0000.png")):
        name = unicodedata.normalize("NFD" if task == "rgb" else "NFC", "café.png")
        (root / task / file).rename(root / task / name)
    listed = unicodedata.normalize(form, "café")
    suffix = ".png" if form == "NFD" else ""  # a list may name the suffix
    (root / "train.txt").write_text(f"0002\n{listed}{suffix}\n0001\n", "utf-8")
    source = warehouse(root)
    assert source.splits["train"] == ["0002", "caf_", "0001"]
    assert source.load("train", 1).labels.keys() == {"semseg"}


def test_two_files_of_one_stem_are_an_error(root):
    save(root / "rgb/0002.jpg", picture())
    with pytest.raises(UserError, match=r"rgb: holds both 0002.jpg and 0002.png; keep one"):
        warehouse(root)


def test_files_that_no_frame_uses_are_listed(root):
    save(root / "semseg/0099.png", filled(1))
    save(root / "semseg/0002.jpg", filled(1))
    (root / "rgb/Thumbs.db").write_bytes(b"")
    (root / "rgb/.hidden.png").write_bytes(b"")
    source = warehouse(root)
    assert source.unmatched == {"rgb": ["Thumbs.db"], "semseg": ["0002.jpg", "0099.png"]}
    assert source.undeclared == ["depth"]


def test_the_files_of_a_frame_are_those_it_is_read_from(root):
    source = warehouse(root, depth_scale=0.001)
    assert source.files("train", 1) == {name: root / name / "0000.png" for name in ("rgb", "semseg", "depth")}
    assert source.files("train", 1) == source.load("train", 1).files
    out = root.parent / "out"
    pack(source, out)
    save(root / "semseg/0003.png", filled(1))
    with pytest.raises(UserError, match="files: the raw files have changed"):
        pack(warehouse(root, depth_scale=0.001), out)


def test_a_class_without_a_name_is_an_error(root):
    with pytest.raises(UserError, match=r"tasks.semseg: a class has an empty name; name every class"):
        warehouse(root, classes=["floor", "shelf", ""])


def test_labels_that_never_match_are_an_error(root):
    for path in (root / "semseg").iterdir():
        path.rename(path.with_stem(f"{path.stem}_label"))
    with pytest.raises(UserError, match=r"semseg: none of its 2 files .* first is 0000_label.png; name each after"):
        warehouse(root)


def test_a_zoom_is_declared_and_written_back(root):
    declare(root, "tasks: {depth: {kind: scalar, scale: 0.001, unit: 1/m, zoom: multiply}}")
    task = Folder(root).tasks[0]
    assert task.zoom == "multiply"
    (root / "dataset.yaml").write_text(declaration_of([task]))
    assert Folder(root).tasks == (task,)


def test_missing_folders_are_errors(root):
    hint = r"put labels there, or, in dataset.yaml, say where they lie \(files: 'labels/\{name\}'\)"
    with pytest.raises(UserError, match=f"normals: is not a folder; {hint}"):
        declare(root, "tasks: {normals: {kind: unit_vector}}")
        Folder(root)
    for options in ({}, {"classes": 3}):
        with pytest.raises(UserError, match=r"elsewhere: does not exist; give the folder that holds your frames"):
            Folder(root / "elsewhere", **options)
    with pytest.raises(UserError, match=r"train.txt: is not a folder"):
        Folder(root / "train.txt")
    (root / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty/rgb: is not a folder"):
        Folder(root / "empty", classes=3)
    (root / "empty/rgb").mkdir()
    with pytest.raises(UserError, match=r"empty/rgb: holds no image; put some there, ending in .*, or say in dataset"):
        Folder(root / "empty", classes=3, val_fraction=0.5)


# dataset.yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "taks: {}",
            r"dataset.yaml: taks: is not a key; did you mean tasks\? known: name, images, val_fraction, tasks",
        ),
        ("tasks: {depth: {kind: scalar, scal: 1}}", r"tasks.depth.scal: is not a key; did you mean scale\?"),
        ("tasks: {semseg: {kind: classes, classes: 3, colors: []}}", r"semseg.colors: .* did you mean colours\?"),
        ("tasks: {depth: {kind: scalar, classes: 3}}", r"tasks.depth.classes: is not a key"),
        ("tasks: {depth: {scale: 1}}", r"tasks.depth: has no kind; give kind: classes, scalar, unit_vector"),
        ("tasks: {depth: {kind: metrik}}", r"tasks.depth: 'metrik' is not a kind; did you mean scalar\? known:"),
        ("tasks: {semseg: {kind: class}}", r"tasks.semseg: 'class' is not a kind; did you mean classes\? known: "),
        ("tasks: {depth: {kind: [scalar]}}", r"tasks.depth: .* is not a kind; did you mean scalar"),
        ("tasks: {depth: {kind: 7}}", r"tasks.depth: '7' is not a kind; known: classes, scalar"),
        ("tasks: {depth: {kind: scalar}}", r"tasks.depth: scale is not a finite number; give the value of one"),
        ("tasks: {depth: {kind: scalar, scale: -1}}", r"tasks.depth: scale -1.0 is not a positive, finite number; "),
        ("tasks: {depth: {kind: scalar, scale: 1, zoom: up}}", r"tasks.depth: zoom 'up' is none of divide, multiply"),
        ("tasks: {Depth: {kind: unit_vector}}", r"tasks.Depth: 'Depth' is not a task name"),
        ("tasks: {semseg: {kind: classes}}", r"tasks.semseg: classes are missing; give a list"),
        (
            "tasks: {semseg: {kind: classes, classes: [yes, no]}}",
            r"class name True is not text in YAML; put it in quo",
        ),
        ("tasks: {semseg: {kind: classes, classes: [a, b], ignore: 1}}", r"stored 1 is both ignored and class 1 \(b"),
        (
            "tasks: {semseg: {kind: classes, classes: [a], ignore: x}}",
            r"'x' is not a stored number; give whole numbers",
        ),
        ("tasks: {semseg: {kind: classes, classes: [a], offset: -1}}", r"tasks.semseg: -1 is not a stored number"),
        ("tasks: {semseg: {kind: classes, classes: [a], offset: 1.5}}", r"offset 1.5 is not a whole number"),
        ("tasks: {semseg: {kind: classes, classes: {1: a}, offset: 1}}", r"offset is given although classes have"),
        ("tasks: {semseg: {kind: classes, classes: [a], colours: [red]}}", r"colours is not a list of \[r, g, b\]"),
        ("tasks: {semseg: {kind: classes, classes: 2, colours: [[1, 2, 3]]}}", r"1 colours for 2 classes; "),
        ("tasks: {semseg: {kind: classes, classes: 300}}", r"300 classes, where 1 to 255 can be stored"),
        ("tasks: {}", r"dataset.yaml: tasks: no tasks are declared; name them in dataset.yaml"),
        ("name: a/b", r"name: 'a/b'; use letters"),
        ("intrinsics: {fx: 1, fy: 1, cx: 0}", r"yaml: intrinsics: {.*}; give fx, fy, cx, cy in pixels, the first two"),
        ("intrinsics: {fx: 0, fy: 1, cx: 0, cy: 0}", r"intrinsics: {'fx': 0, .*}; give fx, fy, cx, cy in pixels"),
        ("intrinsics: {fx: 1, fy: 1, cx: .nan, cy: 0}", r"intrinsics: {.*nan.*}; give fx, fy, cx, cy in pixels"),
        ("intrinsics: 525", r"intrinsics: 525; give fx, fy, cx, cy in pixels"),
        ("name: [", r"dataset.yaml: cannot be read as YAML .*line 1.*; correct the file"),
        ("- a", r"dataset.yaml: is not a mapping; give its keys: name"),
        ("!!python/object/apply:os.system [true]", r"cannot be read as YAML"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_an_error(root, text, message):
    declare(root, text)
    with pytest.raises(UserError, match=message) as caught:
        Folder(root)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
