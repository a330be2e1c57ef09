"""PNG at its own depth: transparent colors, and metadata that are damaged."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import chunk, png, samples
from PIL import Image

import gpuquant
from gpuquant.errors import ImageFileError
from gpuquant.images import reading as image_reading
from gpuquant.images.png import miniature
from gpuquant.images.reading import photo_of, read_photo, read_size


def clear(*levels: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(levels)}H", *levels))


@pytest.mark.parametrize(
    ("depth", "row", "level", "expected"),  # four pixels, of which the second is clear
    [
        (1, b"\x40", 1, [0, 255, 0, 0]),
        (1, b"\xb0", 0, [255, 0, 255, 255]),
        (2, b"\x1b", 1, [0, 85, 170, 255]),
        (4, b"\x0a\x3f", 10, [0, 170, 51, 255]),
        (8, b"\x01\x02\x03\x04", 2, [1, 2, 3, 4]),
        (16, b"\x01\x00\x01\x80\x01\x81\xff\xff", 0x180, [1, 1, 1, 255]),
    ],
)
def test_one_gray_is_clear_at_every_depth(
    depth: int, row: bytes, level: int, expected: list[int], tmp_path: Path
) -> None:
    for bits_above in (0, 1 << depth if depth < 16 else 0):  # which the specification says to leave out
        (tmp_path / "gray.png").write_bytes(png(depth, 0, 4, [row], clear(level | bits_above)))
        pixels = read_photo(tmp_path / "gray.png").pixels
        assert pixels[0, :, 0].tolist() == expected
        assert pixels[0, :, 3].tolist() == [255, 0, 255, 255]
    if depth < 16:
        (tmp_path / "gray.png").write_bytes(png(depth, 0, 4, [row], clear(level)))
        with Image.open(tmp_path / "gray.png") as image:
            assert photo_of(image).pixels[0, :, 3].tolist() == [255, 0, 255, 255]


def test_one_color_of_8_bits_is_clear(tmp_path: Path) -> None:
    row = bytes([1, 2, 3, 1, 2, 4, 9, 2, 3])
    for high in (0, 0x100):
        (tmp_path / "rgb.png").write_bytes(png(8, 2, 3, [row], clear(1 | high, 2, 4)))
        assert read_photo(tmp_path / "rgb.png").pixels[0, :, 3].tolist() == [255, 0, 255]


def test_one_color_of_16_bits_is_clear_by_all_of_its_bits(tmp_path: Path) -> None:
    colors = [(0x1234, 0x5678, 0x9ABC), (0x1234, 0x5678, 0x9ABD), (0x1235, 0x5678, 0x9ABC), (0x12, 0x56, 0x9A)]
    row = b"".join(struct.pack(">3H", *color) for color in colors)
    for place, color in enumerate(colors):
        (tmp_path / "rgb.png").write_bytes(png(16, 2, 4, [row], clear(*color)))
        pixels = read_photo(tmp_path / "rgb.png").pixels
        assert pixels[0, :, 3].tolist() == [0 if other == place else 255 for other in range(4)]
        assert pixels[0, :, :3].tolist() == [[0x12, 0x56, 0x9A]] * 3 + [[0, 0, 0]]
    with Image.open(tmp_path / "rgb.png") as image:  # of which Pillow keeps one byte
        photo = photo_of(image)
    assert photo.pixels.shape == (1, 4, 3)
    assert "all of them are taken as opaque" in photo.notes[-1]


def test_a_clear_color_is_turned_with_its_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    row = struct.pack(">6H", 1, 1, 1, 2, 2, 2)
    data = png(16, 2, 2, [row], clear(1, 1, 1), chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    (tmp_path / "rgb.png").write_bytes(data)
    assert read_photo(tmp_path / "rgb.png").pixels[0, :, 3].tolist() == [255, 0]


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_entries_of_a_palette_are_clear(depth: int, tmp_path: Path) -> None:
    row = {1: b"\x40", 2: b"\x10", 4: b"\x01\x00", 8: b"\x00\x01\x00\x00"}[depth]
    palette = chunk(b"PLTE", bytes([9, 9, 9, 7, 7, 7]))
    for alpha, expected in ((b"\xff\x00", [255, 0, 255, 255]), (b"\x80", [128, 255, 128, 128])):
        (tmp_path / "p.png").write_bytes(png(depth, 3, 4, [row], palette, chunk(b"tRNS", alpha)))
        assert read_photo(tmp_path / "p.png").pixels[0, :, 3].tolist() == expected


def test_transparency_reaches_the_result(tmp_path: Path) -> None:
    (tmp_path / "gray.png").write_bytes(png(2, 0, 4, [b"\x1b"], clear(1)))
    result = gpuquant.quantize(tmp_path / "gray.png", 4)
    assert sorted(result.palette.hex) == ["#00000000", "#000000ff", "#aaaaaaff", "#ffffffff"]


PIXELS = [bytes([1, 2, 3, 4, 5, 6])]
WRONG_SUM = chunk(b"tEXt", b"Title\0words")[:-1] + b"?"
DAMAGED = {
    "pHYs": chunk(b"pHYs", b"12"),
    "tEXt": WRONG_SUM,
    "zTXt": chunk(b"zTXt", b"Title\0\x07nothing"),
    "iTXt": chunk(b"iTXt", b"Title\0\1\0\0\0" + zlib.compress(bytes(3_000_000))),
    "iCCP": chunk(b"iCCP", b"name\0\x05nothing"),
    "gAMA": chunk(b"gAMA", b"12"),
    "cHRM": chunk(b"cHRM", b"12"),
    "sRGB": chunk(b"sRGB", b""),
    "acTL": chunk(b"acTL", b"12"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_metadata_never_cost_the_picture(name: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    turn = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    note = (f"its metadata cannot be read, and are left out: {name}",)
    before, after = png(8, 2, 2, PIXELS, DAMAGED[name], turn), png(8, 2, 2, PIXELS, turn, after=DAMAGED[name])
    for data, notes in ((before, [note]), (after, [note, ()])):  # after the pixels Pillow itself passes over some
        (tmp_path / "a.png").write_bytes(data)
        photo = read_photo(tmp_path / "a.png")
        assert photo.pixels.tolist() == [[[4, 5, 6], [1, 2, 3]]]
        assert photo.notes in notes
        assert read_size(tmp_path / "a.png") == (2, 1)


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_metadata_never_hide_the_limit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(png(8, 2, 2, PIXELS, DAMAGED[name]))
    monkeypatch.setattr(image_reading, "without_metadata", lambda *_: pytest.fail("copied"))
    for read in (read_photo, read_size):
        with pytest.raises(ImageFileError, match=r"more than the limit of.*raise it with max_pixels"):
            read(tmp_path / "a.png", max_pixels=1)


def test_the_true_reason_is_told_where_metadata_are_damaged_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png(8, 2, 2, PIXELS, WRONG_SUM))

    def work(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(image_reading, "_photo_of", work)
    with pytest.raises(ImageFileError, match=r"a\.png does not fit into memory"):
        read_photo(tmp_path / "a.png")


def test_nothing_is_copied_without_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a PNG whose metadata are whole, nor of a file that is larger than a copy may be."""
    data = bytearray(png(8, 2, 2, PIXELS, chunk(b"tEXt", b"Title\0words")))
    data[20] ^= 1  # the checksum of the header fails
    (tmp_path / "whole.png").write_bytes(data)
    (tmp_path / "large.png").write_bytes(png(8, 2, 2, PIXELS, WRONG_SUM))
    monkeypatch.setattr(image_reading, "without_metadata", lambda *_: pytest.fail("copied"))
    for name in ("whole.png", "large.png"):
        monkeypatch.setattr(image_reading, "MOST_COPIED", 10 if name == "large.png" else 1 << 30)
        with pytest.raises(ImageFileError, match="begins as a PNG file, but is damaged"):
            read_photo(tmp_path / name)


