"""Looks at places: nothing is there, or nobody knows."""

import os
from pathlib import Path
from typing import Any

import pytest
from stores import Shelf, put

from gpuquant.errors import ImageFileError
from gpuquant.images.note import is_whole, read_options
from gpuquant.locations import Place, holds, is_there, looked_into, place_of, size_of


def start_of(place: Place) -> bytes | None:
    with looked_into(place) as file:
        return None if file is None else file.read(2)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    put("shelf://box/a", b"123")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for folder in (tmp_path, place_of("shelf://box")):
        assert (start_of(folder / "a"), size_of(folder / "a"), is_there(folder / "a")) == (b"12", 3, True)
        assert (start_of(folder / "b"), size_of(folder / "b"), is_there(folder / "b")) == (None, None, False)
        assert start_of(folder) is None
    for name in ("pipe", "loop", "a\0"):
        assert start_of(tmp_path / name) is None
    assert not holds((tmp_path / ("a" * 300)).exists)


@pytest.mark.parametrize("look", [start_of, read_options, is_whole])
def test_what_nobody_knows(look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"123")
    put("shelf://box/a", b"123")

    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    Shelf.fault = denied
    for folder in (tmp_path, place_of("shelf://box")):
        with pytest.raises(ImageFileError, match=rf"^{folder}/a cannot be read: .*Permission denied"):
            look(folder / "a")
    monkeypatch.setattr(Path, "is_file", denied)  # of what lies in a folder that cannot be entered
    with pytest.raises(ImageFileError, match=r"/b cannot be read: Permission denied$"):
        look(tmp_path / "b")
