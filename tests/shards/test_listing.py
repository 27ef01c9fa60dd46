"""Files by stem: what counts, what is passed over, and what is not a folder that can be read."""

import os

import pytest

from shards.errors import UserError
from shards.sources.listing import files_by_stem, stem_of


def test_files_of_folders_within_and_behind_links(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for path in (root / "b.v2.PNG", root / "a" / "1.jpg", root / "notes.txt", elsewhere / "deep" / "2.jpg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "deep" / "loop").symlink_to(elsewhere)
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "1.jpg").touch()
    (root / ".hidden.jpg").touch()
    found, others = files_by_stem(root, {".jpg", ".png"})
    assert found == {"a/1": "a/1.jpg", "b.v2": "b.v2.PNG", "linked/deep/2": "linked/deep/2.jpg"}
    assert list(found) == sorted(found) and others == ["notes.txt"]
    assert [stem_of(name) for name in found.values()] == list(found)


def test_refusals(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="nowhere: is not a folder; make it"):
        files_by_stem(tmp_path / "nowhere", {".jpg"})
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"holds both a\.jpg and a\.png; keep one file per stem"):
        files_by_stem(tmp_path, {".jpg", ".png"})

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); change its permissions"):
        files_by_stem(tmp_path, {".jpg"})
