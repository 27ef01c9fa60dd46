"""Packing: the same bytes for any number of processes and after any interruption, and what it refuses."""

import contextlib
import dataclasses
import errno
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest
import tiny
import webdataset
from tiny import SEMSEG, Tiny

from shards.claim import JOB
from shards.encode import encode
from shards.errors import UserError
from shards.manifest import NAME, Manifest
from shards.pack import pack, plan
from shards.workers import run

SMALL = Tiny(train=4, val=1)
INTERRUPTED = """
import sys
from pathlib import Path
from shards.pack import pack
from tiny import Tiny
pack(Tiny(at=4), Path(sys.argv[1]), samples_per_shard=3, jobs=2)
"""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def final_files(folder):
    """Return the files under final names; the job's note is not part of the result."""
    return {name: data for name, data in contents(folder).items() if not name.startswith(".")}


@pytest.fixture
def interrupted(tmp_path):
    """Start packing with two workers, of which one hangs in the second shard while the other does all the others."""
    out = tmp_path / "out"
    path = os.pathsep.join([str(Path(tiny.__file__).parent), *sys.path])
    command = [sys.executable, "-c", INTERRUPTED, str(out)]
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (list(out.glob(".train-000001.tar.*.tmp")) and (out / "val-000001.index.json").exists()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    yield process, out
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # workers that a failed test left


def interrupt():
    raise KeyboardInterrupt


def wait_for_exit(process):
    """Wait for a process and its workers, which all keep its output open; return its exit status."""
    process.communicate(timeout=30)
    return process.returncode


def test_two_processes_write_the_same_bytes(tiny_dataset, tmp_path):
    progress, slow_source = [], Tiny(at=0, act=partial(time.sleep, 0.5))  # the first shard is finished last
    manifest = pack(slow_source, tmp_path, samples_per_shard=3, jobs=2, progress=progress.append)
    assert contents(tmp_path) == contents(tiny_dataset.folder)
    assert manifest == dataclasses.replace(tiny_dataset, folder=tmp_path)
    assert sorted(progress) == [2, 3, 3, 3, 3, 3]


def test_a_killed_job_continues_to_the_same_bytes(tiny_dataset, interrupted):
    process, out = interrupted
    process.send_signal(signal.SIGKILL)
    assert wait_for_exit(process) == -signal.SIGKILL
    expected = contents(tiny_dataset.folder)
    assert final_files(out).items() < expected.items() and NAME not in final_files(out)
    assert any(name.endswith(".tmp") for name in contents(out)), "the test interrupted nothing"
    pack(Tiny(), out, samples_per_shard=3)
    assert contents(out) == expected


def test_an_interrupt_ends_all_workers_and_leaves_nothing_half_written(tiny_dataset, interrupted):
    process, out = interrupted
    process.send_signal(signal.SIGINT)
    assert wait_for_exit(process) != 0
    expected = contents(tiny_dataset.folder)
    assert final_files(out).items() < expected.items() and NAME not in final_files(out)
    assert set(contents(out)) - set(final_files(out)) == {JOB}
    pack(Tiny(), out, samples_per_shard=3)
    assert contents(out) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be killed in place (fork)")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_job_that_dies_at_any_rename_continues_to_the_same_bytes(tmp_path, monkeypatch, moment):
    """Every file gets its name by one rename, so it is enough to die before and after each of them."""
    expected = contents(pack(SMALL, tmp_path / "whole", samples_per_shard=2).folder)
    original_replace = Path.replace
    for renames in range(100):
        out = tmp_path / f"{renames}"
        countdowns = iter(range(renames, -100, -1))

        def replace_or_die(self, target, countdowns=countdowns):
            countdown = next(countdowns)
            if countdown == 0 and moment == "before":
                os._exit(1)
            original_replace(self, target)
            if countdown == 0:
                os._exit(1)

        child = os.fork()
        if not child:
            monkeypatch.setattr(Path, "replace", replace_or_die)
            try:
                pack(SMALL, out, samples_per_shard=2)
                os._exit(0)
            finally:
                os._exit(2)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert final_files(out).items() <= expected.items()
        assert (NAME in final_files(out)) == (contents(out) == expected)
        pack(SMALL, out, samples_per_shard=2)
        assert contents(out) == expected
        if status == 0:
            break
        assert status == 1
    assert renames == len(expected)


def test_the_manifest_is_the_last_file(tmp_path, monkeypatch):
    renamed = []
    original_replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (renamed.append(Path(target).name), original_replace(self, target))
    )
    pack(SMALL, tmp_path, samples_per_shard=2)
    assert renamed[0] == JOB and renamed[-1] == NAME
    for shard in ("train-000000", "train-000001", "val-000000"):
        assert renamed.index(f"{shard}.tar") < renamed.index(f"{shard}.index.json")


def test_leftovers_are_gone_before_anything_is_written(tmp_path):
    """Leftovers may be what fills the disk."""
    out = tmp_path / "out"

    def assert_swept():
        assert not (out / ".train-000000.tar.0badcafe.tmp").exists()

    with pytest.raises(KeyboardInterrupt):
        pack(Tiny(at=0, act=interrupt), out)
    (out / ".train-000000.tar.0badcafe.tmp").write_bytes(b"half")
    pack(Tiny(at=0, act=assert_swept), out)


