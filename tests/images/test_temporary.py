"""Temporary files: what is written is read back, they have no name, and what goes wrong tells the way out."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuquant.errors import ImageFileError
from gpuquant.images.temporary import TemporaryFile


def test_arrays_are_read_back(tmp_path: Path) -> None:
    arrays: list[Any] = [np.arange(60, dtype=np.uint8).reshape(4, 5, 3)[:, ::-1], np.arange(7, dtype=np.uint16)]
    file = TemporaryFile(tmp_path, 74, "a test")
    places = [file.append(array) for array in arrays]
    assert places == [0, 60]
    for place, array in reversed(list(zip(places, arrays, strict=True))):
        found = np.empty(array.shape, array.dtype)
        file.read(place, found)
        np.testing.assert_array_equal(found, array)
    assert list(tmp_path.iterdir()) == []  # the file has no name
    file.close()


def test_too_little_room_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_999_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("a file is made"))
    needs = (
        "a test takes a temporary file of 3 GB in {}, where 2 GB are free; make room there, {}, or allow more memory"
    )
    for folder, advice in ((tmp_path, "write to another disk"), (None, r"name another folder .* \(TMPDIR\)")):
        pattern = needs.format(folder or tempfile.gettempdir(), advice)
        with pytest.raises(ImageFileError, match=pattern):
            TemporaryFile(folder, 3_000_000_000, "a test")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"of 6 bytes in .*missing: No such file or directory; make room"):
        TemporaryFile(tmp_path / "missing", 6, "a test")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: PTH123, SIM115
    file = TemporaryFile(tmp_path, 6, "a test")
    with pytest.raises(ImageFileError, match=r"of 6 bytes in .*: No space left on device; make room there"):
        file.append(np.zeros(6, np.uint8))
    file.close()


def test_a_file_that_cannot_be_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name = ""

        def seek(self, *_: int) -> None:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Broken())
    file = TemporaryFile(tmp_path, 6, "a test")
    with pytest.raises(ImageFileError, match=r"a test takes a temporary file of .*: Input/output error"):
        file.read(0, np.empty(6, np.uint8))
