"""Claims on output folders: notes, keys that differ, and folders that are in use."""

import pytest

from shards.claim import JOB, Note, claim, differing_keys, is_occupied
from shards.errors import UserError


def test_a_note_is_read_as_it_was_written(tmp_path):
    note = Note(tmp_path / "note.json", "delete it")
    assert note.read() is None
    note.write({"size": (2, 3), "name": None})
    assert note.read() == {"size": [2, 3], "name": None}
    note.path.write_text("{")
    with pytest.raises(UserError, match=r"note\.json: .*; delete it"):
        note.read()


def test_what_differs_is_named_and_none_is_as_good_as_nothing():
    assert differing_keys({"a": 1, "b": [1, 2], "gone": 3}, {"a": 1, "b": (1, 2), "new": 4}) == ["new", "gone"]
    assert differing_keys({"a": None}, {}) == differing_keys({}, {"a": None}) == []


def test_a_folder_is_occupied_by_what_can_be_seen(tmp_path):
    assert not is_occupied(tmp_path) and not is_occupied(tmp_path / "nowhere")
    (tmp_path / ".hidden").touch()
    assert not is_occupied(tmp_path)
    (tmp_path / "file").touch()
    assert is_occupied(tmp_path) and is_occupied(tmp_path / "file")


def test_an_unfinished_job_goes_on_and_another_is_refused(tmp_path):
    out = tmp_path / "out"
    assert claim(out, {"classes": 3}) is None
    (out / "train-000000.tar").touch()
    assert claim(out, {"classes": 3}) is None
    assert Note(out / JOB, "").read() == {"job": {"classes": 3}, "files": {}}
    with pytest.raises(UserError, match="out: classes: holds an unfinished data set of other options"):
        claim(out, {"classes": 4})
    assert (out / "train-000000.tar").exists() and Note(out / JOB, "").read()["job"] == {"classes": 3}


def test_a_job_without_a_shard_is_replaced_by_one_with_other_options(tmp_path):
    out = tmp_path / "out"
    assert claim(out, {"classes": 3}) is None and claim(out, {"classes": 4}) is None
    assert Note(out / JOB, "").read() == {"job": {"classes": 4}, "files": {}}
