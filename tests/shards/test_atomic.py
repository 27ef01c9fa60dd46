"""Atomic writes of files and folders, and the errors of full or read-only disks."""

import errno
import json
import os
import stat

import pytest

from shards.atomic import atomic_file, atomic_folder, disk_errors, read_json, sweep, write_json
from shards.errors import UserError


class Killed(BaseException):
    """An exception that ``except Exception`` does not catch."""


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_hidden_until_its_block_ends(tmp_path):
    with atomic_file(tmp_path / "a.tar") as file:
        file.write(b"half")
        file.flush()
        (hidden,) = names(tmp_path)
        assert hidden.startswith(".a.tar.") and hidden.endswith(".tmp")
    assert names(tmp_path) == ["a.tar"]
    assert (tmp_path / "a.tar").read_bytes() == b"half"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, Killed])
def test_a_failed_block_leaves_the_file_as_it_was(tmp_path, failure):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(failure), atomic_file(path) as file:
        file.write(b"new")
        raise failure
    assert names(tmp_path) == ["a.json"]
    assert path.read_text() == "old"


def test_two_writers_of_one_name_do_not_meet(tmp_path):
    """Two machines that share a disk can have processes with the same id."""
    with atomic_file(tmp_path / "a") as first, atomic_file(tmp_path / "a") as second:
        first.write(b"first, and longer")
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first, and longer"
    assert names(tmp_path) == ["a"]


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(tmp_path, monkeypatch):
    path, synced = tmp_path / "a", []
    original_fsync = os.fsync

    def fsync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, path.exists()))
        original_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_file(path) as file:
        file.write(b"x")
    assert synced == [("file", False), ("folder", True)]


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "can be written"),
        (errno.EACCES, "may write"),
    ],
)
def test_what_a_disk_refuses_is_one_line_with_a_cure(tmp_path, number, hint):
    path = tmp_path / "a.tar"
    with pytest.raises(UserError, match=hint) as caught, atomic_file(path) as file:
        file.write(b"x")
        raise OSError(number, os.strerror(number))
    assert caught.value.file == path
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_an_error_that_is_no_disk_is_not_blamed_on_it(tmp_path):
    with pytest.raises(OSError, match="loop"), disk_errors(tmp_path):
        raise OSError(errno.ELOOP, "loop")


def test_a_folder_is_hidden_until_its_block_ends_and_replaces_the_older(tmp_path):
    path = tmp_path / "checkpoint"
    for content in ("one", "two"):
        with atomic_folder(path) as folder:
            (folder / "weights").write_text(content)
            assert folder != path
            assert not path.exists() or (path / "weights").read_text() == "one"
        assert names(tmp_path) == ["checkpoint"]
        assert (path / "weights").read_text() == content


def test_a_failed_folder_leaves_the_older_one(tmp_path):
    path = tmp_path / "checkpoint"
    with atomic_folder(path) as folder:
        (folder / "weights").write_text("one")
    with pytest.raises(Killed), atomic_folder(path) as folder:
        (folder / "weights").write_text("two")
        raise Killed
    assert names(tmp_path) == ["checkpoint"]
    assert (path / "weights").read_text() == "one"


def test_sweep_removes_leftovers_and_nothing_else(tmp_path):
    for name in ("a.tar", ".hidden", "b.tmp", ".a.tar.0badcafe.tmp"):
        (tmp_path / name).write_text("x")
    leftover = tmp_path / ".checkpoint.0badcafe.tmp"
    leftover.mkdir()
    (leftover / "weights").write_text("x")
    sweep(tmp_path)
    assert names(tmp_path) == [".hidden", "a.tar", "b.tmp"]


def test_json_keeps_its_order_and_holds_no_nan(tmp_path):
    path = tmp_path / "a.json"
    value = {"b": 1, "a": ["é", None, 0.1]}
    write_json(path, value)
    assert path.read_text().endswith("}\n")
    assert list(read_json(path, "")) == ["b", "a"] and read_json(path, "") == value
    write_json(path, value, indent=None)
    assert path.read_text() == json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path, "") == value


@pytest.mark.parametrize(("content", "what"), [(None, "does not exist"), ("{", "cannot be"), ("\xff", "cannot be")])
def test_json_that_cannot_be_read_names_file_and_cure(tmp_path, content, what):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=what) as caught:
        read_json(path, "start again")
    assert caught.value.file == path and caught.value.hint == "start again"
