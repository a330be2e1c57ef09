"""Pixels turned strip by strip are those that Pillow turns at once."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images import turned
from gpuquant.images.turned import TURNS, InFile, InMemory
from gpuquant.images.turning import upright


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("n_rows", [1, 4, 100])
@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_strips_are_turned(
    orientation: int, n_rows: int, channels: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turned, "PART_BYTES", 200)
    stored = np.random.RandomState(0).randint(0, 256, (13, 11, *channels)).astype(np.uint8)
    expected = np.asarray(upright(Image.fromarray(stored), orientation))
    np.testing.assert_array_equal(TURNS[orientation](stored), expected)
    in_file = InFile(expected.shape, orientation, tmp_path)
    for store in (InMemory(expected.shape, orientation), in_file):
        for top in range(0, 13, n_rows):
            store.fill(top, stored[top : top + n_rows])
        for n_read in (1, 3, 50):
            found = list(store.read(n_read))
            np.testing.assert_array_equal(np.concatenate(found), expected)
            assert {len(strip) for strip in found[:-1]} <= {n_read}
    assert list(tmp_path.iterdir()) == []  # the file has no name
    in_file.close()


def test_too_little_room_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2_999_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        ImageFileError, match=r"takes a file of 3 GB in .*, where 3 GB are free; .*TMPDIR.*--memory"
    ) as caught:
        InFile((20_000, 50_000, 3), 6, tmp_path)
    assert str(tmp_path) in str(caught.value)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "missing"))
    monkeypatch.undo()
    with pytest.raises(ImageFileError, match=r"takes a file of 6 bytes in .*missing: No such file"):
        InFile((1, 2, 3), 6, tmp_path / "missing")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_a_disk_that_fills_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))  # noqa: PTH123, SIM115
    store = InFile((100, 100, 3), 6, tmp_path)
    with pytest.raises(ImageFileError, match="No space left on device; make room there"):
        store.fill(0, np.zeros((100, 100, 3), np.uint8))
    store.close()
