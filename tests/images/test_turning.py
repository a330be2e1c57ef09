"""Metadata that are garbage: the photo is read, upright where that can be known, and a note says what is lost."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import Pixels
from image_files import AVIF, chunk, png, tiff
from PIL import Image

from gpuquant.errors import ImageFileError
from gpuquant.images.reading import photo_of, read_photo, read_size
from gpuquant.images.turning import UNREADABLE, upright

GARBAGE = {
    "letters": b"Exif\0\0garbage and nothing else",
    "empty": b"Exif\0\0",
    "no directory": b"Exif\0\0II*\0\x08\0\0\0",
    "far away": b"Exif\0\0MM\0*\xff\xff\xff\xff",
    "many tags": b"Exif\0\0II*\0\x08\0\0\0\xff\xff\1\2",
    "unknown version": b"Exif\0\0II\x63\0\x08\0\0\0",
}
PAST_THE_END = struct.pack(">HHII", 0x010F, 2, 10, 0xFFFF)  # a tag at which Pillow stops
TURNED_BEHIND = b"MM\0*\0\0\0\x08\0\x02" + PAST_THE_END + struct.pack(">HHIHHI", 0x0112, 3, 1, 3, 0, 0)
TURNED = b"MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIHH", 0x0112, 3, 1, 3, 0)  # of two tags one is there


def with_exif(image: Image.Image, suffix: str, block: bytes) -> bytes:
    """A file with an EXIF block, as its bytes are."""
    file = io.BytesIO()
    form = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[suffix]
    if form == "PNG":  # Pillow writes what it likes
        rows = [row.tobytes() for row in np.asarray(image)]
        return png(8, 2, image.width, rows, chunk(b"eXIf", block.removeprefix(b"Exif\0\0")))
    options = {"lossless": True} if form == "WEBP" else {"quality": 95}
    image.save(file, form, exif=block, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_for_exif_is_a_note(kind: str, suffix: str, china: Pixels, tmp_path: Path) -> None:
    path, image = tmp_path / f"photo{suffix}", Image.fromarray(china)
    path.write_bytes(with_exif(image, suffix, GARBAGE[kind]))
    photo = read_photo(path)
    assert photo.pixels.shape == china.shape
    assert np.abs(photo.pixels.astype(int) - china).mean() < 4
    assert photo.notes == (() if kind == "empty" else (UNREADABLE,))
    assert read_size(path) == image.size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the opening that is not ours
        opened = Image.open(path)
    with opened:
        assert photo_of(opened).notes == photo.notes


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_orientation_is_kept_where_it_can_be_read(suffix: str, china: Pixels, tmp_path: Path) -> None:
    path = tmp_path / f"photo{suffix}"
    for block in (b"Exif\0\0" + TURNED, b"Exif\0\0" + TURNED_BEHIND, b"Exif\0\0" + TURNED + b"\xff" * 30):
        path.write_bytes(with_exif(Image.fromarray(china), suffix, block))
        photo = read_photo(path)
        assert np.abs(photo.pixels.astype(int) - china[::-1, ::-1]).mean() < 4
        assert photo.notes == ()


def test_orientation_of_xmp_is_kept_beside_garbage(tmp_path: Path) -> None:
    xmp = chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="3">')
    for exif in (b"", chunk(b"eXIf", b"garbage")):
        (tmp_path / "a.png").write_bytes(png(8, 0, 2, [b"\x01\x02"], exif, xmp))
        photo = read_photo(tmp_path / "a.png")
        assert (photo.pixels.tolist(), photo.notes) == ([[2, 1]], ())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_as_exif_says(orientation: int, tmp_path: Path) -> None:
    """The sides of row 0 and column 0 of the file in the upright photo are those of EXIF 2.32, tag Orientation."""
    row_0, column_0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, orientation, 0, 0)
    (tmp_path / "a.png").write_bytes(png(8, 0, 3, [b"\x05\x01\x02", b"\x03\x04\x06"], chunk(b"eXIf", exif)))
    found = read_photo(tmp_path / "a.png").pixels
    edges = {"top": found[0], "bottom": found[-1], "left": found[:, 0], "right": found[:, -1]}
    assert sorted(edges[row_0].tolist()) == [1, 2, 5]
    assert sorted(edges[column_0].tolist()) == [3, 5]


@pytest.mark.parametrize(
    "tags",
    [
        {34665: (4, (0xFFFFFFF0,))},  # EXIF
        {34853: (4, (3,))},
        {330: (4, (1, 2, 3, 0xFFFFFFFF))},
        {700: (1, tuple(b"<garbage"))},  # XMP
        {282: (5, (0, 0)), 283: (5, (1, 0))},
        {34675: (1, tuple(b"no profile at all, but long"))},
        {274: (3, (99,))},
        {305: (3, (1, 2, 3))},
        {33723: (4, (1, 2, 3))},
        {296: (3, (77,)), 282: (5, (300, 1)), 283: (5, (300, 1))},
        {34377: (1, tuple(b"8BIM garbage"))},
        {700: (4, (1, 2, 3))},
        {700: (3, (7,))},
        {34675: (4, (1, 2, 3))},
        {34675: (3, (7,))},
    ],
)
def test_garbage_in_the_tags_of_a_tiff(tags: dict[int, tuple[int, tuple[int, ...]]], tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(bytes([1, 2, 3, 4, 5, 6]), 2, 1, tags, bits=(8, 8, 8), photometric=2))
    photo = read_photo(tmp_path / "a.tif")
    assert photo.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]
    assert all("\n" not in note and "Pillow" not in note for note in photo.notes)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_garbage_for_xmp_and_profile(suffix: str, china: Pixels, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(china).save(path, xmp=b"\xff\0garbage" * 9, icc_profile=b"garbage" * 30)
    photo = read_photo(path)
    assert photo.pixels.shape == china.shape
    assert photo.notes == ("the embedded color profile cannot be used; colors are taken for sRGB",)


@pytest.mark.skipif(not AVIF, reason="this Pillow reads no AVIF")
def test_garbage_for_exif_in_avif(tmp_path: Path) -> None:
    """Pillow refuses to open it; the orientation stands outside of the EXIF block, too."""
    path, exif = tmp_path / "a.avif", Image.Exif()
    exif[0x010E], exif[0x0112] = "words", 6
    Image.new("RGB", (20, 16), (200, 10, 10)).save(path, exif=exif)
    data = path.read_bytes()
    start = max(data.find(b"II*\0"), data.find(b"MM\0*"))
    path.write_bytes(data[:start] + b"zzzz" + data[start + 4 :])
    photo = read_photo(path)
    assert photo.pixels.shape == (20, 16, 3)
    assert photo.notes == ("the EXIF block cannot be read, and is left out",)
    assert read_size(path) == (20, 16)


@pytest.mark.parametrize(
    ("marker", "name", "needed"), [(0xE0, b"JFIF\0", 14), (0xE2, b"ICC_PROFILE\0", 14), (0xEE, b"Adobe", 12)]
)
def test_segments_of_a_jpeg_that_are_too_short(marker: int, name: bytes, needed: int, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 200, 30)).save(file, "JPEG")
    data = file.getvalue()
    for n_more in range(needed - len(name)):
        segment = struct.pack(">BBH", 0xFF, marker, 2 + len(name) + n_more) + name + b"\1" * n_more
        (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
        photo = read_photo(tmp_path / "a.jpg")
        assert np.abs(photo.pixels[8, 8].astype(int) - (9, 200, 30)).max() <= 3
        assert len(photo.notes) <= 1
        assert read_size(tmp_path / "a.jpg") == (16, 16)
    (tmp_path / "a.jpg").write_bytes(data[:2] + struct.pack(">BBH4s", 0xFF, 0xE0, 6, b"JFIF") + data[2:300])
    with pytest.raises(ImageFileError):
        read_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_tiffs_that_pillow_would_map_are_turned(orientation: int, mode: str, tmp_path: Path) -> None:
    """Without compression, and given as a path: Pillow would map one that lies on its side with a wrong width."""
    pixels = np.random.RandomState(0).randint(0, 256, (5, 9, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    exif[0x112] = orientation
    image.save(tmp_path / "photo.tif", exif=exif)
    expected = upright(image, orientation)
    np.testing.assert_array_equal(
        read_photo(tmp_path / "photo.tif").pixels, np.asarray(expected.convert("L" if mode == "L" else "RGB"))
    )
