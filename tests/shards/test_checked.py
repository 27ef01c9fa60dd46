"""A user's source that returns invalid frames or raises: the error is one line that names the place."""

import dataclasses
import importlib
import io
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from ownsource import CLASSES, GOOD, METRES, RGB, SHAPE, Own, make_frame
from PIL import Image
from tiny import DEPTH, Tiny, png
from warehouse import save_bits

from shards.errors import BadFile, UserError
from shards.images import read_rgb
from shards.pack import pack
from shards.read import ShardReader
from shards.sources.base import Frame
from shards.sources.checked import CheckedSource, check_source
from shards.sources.normals import WithNormals
from shards.sources.scenes import Scenes
from shards.tasks import Task, palette

HERE = r"(tests/(shards|support)/)?(test_checked|ownsource)\.py"


def message_of(source, **options):
    """Return the message of the error that loading the first frame raises, which must be one line."""
    with pytest.raises(UserError) as caught:
        check_source(source).load("train", 0)
    assert caught.value.__cause__ is not None, "no traceback for --debug"
    assert "\n" not in str(caught.value)
    return str(caught.value)


LONG = np.zeros((*SHAPE, 1), np.float32)


@pytest.mark.parametrize(
    ("gives", "what"),
    [
        (make_frame(RGB / np.float32(255)), r"rgb is float32 \(8, 10, 3\), expected uint8 \(H, W, 3\); scale"),
        (
            make_frame(RGB.astype(np.uint16)),
            r"rgb is uint16 .*; scale its values to 0..255 and give array.astype\(numpy.u",
        ),
        (make_frame(RGB.transpose(2, 0, 1)), r"rgb is uint8 \(3, 8, 10\), .*; give array.transpose\(1, 2, 0\)"),
        (make_frame(np.zeros((8, 10, 4), np.uint8)), r"rgb is uint8 \(8, 10, 4\), .*; give array\[..., :3\]"),
        (make_frame(RGB[:0]), r"rgb has no pixels \(0x10\); leave the frame out"),
        (make_frame(RGB.tolist()), "rgb is a list, expected an array, uint8"),
        (make_frame(None), "rgb is None, expected an array"),
        (make_frame(depth=LONG), r"depth is float32 \(8, 10, 1\), expected float32 \(H, W\); give array\[..., 0\]"),
        (make_frame(depth=METRES[None]), r"depth is float32 \(1, 8, 10\), .*; give array\[0\]"),
        (make_frame(depth=METRES > 2), r"depth is bool .*; give array.astype\(numpy.float32\)"),
        (make_frame(depth=METRES.astype(object)), "depth is object"),
        (make_frame(semseg=CLASSES.astype(np.float32)), r"semseg is float32 .*; give array.astype\(numpy.uint8\)"),
        (make_frame(semseg=CLASSES.astype(np.uint64)), r"semseg is uint64"),
        (make_frame(semseg=CLASSES.tolist()), r"semseg is a list, .*; give numpy.asarray\(array, numpy.uint8\)"),
        (
            make_frame(normals=METRES),
            r"normals is float32 \(8, 10\), expected float32 \(H, W, 3\); give 3 values for each",
        ),
        (make_frame(normals=np.zeros((3, 8, 10), np.float32)), r"normals .*; give array.transpose\(1, 2, 0\)"),
        (
            make_frame(np.ma.array(RGB)),
            r"rgb is a masked array, of which the mask is not stored; give array.filled\(0\),",
        ),
        (make_frame(np.ma.array(RGB[..., 0])), "rgb is a masked array"),
        (make_frame(depth=np.ma.masked_less(METRES, 2)), r"depth is a masked array, .*; give array.filled\(0\), or"),
        (make_frame(semseg=np.ma.masked_equal(CLASSES, 0)), r"semseg is a masked .*; give array.filled\(255\), or"),
        (make_frame(ground=CLASSES > 0), r"ground is a bool array.*; give 1 \+ the sum"),
        (make_frame(semsec=CLASSES), r"has a label 'semsec', which is not one of its tasks; did you mean semseg\?"),
        (
            make_frame(meta={"file": Path("a")}),
            r"meta\['file'\] is a PosixPath, which JSON does not have; .*str\(path\)",
        ),
        (make_frame(meta={"k": [1, np.float32(2)]}), r"meta\['k'\]\[1\] is a float32, which JSON does not have"),
        (make_frame(meta={"fx": float("nan")}), r"meta\['fx'\] is nan, which JSON does not have"),
        (Frame(RGB, [CLASSES]), "labels is a list, not a dict"),
        (Frame(RGB, {}, None), "meta is None, not a dict"),
        (Frame(RGB, {}, {}, [Path("a")]), "files is a list, not a dict"),
        ({"rgb": RGB}, r"load returned a dict, not a Frame; return shards.sources.base.Frame\(rgb, labels\)"),
        ((RGB, {}), "load returned a tuple, not a Frame"),
        (lambda: None, "load returned None, not a Frame"),
    ],
)
def test_a_frame_that_is_none_names_split_key_and_label(gives, what):
    assert re.match(rf"{HERE}: train/a: {what}", message_of(Own(gives)))


