"""Pixels turned strip by strip are those that Pillow turns at once."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def test_what_a_file_takes_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(turned, "TemporaryFile", lambda *given: asked.append(given))
    InFile((20_000, 50_000, 3), 6, tmp_path)
    assert asked == [(tmp_path, 3_000_000_000, "turning the photo upright")]