def test_whole_shards_are_kept_and_damaged_ones_made_again(tmp_path):
    out, loaded = tmp_path / "out", []

    class Counting(Tiny):
        def load(self, split, position):
            loaded.append((split, position))
            return super().load(split, position)

    with pytest.raises(KeyboardInterrupt):
        pack(Counting(at=10, act=interrupt), out, samples_per_shard=2)
    loaded.clear()
    damaged = out / "train-000001.tar"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    (out / "train-000002.index.json").write_text("{")
    (out / "train-000003.index.json").unlink()
    pack(Counting(), out, samples_per_shard=2)
    assert loaded == [("train", i) for i in (2, 3, 4, 5, 6, 7, 10, 11)] + [("val", i) for i in range(5)]
    assert contents(out) == contents(pack(Counting(), tmp_path / "whole", samples_per_shard=2).folder)


def test_a_finished_data_set_is_not_made_again(tiny_dataset):
    class Untouched(Tiny):
        def load(self, split, position):
            raise AssertionError("was read again")

    progress, before = [], contents(tiny_dataset.folder)
    assert pack(Untouched(), tiny_dataset.folder, samples_per_shard=3, progress=progress.append) == tiny_dataset
    assert progress == [17]
    assert contents(tiny_dataset.folder) == before


@pytest.mark.parametrize("how", ["no tar", "cut tar", "no index"])
def test_a_shard_that_was_deleted_is_made_again_and_the_same(tiny_dataset, tmp_path, how, caplog):
    caplog.set_level(logging.INFO, logger="tutelage")
    out = tmp_path / "out"
    shutil.copytree(tiny_dataset.folder, out)
    shard = out / "train-000001.tar"
    if how == "no tar":
        shard.unlink()
    elif how == "cut tar":
        os.truncate(shard, 512)
    else:
        shard.with_name("train-000001.index.json").unlink()
    pack(Tiny(), out, samples_per_shard=3)
    assert contents(out) == contents(tiny_dataset.folder) and not caplog.messages
    pack(Tiny(), out, samples_per_shard=3)
    assert caplog.messages == ["already prepared: nothing to do"]


@dataclasses.dataclass(frozen=True)
class Filed(Tiny):
    """A source with one file per frame, whose content is in the frame's meta."""

    raw: Path = Path()

    def files(self, split, position):
        return {"rgb": self.raw / f"{split}-{position}"}

    def load(self, split, position):
        frame = super().load(split, position)
        frame.meta["raw"] = self.files(split, position)["rgb"].read_text()
        return frame


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for split, count in (("train", 4), ("val", 1)):
        for position in range(count):
            (folder / f"{split}-{position}").write_text("old")
    return folder


def test_raw_files_that_changed_are_no_longer_the_finished_data_set(raw, tmp_path):
    source, out = Filed(train=4, val=1, raw=raw), tmp_path / "out"
    manifest = pack(source, out, samples_per_shard=2)
    before = contents(out)
    os.utime(raw / "train-3", ns=(0, 0))  # the size stays the same
    with pytest.raises(UserError, match=r"out: files: the raw files have changed .*; give another folder, or delete"):
        pack(source, out, samples_per_shard=2)
    assert contents(out) == before
    other = pack(source, tmp_path / "other", samples_per_shard=2)
    assert other.sha256 == manifest.sha256, "times are no part of a data set"
    (out / JOB).unlink()
    assert pack(source, out, samples_per_shard=2) == manifest, "a copy without the note"


def test_an_unfinished_job_makes_shards_of_changed_raw_files_again(raw, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        pack(Filed(train=4, val=1, raw=raw, at=2, act=interrupt), out, samples_per_shard=1)
    modified = (out / "train-000000.tar").stat().st_mtime_ns
    (raw / "train-1").write_text("new")
    os.utime(raw / "train-1", ns=(0, 0))
    source = Filed(train=4, val=1, raw=raw)
    pack(source, out, samples_per_shard=1)
    assert contents(out) == contents(pack(source, tmp_path / "whole", samples_per_shard=1).folder)
    assert (out / "train-000000.tar").stat().st_mtime_ns == modified


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("source", "options", "key", "difference"),
    [
        (SMALL, {"samples_per_shard": 1}, "samples_per_shard", "other options"),
        (SMALL, {"size": (16, 32)}, "size", "other options"),
        (dataclasses.replace(SMALL, name="other"), {"size": (16, 32)}, "name, size", "other options"),
        (dataclasses.replace(SMALL, train=3), {}, "splits", "another list of frames: train 4 → 3"),
        (dataclasses.replace(SMALL, tasks=(SEMSEG,)), {}, "tasks", "other options"),
        (dataclasses.replace(SMALL, options={"seed": 1}), {}, "seed", "other options"),
        (
            type("Renamed", (Tiny,), {"splits": {"train": list("abcd"), "val": []}})(train=4, val=1),
            {},
            "splits",
            "another list of frames: train 4 \\(other frames\\), val 1 → 0",
        ),
    ],
    ids=["samples_per_shard", "size", "name", "count", "tasks", "options", "keys"],
)
def test_a_folder_of_other_options_is_refused_and_not_touched(tmp_path, source, options, key, difference, finished):
    pack(SMALL, tmp_path, samples_per_shard=2)
    if not finished:
        (tmp_path / NAME).unlink()
    before = contents(tmp_path)
    what = "a data set" if finished else "an unfinished data set"
    with pytest.raises(UserError, match=f"{key}: holds {what} of {difference}; give another folder, or") as caught:
        pack(source, tmp_path, **({"samples_per_shard": 2} | options))
    assert caught.value.file == tmp_path
    assert contents(tmp_path) == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match="is not empty; give another folder"):
        pack(SMALL, tmp_path)
    for out in (tmp_path / "thesis.tex", tmp_path / "thesis.tex" / "data"):
        with pytest.raises(UserError, match="is a file; give a folder"):
            pack(SMALL, out)
    assert contents(tmp_path) == {"thesis.tex": b"x"}