@pytest.mark.parametrize("label", ["semseg", "depth"])
def test_a_raw_file_is_named_where_it_is_known(label):
    frame = make_frame(files={label: Path("raw/7.png")}, **{label: CLASSES[..., None] / 2})
    assert message_of(Own(frame)).startswith(f"raw/7.png: a: {label} is float64 (8, 10, 1), expected")


def encode_turned(image_format, orientation):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(buffer, image_format, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_bytes_of_an_image_that_exif_turns_are_refused(image_format):
    upright = encode_turned(image_format, 1)
    assert check_source(Own(make_frame(upright))).load("train", 0).rgb is upright
    what = r"rgb is turned by its EXIF orientation, and would be stored unturned; give shards\.images\.read_rgb\(path\)"
    assert re.match(rf"{HERE}: train/a: {what}", message_of(Own(make_frame(encode_turned(image_format, 3)))))


def test_bytes_of_sixteen_bits_are_refused(tmp_path):
    data = save_bits(tmp_path / "x.png", 16, 2, 1, bytes(6)).read_bytes()
    what = r"rgb has 16 bits per channel, expected 8; give shards\.images\.read_rgb\(path\)"
    assert re.match(rf"{HERE}: train/a: {what}", message_of(Own(make_frame(data))))


def test_the_hints_for_bytes_are_right(tmp_path):
    paths = [save_bits(tmp_path / "x.png", 16, 2, 1, bytes(6)), tmp_path / "x.jpg"]
    paths[1].write_bytes(encode_turned("JPEG", 3))
    for path in paths:
        frame = check_source(Own(make_frame(read_rgb(path)))).load("train", 0)
        assert isinstance(frame.rgb, np.ndarray)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff broken", b"\x89PNG\r\n\x1a\n", b"RIFF????WEBP"])
def test_bytes_that_do_not_open_are_an_error_when_they_are_stored(tmp_path, data):
    check_source(Own(make_frame(data))).load("train", 0)
    with pytest.raises(UserError, match=r"rgb is (not a (JPEG|PNG|WEBP) image that|neither JPEG, PNG nor WebP)"):
        pack(Own(make_frame(data)), tmp_path / "out")


SOURCE = """
import numpy as np
from shards.sources.base import Frame
from shards.tasks import Task

class Mine:
    name, tasks, options = "mine", (Task("depth", "scalar", scale=0.001, unit="m"),), {}
    splits = {"train": ["a", "b"], "val": ["c"]}

    def load(self, split, position):
        if split == "train" and position == 1:
            FAILS
        return Frame(np.full((4, 6, 3), VALUE, np.uint8), {"depth": np.full((4, 6), VALUE, np.float32)})
"""


@pytest.fixture
def make_source(tmp_path, monkeypatch):
    """``make_source(value)`` returns a source that is imported from a file with this value."""
    monkeypatch.syspath_prepend(tmp_path)

    def make_source(value, fails=""):
        (tmp_path / "minesource.py").write_text(
            SOURCE.replace("VALUE", str(value)).replace("FAILS", f"raise {fails}" if fails else "pass")
        )
        sys.modules.pop("minesource", None)
        importlib.invalidate_caches()
        module = importlib.import_module("minesource")
        return module.Mine()

    return make_source


class Typed(Own):
    @property
    def splits(self):
        return {}["none"]

    @splits.setter
    def splits(self, value):
        pass


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (Own(tasks={"depth": DEPTH}), r"tasks is a dict, not a tuple of shards.tasks.Task; .*: \(task,\)"),
        (Own(tasks=DEPTH), "tasks is a Task, not a tuple"),
        (Own(tasks=()), "tasks is empty; declare"),
        (Own(tasks=(DEPTH, DEPTH)), "tasks: 'depth' occurs twice; give each a name of its own"),
        (Own(tasks=(Task("semseg", "classes", ("b", "b")),)), "semseg: 'b' occurs twice"),
        (Own(splits={"train": [1, 2]}), r"train: 1 is not a key; .*key_of\(path.stem\)"),
        (Own(splits={"train": "ab"}), r"splits\['train'\] is a str, not a list of keys"),
        (Own(splits={"train": (x for x in "ab")}), r"splits\['train'\] is a generator, not a list of keys"),
        (Own(splits=["a"]), "splits is a list, not a dict"),
        (Own(splits={1: ["a"]}), "split 1 is not a name; name the splits train and val"),
        (Own(splits={"train": ["a"], "val": ["b", "a"]}), "a: is in both train and val; list each frame in one"),
        (Own(splits=lambda: {}), "splits is a method, expected its value; write @property"),
        (Typed(), "splits raised KeyError: 'none'; correct it"),
        (Own(options=None), "options is None, not a dict; give {}"),
        (Own(options={"root": Path("a")}), r"options\['root'\] is a PosixPath, which JSON does not have"),
        (Own(options={"scale": np.float32(2)}), r"options\['scale'\] is a float32"),
        (Own(name=Path("a")), r"name .*Path\('a'\) is not a name"),
        (Own(name=""), "name '' is not a name"),
        (Own(load=lambda position: GOOD), "load does not take a split and a position .*; write def load"),
    ],
)
def test_a_source_that_is_none_names_its_file_and_class(tmp_path, source, what):
    with pytest.raises(UserError) as caught:
        pack(source, tmp_path / "out", jobs=2)
    assert re.match(rf"{HERE}(:\d+)?: (Own|Typed): {what}", str(caught.value)) and not (tmp_path / "out").exists()


