"""Palettes as pictures: PNGs put together by hand and by Pillow."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from gpuquant import quantize
from gpuquant.errors import ImageFileError
from gpuquant.palettes import png_format
from gpuquant.palettes.files import read_palette, write_palette
from gpuquant.palettes.palette import Palette


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, kind: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))


def ending(pixels: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def hex_of(path: Path, content: bytes) -> tuple[str, ...]:
    path.write_bytes(content)
    return read_palette(path).hex


def test_an_indexed_png_gives_its_entries_in_their_order(tmp_path: Path) -> None:
    path, table = tmp_path / "p.png", chunk(b"PLTE", bytes([9, 8, 7, 255, 128, 0, 9, 8, 7]))
    pixels = ending(b"\0\1")  # one pixel, of the second entry
    assert hex_of(path, header(1, 1, 3) + table + pixels) == ("#090807", "#ff8000", "#090807")
    clear = chunk(b"tRNS", bytes([255, 0]))
    assert hex_of(path, header(1, 1, 3) + table + clear + pixels) == ("#090807ff", "#ff800000", "#090807ff")


def test_a_quantized_photo_is_a_palette(china: Pixels, tmp_path: Path) -> None:
    result = quantize(china, 11)
    result.save(tmp_path / "photo.png")
    assert read_palette(tmp_path / "photo.png").hex == result.palette.hex


def test_the_profile_of_an_indexed_png_is_applied(tmp_path: Path) -> None:
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = swapped.replace(b"rXYZ", b"tXYZ").replace(b"bXYZ", b"rXYZ").replace(b"tXYZ", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
    image = Image.fromarray(np.zeros((1, 1), np.uint8))
    image.putpalette([200, 30, 60])
    image.save(tmp_path / "p.png", icc_profile=swapped)
    levels = read_palette(tmp_path / "p.png").rows[0].astype(int)
    assert np.abs(levels - [60, 30, 200]).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "I;16"])
def test_distinct_colors_in_reading_order(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 3), (255, 255, 255))
    image.putpixel((2, 1), (0, 0, 0))
    expected = ["#ffffff", "#000000"]
    if mode == "RGBA":
        image = image.convert("RGBA")
        image.putpixel((3, 0), (1, 2, 3, 0))
        expected = ["#ffffffff", "#01020300", "#000000ff"]
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "p.png")
    assert list(read_palette(tmp_path / "p.png").hex) == expected


def test_strips_together_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_format, "STRIP_PIXELS", 7)
    pixels = np.random.RandomState(0).randint(0, 3, (20, 20, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    expected = dict.fromkeys("#" + bytes(row).hex() for row in pixels.reshape(-1, 3))
    assert read_palette(tmp_path / "p.png").hex == tuple(expected)


@pytest.mark.parametrize(
    ("n_entries", "side", "columns", "rows"),
    [
        (1, 128, 1, 1),
        (8, 128, 8, 1),
        (9, 128, 5, 2),
        (16, 128, 8, 2),
        (17, 64, 9, 2),
        (256, 64, 16, 16),
        (257, 60, 17, 16),
        (65_536, 4, 256, 256),
    ],
)
def test_swatches_are_large_enough_to_look_at(
    n_entries: int, side: int, columns: int, rows: int, tmp_path: Path
) -> None:
    levels = np.arange(n_entries)
    entries = np.stack([levels % 256, levels // 256, levels * 0 + 9], axis=1).astype(np.uint8)
    write_palette(Palette(entries), tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert (image.size, image.mode) == ((columns * side, rows * side), "P" if n_entries <= 256 else "RGB")
        pixels = np.asarray(image.convert("RGB")).reshape(rows, side, columns, side, 3)
    shown = pixels[:, 0, :, 0].reshape(-1, 3)
    np.testing.assert_array_equal(pixels, shown.reshape(rows, 1, columns, 1, 3).repeat(side, 1).repeat(side, 3))
    np.testing.assert_array_equal(shown[:n_entries], entries)
    np.testing.assert_array_equal(read_palette(tmp_path / "p.png").rows, entries)
    assert (tmp_path / "p.png").stat().st_size < 6000 + 5 * n_entries


def test_swatches_that_earlier_versions_wrote_are_read(tmp_path: Path) -> None:
    rows = np.repeat(np.arange(200, dtype=np.uint8), 2)[:, None].repeat(3, axis=1)
    places = np.arange(512).clip(max=399).reshape(2, 256).repeat(4, axis=0).repeat(4, axis=1)
    note = PngInfo()
    note.add_text("gpuquant palette", "400 entries in 256 columns of 4 pixels")
    Image.fromarray(rows[places]).save(tmp_path / "p.png", pnginfo=note)
    np.testing.assert_array_equal(read_palette(tmp_path / "p.png").rows, rows)


def test_swatches_that_were_scaled_are_a_picture(tmp_path: Path) -> None:
    rows = np.repeat(np.arange(200, dtype=np.uint8), 2)[:, None].repeat(3, axis=1)  # 400 entries, 200 colors
    write_palette(Palette(rows), tmp_path / "p.png")
    assert read_palette(tmp_path / "p.png").hex == Palette(rows).hex
    with Image.open(tmp_path / "p.png") as image:
        note = image.text["gpuquant palette"]  # type: ignore[attr-defined]
        assert note == "400 entries in 20 columns of 51 pixels"
        np.testing.assert_array_equal(np.asarray(image)[51 * 3 + 50, 51 * 7], rows[3 * 20 + 7])
        larger = image.resize((2040, 2040), Image.Resampling.NEAREST)
    kept = PngInfo()
    kept.add_text("gpuquant palette", note)
    larger.save(tmp_path / "q.png", pnginfo=kept)
    assert len(read_palette(tmp_path / "q.png")) == 200


def large() -> bytes:
    file = io.BytesIO()
    pixels = np.arange(70_000, dtype=np.uint32).view(np.uint8).reshape(100, 700, 4)
    Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "byte 0: not a PNG"),
        (b"GIF89a" * 9, "byte 0: not a PNG"),
        (header(1, 1, 3), "byte 33: the file ends before its pixels"),
        (header(1, 1, 3) + ending(b"\0\0"), "byte 33: an indexed PNG with a palette of 0 bytes"),
        (header(1, 1, 3) + chunk(b"PLTE", bytes(5)) + ending(b"\0\0"), "palette of 5 bytes"),
        (header(1, 1, 3) + chunk(b"PLTE", bytes(6))[:-1], "byte 33: the chunk PLTE is damaged"),
        (header(1, 1, 3) + chunk(b"PLTE", bytes(6))[:-4] + b"abcd" + ending(b"\0\0"), "byte 33: the chunk PLTE"),
        (header(1, 1, 3) + chunk(b"PLTE", bytes(6)) + chunk(b"iCCP", b"a\0\0bad") + ending(b"\0\0"), "profile"),
        (header(60_000, 60_000, 2) + ending(b""), "byte 16: 60000 x 60000 pixels"),
        (header(2, 2, 2) + ending(b"\0"), "p.png"),
        (large(), "p.png has more than 65536 colors"),
    ],
)
def test_malformed_pictures(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=words) as caught:
        hex_of(tmp_path / "p.png", content)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(str(tmp_path)) == 1
