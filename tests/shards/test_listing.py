"""Files by stem: which files are listed, which are skipped, and folders that cannot be read."""

import os

import pytest

from shards.errors import UserError
from shards.sources.listing import files_by_stem, stem_of


def test_files_of_folders_within_and_behind_links(tmp_path):
    root, target = tmp_path / "root", tmp_path / "elsewhere"
    for path in (root / "b.v2.PNG", root / "a" / "1.jpg", root / "notes.txt", target / "deep" / "2.jpg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "linked").symlink_to(target)
    (target / "deep" / "loop").symlink_to(target)
    (root / ".thumbnails").mkdir()
    (root / ".thumbnails" / "1.jpg").touch()
    (root / ".hidden.jpg").touch()
    files, others = files_by_stem(root, {".jpg", ".png"})
    assert files == {"a/1": "a/1.jpg", "b.v2": "b.v2.PNG", "linked/deep/2": "linked/deep/2.jpg"}
    assert list(files) == sorted(files) and others == ["notes.txt"]
    assert [stem_of(name) for name in files.values()] == list(files)


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