def test_damaged_pixels_cost_the_picture(tmp_path: Path) -> None:
    """Beside metadata that can be left out."""
    data = bytearray(png(8, 2, 2, PIXELS, DAMAGED["pHYs"]))
    data[data.index(b"IDAT") + 8] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageFileError):
        read_photo(tmp_path / "a.png")
    damaged = clear(1, 2, 3)[:-1] + b"?"  # transparency is part of the picture
    (tmp_path / "a.png").write_bytes(png(8, 2, 2, PIXELS, damaged, DAMAGED["pHYs"]))
    with pytest.raises(ImageFileError, match="begins as a PNG file, but is damaged"):
        read_photo(tmp_path / "a.png")


def test_interlaced_colors_of_16_bits(tmp_path: Path) -> None:
    """One pixel is one pass of Adam7."""
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 1)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">3H", 1, 2, 0x103)))
    for low, alpha in ((3, [0]), (4, [])):
        parts = chunk(b"IHDR", header), clear(1, 2, 0x100 + low), pixels, chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
        found = read_photo(tmp_path / "a.png").pixels
        assert np.array(found)[0, 0, 3:].tolist() == alpha


def test_a_miniature_says_all_but_the_pixels() -> None:
    before, after = chunk(b"gAMA", samples([45455], "I", ">")), chunk(b"tEXt", b"a\0b")
    small = miniature(io.BytesIO(png(8, 2, 3, [bytes(9)] * 5, before, after=after)))
    assert small is not None
    assert small.read() == png(8, 2, 1, [bytes(8)], before, after=after)
    assert miniature(io.BytesIO(png(8, 2, 1, [bytes(3)], chunk(b"acTL", bytes(8))))) is None
    assert miniature(io.BytesIO(b"no PNG")) is None