def test_what_a_source_lacks_is_listed():
    with pytest.raises(
        UserError, match="builtins: list: lacks name, tasks, splits, options, load; give it what shards"
    ):
        check_source([])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_frame_whose_loading_raises_is_left_out_and_named_with_the_line(tmp_path, make_source, jobs):
    messages: list[str] = []
    source = make_source(1, fails="KeyError('depth')")
    manifest = pack(source, tmp_path / "out", jobs=jobs, strict=False, set_aside=messages.append)
    assert manifest.samples("train") == 1 and manifest.samples("val") == 1 and len(messages) == 1
    assert re.fullmatch(
        r"\S*minesource.py:12: train/b: load raised KeyError: 'depth'; correct load, or .*", messages[0]
    )
    with pytest.raises(BadFile, match="train/b: load raised KeyError: 'depth'"):
        pack(source, tmp_path / "strict", jobs=jobs)


def test_where_no_frame_loads_it_is_said_why_and_a_corrected_source_begins_anew(tmp_path):
    def raise_os_error():
        raise OSError("image file is truncated")

    with pytest.raises(
        UserError, match=r"no frame of train can be read: .*train/a: load raised OSError: image file is t"
    ):
        pack(Own(raise_os_error), tmp_path / "out", strict=False)
    assert pack(Own(), tmp_path / "out").samples("train") == 2


def test_an_error_of_the_sources_own_passes():
    def raise_user_error():
        raise UserError("is upside down", file="raw/1.png")

    with pytest.raises(UserError, match=r"^raw/1\.png: is upside down$") as caught:
        check_source(Own(raise_user_error)).load("train", 0)
    assert not isinstance(caught.value, BadFile)


def test_memory_that_is_short_is_no_bad_frame():
    def raise_memory_error():
        raise MemoryError

    with pytest.raises(MemoryError):
        check_source(Own(raise_memory_error)).load("train", 0)


def test_what_cannot_be_sent_to_workers_is_told_before_any_work(tmp_path):
    source = Own(handle=iter([]), frame=lambda: GOOD)
    with pytest.raises(
        UserError, match=r"Own: pickling it for worker processes raised .*; open files in load .*--jobs 1"
    ):
        pack(source, tmp_path / "out", jobs=2)
    assert not (tmp_path / "out").exists()
    assert pack(source, tmp_path / "out").samples("train") == 2


def test_a_class_of_a_notebook_is_told_before_workers_look_for_it(tmp_path, monkeypatch):
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    source = type("Cell", (Own,), {"__module__": "__main__"})()
    with pytest.raises(UserError, match="Cell: is in no file that worker processes could import; write it into a mod"):
        pack(source, tmp_path / "out", jobs=2)


def test_the_checks_are_not_made_twice():
    source = check_source(Own())
    assert isinstance(source, CheckedSource) and check_source(source) is source
    assert source.load("val", 0).labels.keys() == {"semseg", "depth"}


