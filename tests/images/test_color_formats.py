"""Color spaces in the headers of AVIF, JPEG 2000 and BMP: followed, or told by name."""

import struct
from pathlib import Path

import pytest
from image_files import AVIF, swapped_profile
from PIL import Image

from gpuquant.images.conversion import UNUSABLE
from gpuquant.images.reading import read_photo


@pytest.mark.skipif(not AVIF, reason="this Pillow reads no AVIF")
def test_color_box_of_avif(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    Image.new("RGB", (16, 16), (128, 64, 191)).save(path, quality=100, subsampling="4:4:4")
    data = path.read_bytes()
    place = data.index(b"colrnclx") + 8
    assert read_photo(path).notes == ()
    plain = read_photo(path).in_srgb()[8, 8].astype(int)
    path.write_bytes(data[:place] + struct.pack(">HH", 12, 13) + data[place + 4 :])  # Display P3
    found = read_photo(path)
    assert found.icc_profile is not None
    assert found.in_srgb()[8, 8, 0] > plain[0] + 4  # 135 by CSS Color 4
    path.write_bytes(data[:place] + struct.pack(">HH", 9, 16) + data[place + 4 :])
    assert read_photo(path).notes == (
        "the file's nclx color box (9, 16) cannot be followed; colors are taken for sRGB",
    )


@pytest.mark.skipif(not AVIF, reason="this Pillow reads no AVIF")
def test_color_boxes_of_avif_that_differ_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    Image.new("RGB", (16, 16), (128, 64, 191)).save(path)
    data = path.read_bytes()
    boxes = [struct.pack(">I4s4sHHHB", 19, b"colr", b"nclx", *codes, 1, 128) for codes in ((1, 13), (12, 13), (9, 13))]
    place = data.index(b"colrnclx") + 8
    plain = data[:place] + struct.pack(">HH", 1, 13) + data[place + 4 :]
    for extra, note in (
        (boxes[:1], ()),
        (boxes[1:], ("the file's nclx color boxes, of which there are several, cannot be followed; colors",)),
        (boxes[:2], ("the file's nclx color boxes, of which there are several, cannot be followed; colors",)),
    ):
        path.write_bytes(plain + struct.pack(">I4s", 8 + 19 * len(extra), b"free") + b"".join(extra))
        photo = read_photo(path)
        assert photo.to_srgb is None
        assert [found.partition(" are taken")[0] for found in photo.notes] == list(note)


@pytest.mark.parametrize(("number", "note"), [(16, ""), (18, ""), (20, "the file's color space (20)"), (21, "(21)")])
def test_color_spaces_of_jpeg_2000(number: int, note: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 100)).save(tmp_path / "a.jp2")
    data = (tmp_path / "a.jp2").read_bytes()
    place = data.index(b"colr")
    (tmp_path / "b.jp2").write_bytes(data[: place + 7] + struct.pack(">I", number) + data[place + 11 :])
    photo = read_photo(tmp_path / "b.jp2")
    assert photo.to_srgb is None
    assert len(photo.notes) == bool(note)
    assert note in "".join(photo.notes)


def test_the_profile_of_a_jpeg_2000(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 100)).save(tmp_path / "a.jp2")
    data = (tmp_path / "a.jp2").read_bytes()
    place, header = data.index(b"colr") - 4, data.index(b"jp2h") - 4
    for profile, is_used in ((swapped_profile().tobytes(), True), (b"nothing", False)):
        box = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
        size = int.from_bytes(data[header : header + 4]) + len(box) - 15
        whole = data[:header] + struct.pack(">I", size) + data[header + 4 : place] + box + data[place + 15 :]
        (tmp_path / "b.jp2").write_bytes(whole)
        photo = read_photo(tmp_path / "b.jp2")
        assert photo.icc_profile == (profile if is_used else None)
        assert photo.notes == (() if is_used else (UNUSABLE,))


def bitmap(kind: bytes, *, gamma: int = 0, version: int = 5, profile: bytes = b"") -> bytes:
    """A BMP of one pixel, by BITMAPV5HEADER; the profile follows the pixel."""
    size = 124 if version == 5 else 108
    header = struct.pack("<IiiHHIIiiII", size, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0) + bytes(16) + kind[::-1].ljust(4, b"\0")
    header += bytes(36) + struct.pack("<3I", gamma, gamma, gamma)
    header += struct.pack("<4I", 4, size + 4, len(profile), 0) if version == 5 else b""
    data = header + bytes([3, 2, 1, 0]) + profile
    return struct.pack("<2sIHHI", b"BM", 14 + len(data), 0, 0, 14 + size) + data.ljust(124, b"\0")


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize(
    ("kind", "gamma", "name"),
    [
        (b"sRGB", 0, ""),
        (b"Win ", 1 << 16, ""),
        (b"", 0, ""),
        (b"", 1 << 16, "gamma and endpoints"),
        (b"LINK", 0, "linked profile"),
    ],
)
def test_color_spaces_of_bmp(kind: bytes, gamma: int, name: str, version: int, tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(bitmap(kind, gamma=gamma, version=version))
    photo = read_photo(tmp_path / "a.bmp")
    assert photo.pixels.tolist() == [[[1, 2, 3]]]
    assert photo.notes == ((f"the file's {name} cannot be followed; colors are taken for sRGB",) if name else ())


def test_the_profile_of_a_bmp(tmp_path: Path) -> None:
    profile = swapped_profile().tobytes()
    (tmp_path / "a.bmp").write_bytes(bitmap(b"MBED", profile=profile))
    assert read_photo(tmp_path / "a.bmp").icc_profile == profile
    (tmp_path / "a.bmp").write_bytes(bitmap(b"MBED", profile=b"nothing"))
    assert read_photo(tmp_path / "a.bmp").notes == (UNUSABLE,)
