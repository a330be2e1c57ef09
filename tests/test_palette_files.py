"""Palettes in files: there and back, and one line about what is wrong."""

import os
from pathlib import Path

import numpy as np
import pytest

from gpuquant.errors import ImageFileError
from gpuquant.palette import Palette
from gpuquant.palette_files import read_palette, write_palette


@pytest.mark.parametrize("n_columns", [3, 4])
@pytest.mark.parametrize("n_colors", [1, 16, 300])
def test_there_and_back(n_colors: int, n_columns: int, tmp_path: Path) -> None:
    rows = np.random.RandomState(n_colors).randint(0, 256, (n_colors, n_columns)).astype(np.uint8)
    palette = Palette(rows[:, :3], rows[:, 3] if n_columns == 4 else None)
    write_palette(palette, tmp_path / "p.hex")
    found = read_palette(tmp_path / "p.hex")
    np.testing.assert_array_equal(found.rows, rows)


def test_a_file_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "p.hex").write_bytes(b"\xef\xbb\xbf; a comment\r\n\r\n// another\r\n FF8000 \r\n#00ff0080\r\n")
    assert read_palette(tmp_path / "p.hex").hex == ("#ff8000ff", "#00ff0080")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds 0 colors"),
        (b"#ff8000\n#ff80\n", "line 2: '#ff80' is not a color"),
        (b"\x00\xff" * 50, "line 1: "),
        (b"#ff8000\n" * 65_537, "holds 65537 colors"),
        (b"\n" * (1 << 23), "more than 4194304 bytes"),
    ],
)
def test_malformed_files(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.hex").write_bytes(content)
    with pytest.raises(ImageFileError, match=words) as caught:
        read_palette(tmp_path / "p.hex")
    assert "\n" not in str(caught.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.hex").mkdir()
    os.mkfifo(tmp_path / "pipe.hex")
    for name, words in (
        ("none.hex", "no such file"),
        ("pipe.hex", "not a regular file"),
        ("folder.hex", "not a regular file"),
    ):
        with pytest.raises(ImageFileError, match=words):
            read_palette(tmp_path / name)