def test_a_folder_that_may_not_be_made_is_one_line(tmp_path, monkeypatch):
    def refuse(self, *args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"cannot be written .*; choose a folder that you may write") as caught:
        pack(SMALL, tmp_path / "out")
    assert caught.value.file == tmp_path / "out"


def test_a_worker_that_the_system_kills_is_one_line():
    with pytest.raises(UserError, match="a worker process was killed; give fewer --jobs"):
        list(run(os._exit, [9], jobs=2))


@pytest.mark.parametrize(
    ("splits", "what", "key"),
    [
        ({"train": ["a", "b", "a"]}, "occurs twice in train", "Wrong: a"),
        ({"train": ["a", "b.c"]}, "'b.c' is not a key", "Wrong: train"),
        ({"train": [], "val": []}, "no frames were found", "Wrong"),
    ],
)
def test_a_source_that_cannot_be_packed_is_refused(tmp_path, splits, what, key):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=what) as caught:
        pack(type("Wrong", (Tiny,), {"splits": splits})(), out)
    assert caught.value.key == key and caught.value.hint and str(caught.value.file).endswith("test_pack.py")
    assert not out.exists()


def test_a_shard_holds_a_sample_at_least(tmp_path):
    with pytest.raises(UserError, match="--samples-per-shard: 0 samples per shard; give 1 or more"):
        pack(SMALL, tmp_path, samples_per_shard=0)


def test_a_size_that_could_not_be_read_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="--size: 8001x8000 pixels are over the limit of 64000000, above which no image"
    ):
        pack(SMALL, tmp_path / "out", size=(8001, 8000))
    assert not (tmp_path / "out").exists()


def test_splits_are_cut_before_anything_is_read():
    shards = [(shard.file, shard.start, shard.count) for shard in plan(Tiny(), 5)]
    assert shards == [
        ("train-000000.tar", 0, 5),
        ("train-000001.tar", 5, 5),
        ("train-000002.tar", 10, 2),
        ("val-000000.tar", 0, 5),
    ]


def test_an_empty_split_has_no_shards(tmp_path):
    manifest = pack(Tiny(train=2, val=0), tmp_path)
    assert manifest.splits["val"] == () and manifest.samples("val") == 0
    assert Manifest.load(tmp_path) == manifest


def test_a_plain_webdataset_reads_the_shards(tiny_dataset):
    source = Tiny()
    for split in ("train", "val"):
        urls = [str(tiny_dataset.folder / shard.file) for shard in tiny_dataset.shards(split)]
        samples = list(webdataset.WebDataset(urls, shardshuffle=False))
        assert [sample["__key__"] for sample in samples] == source.splits[split]
        for position, sample in enumerate(samples):
            encoded = encode(source.load(split, position), sample["__key__"], source.tasks, None)
            members = {name: data for name, data in sample.items() if not name.startswith("__")}
            assert members == encoded.members


def test_members_say_nothing_of_when_and_by_whom_they_were_written(tiny_dataset):
    with tarfile.open(tiny_dataset.folder / "train-000000.tar") as tar:
        for member in tar:
            assert (member.mtime, member.uname, member.gname, member.uid, member.gid) == (0, "", "", 0, 0)
            assert member.isreg()


def test_a_bad_frame_ends_the_job_and_the_cured_one_continues_it(tiny_dataset, tmp_path):
    def fail():
        raise UserError("is torn", file="raw/7.png", key="train-007", hint="draw it again")

    with pytest.raises(UserError, match=r"raw/7.png: train-007: is torn; draw it again"):
        pack(Tiny(at=7, act=fail), tmp_path, samples_per_shard=3)
    assert set(contents(tmp_path)) == {
        JOB,
        *(f"train-00000{i}.{suffix}" for i in (0, 1) for suffix in ("tar", "index.json")),
    }
    pack(Tiny(), tmp_path, samples_per_shard=3)
    assert contents(tmp_path) == contents(tiny_dataset.folder)
