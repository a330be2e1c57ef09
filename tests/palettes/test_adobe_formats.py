"""Palettes of Adobe's programs: bytes packed by hand, and another package's reader."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import swatch
from PIL import Image, ImageCms

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.palettes.files import read_palette, write_palette
from gpuquant.palettes.palette import Palette


def block(model: bytes, *numbers: float, name: str = "é") -> bytes:
    title = struct.pack(">H", len(name) + 1) + (name + "\0").encode("utf-16-be")
    body = title + model + struct.pack(f">{len(numbers)}f", *numbers) + b"\0\2"
    return b"\0\1" + struct.pack(">I", len(body)) + body


def ase(*blocks: bytes) -> bytes:
    return b"ASEF" + struct.pack(">HHI", 1, 0, len(blocks)) + b"".join(blocks)


GROUP, END = b"\xc0\1" + struct.pack(">IH4s", 6, 2, b"\0g\0\0"), b"\xc0\2" + bytes(4)
ORANGE = block(b"RGB ", 1.0, 128 / 255, 0.0)


def test_another_reader_finds_the_swatches(tmp_path: Path) -> None:
    rows = np.random.RandomState(0).randint(0, 256, (300, 3)).astype(np.uint8)
    write_palette(Palette(rows), tmp_path / "p.ase")
    found = swatch.parse(str(tmp_path / "p.ase"))
    assert [one["data"]["mode"] for one in found] == ["RGB"] * 300
    np.testing.assert_array_equal(np.round([255 * np.array(one["data"]["values"]) for one in found]), rows)
    assert [one["name"] for one in found] == list(Palette(rows).hex)
    swatch.write([{"name": "g", "type": "Color Group", "swatches": found}, found[7]], str(tmp_path / "q.ase"))
    np.testing.assert_array_equal(read_palette(tmp_path / "q.ase").rows, np.concatenate([rows, rows[7:8]]))


def test_swatches_from_elsewhere(tmp_path: Path) -> None:
    unknown = b"\x12\x34" + struct.pack(">I3s", 3, b"abc")
    swatches = [block(b"Gray", 0.5), block(b"CMYK", 0.0, 0.5, 1.0, 0.2), block(b"RGB ", -0.1, 1.5, 0.2, name="")]
    (tmp_path / "p.ase").write_bytes(ase(ORANGE, GROUP, unknown, *swatches, END, ORANGE) + b"beyond")
    # CMYK: (1 - ink) (1 - black) 255 = 204, 102, 0
    assert read_palette(tmp_path / "p.ase").hex == ("#ff8000", "#808080", "#cc6600", "#00ff33", "#ff8000")


def test_lab_is_that_of_a_color_management_system(tmp_path: Path) -> None:
    levels = [(L, a, b) for L in (20, 55, 80) for a in (-20, 0, 25) for b in (-15, 0, 30)]
    (tmp_path / "p.ase").write_bytes(ase(*(block(b"LAB ", L / 100, a, b) for L, a, b in levels)))
    stored = np.array([[round(L * 2.55), a % 256, b % 256] for L, a, b in levels], np.uint8)
    image = Image.frombytes("LAB", (len(levels), 1), stored.tobytes())
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    intent, exact = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(*profiles, "LAB", "RGB", intent, exact)
    expected = np.asarray(ImageCms.applyTransform(image, transform))[0].astype(int)
    inside = ((expected > 0) & (expected < 255)).all(axis=1)
    assert inside.sum() > 15
    assert np.abs(read_palette(tmp_path / "p.ase").rows.astype(int) - expected)[inside].max() <= 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "byte 0: "),
        (b"ASEF\0\1\0", "byte 0: "),
        (b"ASEG" + ase(ORANGE)[4:], "byte 0: "),
        (ase(ORANGE, ORANGE)[:-50], "byte 12: a block of"),
        (ase(ORANGE, ORANGE)[: 12 + len(ORANGE)], f"byte {12 + len(ORANGE)}: the file ends after 1 of 2 blocks"),
        (ase(block(b"HSB ", 0, 0, 0)), "byte 24: b'HSB ' is not one of the color models"),
        (ase(block(b"RGB ", 1.0)), "byte 24: the swatch ends before its 3 numbers do"),
        (ase(block(b"RGB ", 1.0, float("nan"), 0.0)), "byte 24: "),
        (ase(block(b"LAB ", 1.0, 1e30, 0.0)), "byte 24: "),
        (ase(b"\0\1" + struct.pack(">IH", 2, 0xFFFF)), "byte 131090: b''"),
        (ase(GROUP, END), "holds 0 colors"),
        (b"ASEF" + struct.pack(">HHI", 1, 0, 0xFFFFFFFF), "byte 12: the file ends after 0 of 4294967295"),
    ],
)
def test_malformed_swatches(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.ase").write_bytes(content)
    with pytest.raises(ImageFileError, match=re.escape(words)) as caught:
        read_palette(tmp_path / "p.ase")
    assert "\n" not in str(caught.value)


def test_color_tables(tmp_path: Path) -> None:
    table = bytes(range(256)) * 3
    (tmp_path / "p.act").write_bytes(table)
    np.testing.assert_array_equal(read_palette(tmp_path / "p.act").rows, np.frombuffer(table, np.uint8).reshape(-1, 3))
    (tmp_path / "p.act").write_bytes(table + struct.pack(">HH", 2, 0xFFFF))
    assert read_palette(tmp_path / "p.act").hex == ("#000102", "#030405")
    (tmp_path / "p.act").write_bytes(table + struct.pack(">HH", 3, 1))
    assert read_palette(tmp_path / "p.act").hex == ("#000102ff", "#03040500", "#060708ff")


def test_a_color_table_is_written_with_its_clear_entry(tmp_path: Path) -> None:
    rows = np.array([[1, 2, 3, 255], [4, 5, 6, 0]], np.uint8)
    write_palette(Palette(rows[:, :3], rows[:, 3]), tmp_path / "p.act")
    assert (tmp_path / "p.act").read_bytes() == bytes([1, 2, 3, 4, 5, 6]) + bytes(762) + struct.pack(">HH", 2, 1)
    np.testing.assert_array_equal(read_palette(tmp_path / "p.act").rows, rows)
    with pytest.raises(ArgumentError, match="one clear one"):
        write_palette(Palette(rows[:, :3], np.zeros(2, np.uint8)), tmp_path / "q.act")
    with pytest.raises(ArgumentError, match=r"at most 256 entries, not 257; use \.hex"):
        write_palette(Palette(np.zeros((257, 3), np.uint8)), tmp_path / "q.act")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(767), "byte 767: the file ends here"),
        (bytes(773), "byte 773: "),
        (b"", "byte 0: "),
        (bytes(772), "byte 768: 0 colors"),
        (bytes(768) + struct.pack(">HH", 257, 0), "byte 768: 257 colors"),
    ],
)
def test_malformed_color_tables(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.act").write_bytes(content)
    with pytest.raises(ImageFileError, match=words):
        read_palette(tmp_path / "p.act")