def test_a_wrapped_source_is_named_by_the_inner_one():
    source = WithNormals(Own(lambda: {}[0], tasks=(DEPTH,)))
    assert re.match(rf"{HERE}:\d+: train/a: load raised KeyError: 0", message_of(source))


# The source's file


def test_a_source_that_was_edited_since_is_told_and_not_refused(tmp_path, make_source, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    manifest = pack(make_source(1), tmp_path / "out")
    assert pack(make_source(1), tmp_path / "out") == manifest
    assert caplog.messages == ["already prepared: nothing to do"]
    assert pack(make_source(22), tmp_path / "out") == manifest
    assert re.match(
        r"note: \S*minesource.py has changed since: .*; to prepare it anew, give another folder, or",
        caplog.messages[-1],
    )


def test_so_is_one_whose_base_class_was_edited(tmp_path, make_source, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    make_source(1)
    (tmp_path / "derived.py").write_text("import minesource\n\nclass Derived(minesource.Mine):\n    pass\n")

    def derived(value):
        make_source(value)
        sys.modules.pop("derived", None)
        return importlib.import_module("derived").Derived()

    manifest = pack(derived(1), tmp_path / "out")
    assert pack(derived(1), tmp_path / "out") == manifest
    assert caplog.messages == ["already prepared: nothing to do"]
    pack(derived(22), tmp_path / "out")
    assert re.match(r"note: \S*derived.py, or a base class beside it, has changed since: ", caplog.messages[-1])


def test_a_manifest_without_the_hash_is_read_as_before(tmp_path, make_source, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    manifest = pack(make_source(1), tmp_path / "out")
    source = {key: value for key, value in manifest.source.items() if key != "source_sha256"}
    assert len(source) == len(manifest.source) - 1
    dataclasses.replace(manifest, source=source).save()
    pack(make_source(22), tmp_path / "out")
    assert caplog.messages == ["already prepared: nothing to do"]
    assert "source_sha256" not in pack(Scenes(1, 1, (16, 24)), tmp_path / "scenes").source


def test_an_unfinished_data_set_of_an_edited_source_is_made_anew(tmp_path, make_source):
    with pytest.raises(KeyboardInterrupt):
        pack(make_source(1, fails="KeyboardInterrupt"), tmp_path / "out", samples_per_shard=1)
    assert (tmp_path / "out/train-000000.index.json").exists()
    manifest = pack(make_source(22), tmp_path / "out", samples_per_shard=1)
    arrays = ShardReader(manifest, manifest.shards("train")[0]).decode(0)
    np.testing.assert_allclose(arrays["depth"], 22)


def test_a_finished_data_set_gets_no_shard_of_edited_code(tmp_path, make_source):
    out = tmp_path / "out"
    manifest = pack(make_source(1), out, samples_per_shard=1)
    (out / "train-000000.tar").unlink()
    with pytest.raises(UserError, match=r"out: source_sha256: lacks shards, and the code .* since; give .*rest"):
        pack(make_source(22), out, samples_per_shard=1)
    assert not (out / "train-000000.tar").exists()
    assert pack(make_source(1), out, samples_per_shard=1) == manifest


# Tasks


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"kind": "classes", "classes": 3},
            r"task semseg: classes 3 is not a tuple of names; give them in index order",
        ),
        ({"kind": "classes", "classes": "floor"}, "classes 'floor' is not a tuple of names"),
        (
            {"kind": "classes", "classes": ("a",), "colours": ((1, 2, 300),)},
            r"colours .* is not a tuple of colours; give",
        ),
        ({"kind": "scalar", "scale": ".001"}, r"scale '.001' is not a number; give the units of one step: 0.001"),
        ({"kind": "scalar", "scale": 1.0, "unit": None}, "unit None is not text"),
        ({"kind": None}, "kind None is not text"),
    ],
)
def test_a_task_of_other_types_is_refused(options, what):
    with pytest.raises(UserError, match=what):
        Task("semseg", **options)


def test_a_task_takes_lists_numpys_numbers_and_no_colours():
    task = Task("semseg", "classes", ["a", "b"])
    assert task.classes == ("a", "b") and task.colours == palette(2) and hash(task)
    assert Task("depth", "scalar", scale=np.float32(0.5)).scale == 0.5


def test_bytes_are_kept():
    data = png(RGB)
    assert check_source(Own(make_frame(data))).load("train", 0).rgb is data
    assert check_source(Tiny()).load("train", 0).labels.keys() == {"semseg", "depth"}
