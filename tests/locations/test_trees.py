"""Trees on disk and at URLs: the same files in the same order."""

import os
from pathlib import Path
from typing import Any

import pytest
from stores import put

from gpuquant.locations import Place, Tree, place_of, tree_of
from gpuquant.locations.trees import _order

FILES = ["b.png", "a/z.png", "a.png", "a/sub/y", "a/aa/x.jpg", "sub/n.png"]
LEFT_OUT = [".hidden", ".git/a.png", "a/.b.png", "ours/a.png", "a/ours/b.png"]


@pytest.fixture(params=["disk", "url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    for name in FILES + LEFT_OUT:
        if request.param == "url":
            put(f"shelf://box/top/{name}", b"1")
        else:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"1")
    return place_of("shelf://box/top/") if request.param == "url" else tmp_path


def told(tree: Tree) -> list[str]:
    assert all(str(tree.at(place)) == f"{str(tree.folder).rstrip('/')}/{place}" for place in tree.files)
    return tree.files


def test_files_come_before_the_folders_beside_them(folder: Place) -> None:
    tree = tree_of(folder, recursive=True, but="ours")
    assert (
        told(tree) == ["a.png", "b.png", "a/z.png", "a/aa/x.jpg", "a/sub/y", "sub/n.png"] == sorted(FILES, key=_order)
    )
    assert (tree.unlisted, tree.unreachable) == (set(), [])
    flat = tree_of(folder, recursive=False, but="ours")
    assert told(flat) == ["a.png", "b.png"]
    assert flat.has_folders


def test_a_closed_folder(folder: Place) -> None:
    top = str(folder).rstrip("/")
    assert told(tree_of(folder, recursive=True, but="ours", closed=f"{top}/a")) == ["a.png", "b.png", "sub/n.png"]
    assert told(tree_of(folder, recursive=True, but="ours", closed=top)) == []
    assert told(tree_of(folder / "a", recursive=True, but="ours", closed=top)) == []


def test_what_is_no_file_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symlinks to files are files; those to folders are not followed. What cannot be read is there, to be told."""
    for name in ("a", "b", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"")
    (tmp_path / "file").symlink_to(tmp_path / "a" / "x")
    (tmp_path / "into").symlink_to(tmp_path / "closed" / "x")
    (tmp_path / "folder").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    os.mkfifo(tmp_path / "pipe")
    real = os.scandir

    def denied(path: str) -> Any:
        if path == str(tmp_path / "b"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    tree = tree_of(tmp_path, recursive=True, but="ours", closed=str(tmp_path / "closed"))
    assert told(tree) == ["file", "nowhere", "pipe", "round", "a/x", "b"]
    assert tree.unlisted == {"b"}
    assert tree_of(tmp_path / "b", recursive=True, but="ours").files == ["."]
