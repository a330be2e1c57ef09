"""Samples of any depth in 8 bits: what the tags or the header say of black and white, worked by hand."""

import struct
from pathlib import Path

import numpy as np
import pytest
from image_files import samples, tiff
from PIL import Image

import gpuquant
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images.reading import photo_of, read_photo

ADVICE = r"Image\.fromarray\(\(255 \* \(a - low\) / \(high - low\)\)\.round\(\)\.astype\(\"uint8\"\)\)"


SIXTEEN = [0, 20_000, 40_000, 65_535]  # 0, 77.8, 155.6 and 255 parts of 255


@pytest.mark.parametrize(("photometric", "expected"), [(1, [0, 78, 156, 255]), (0, [255, 177, 99, 0])])
def test_tiff_of_16_bits_says_which_end_is_white(photometric: int, expected: list[int], tmp_path: Path) -> None:
    (tmp_path / "gray.tif").write_bytes(tiff(samples(SIXTEEN), 4, 1, photometric=photometric))
    photo = read_photo(tmp_path / "gray.tif")
    assert photo.pixels.tolist() == [expected]
    assert photo.notes == ("16 bits a channel are reduced to 8",)
    with Image.open(tmp_path / "gray.tif") as image:
        assert photo_of(image).pixels.tolist() == [expected]


def test_tiff_without_photometric_interpretation_is_white_at_zero(tmp_path: Path) -> None:
    """Pillow takes 8 bits so, too."""
    for bits, data in (((8,), bytes([0, 100])), ((16,), samples([0, 100 * 257]))):
        (tmp_path / "gray.tif").write_bytes(tiff(data, 2, 1, bits=bits, photometric=None))
        assert read_photo(tmp_path / "gray.tif").pixels.tolist() == [[255, 155]]


def test_compressed_tiff_of_16_bits_says_which_end_is_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([SIXTEEN], np.uint16))
    image.save(tmp_path / "gray.tif", compression="tiff_lzw", tiffinfo={262: 0})
    with Image.open(tmp_path / "gray.tif") as opened:
        assert opened.tag_v2[262] == 0  # type: ignore[attr-defined]
    assert read_photo(tmp_path / "gray.tif").pixels.tolist() == [[255, 177, 99, 0]]


def test_big_endian_tiff_of_16_bits(tmp_path: Path) -> None:
    (tmp_path / "gray.tif").write_bytes(tiff(samples(SIXTEEN, order=">"), 4, 1, order=">"))
    assert read_photo(tmp_path / "gray.tif").pixels.tolist() == [[0, 78, 156, 255]]


def test_tiff_of_12_bits(tmp_path: Path) -> None:
    """Two samples in three bytes: 0x000 0x800 and 0xfff 0x123."""
    (tmp_path / "gray.tif").write_bytes(tiff(b"\x00\x08\x00\xff\xf1\x23", 4, 1, bits=(12,)))
    photo = read_photo(tmp_path / "gray.tif")
    assert photo.pixels.tolist() == [[0, 128, 255, 18]]  # 2048 * 255 / 4095 = 127.53, 291 * 255 / 4095 = 18.12
    assert photo.notes == ("12 bits a channel are reduced to 8",)


def test_tiff_of_32_bits_without_a_sign(tmp_path: Path) -> None:
    values = [0, 1 << 31, (1 << 32) - 1, 1_000_000_000]  # 0, 127.5, 255 and 59.4
    (tmp_path / "gray.tif").write_bytes(tiff(samples(values, "I"), 4, 1, bits=(32,)))
    photo = read_photo(tmp_path / "gray.tif")
    assert photo.pixels.tolist() == [[0, 128, 255, 59]]
    assert photo.notes == ("32 bits a channel are reduced to 8",)


@pytest.mark.parametrize(
    ("data", "bits", "sample_format", "kind"),
    [
        (samples([-5, 5], "h"), 16, 2, r"mode I \(signed whole numbers of 16 bits"),
        (samples([-5, 5], "i"), 32, 2, r"mode I \(signed whole numbers of 32 bits"),
        (samples([-5, 5], "b"), 8, 2, "signed whole numbers of 8 bits"),
        (struct.pack("<2f", 0, 1), 32, 3, r"mode F \(floats"),
    ],
)
def test_tiff_of_no_known_range_is_refused(
    data: bytes, bits: int, sample_format: int, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "gray.tif").write_bytes(tiff(data, 2, 1, bits=(bits,), sample_format=sample_format))
    with pytest.raises(ImageFileError, match=f"{kind}.*{ADVICE}"):
        read_photo(tmp_path / "gray.tif")


@pytest.mark.parametrize(
    ("data", "bits", "sample_format"),
    [
        (samples([-128, -2, 0, 2], "b"), 8, 2),
        (samples([-30_000, 0, 1, 30_000], "h"), 16, 2),
        (samples([-2_000_000_000, 0, 1_000_000_000, 2_000_000_000], "i"), 32, 2),
        (struct.pack("<4f", -0.5, 0, 1, 7.25), 32, 3),
    ],
)
def test_the_advice_gives_the_right_levels(data: bytes, bits: int, sample_format: int, tmp_path: Path) -> None:
    path = tmp_path / "gray.tif"
    path.write_bytes(tiff(data, 4, 1, bits=(bits,), sample_format=sample_format))
    with pytest.raises(ImageFileError) as caught:
        read_photo(path)
    formula, _, levels = str(caught.value).partition("of yours: ")[2].partition(", where a is ")
    kind = {(8, 2): "<i1", (16, 2): "<i2", (32, 2): "<i4", (32, 3): "<f4"}[bits, sample_format]
    expected = np.frombuffer(data, kind).astype(float)
    with Image.open(path) as image:
        names = {"np": np, "image": image, "Image": Image, "low": expected.min(), "high": expected.max()}
        scaled = np.asarray(eval(formula, names | {"a": eval(levels, names)}))
    np.testing.assert_array_equal(scaled[0], ((expected - expected.min()) / np.ptp(expected) * 255).round())


def test_other_files_of_no_known_range_are_refused(tmp_path: Path) -> None:
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 2", "NAXIS2  = 1", "END"]
    fits = "".join(card.ljust(80) for card in cards).ljust(2880).encode() + samples([1, 500], "h", ">").ljust(2880)
    for name, data in (("a.fits", fits), ("a.pfm", b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0, 1))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageFileError, match=ADVICE):
            read_photo(tmp_path / name)
    for mode in ("I", "F"):
        with pytest.raises(ArgumentError, match=ADVICE):
            gpuquant.quantize(Image.new(mode, (2, 2)), 2)


def test_the_advice_is_right() -> None:
    a, low, high = np.array([[-1.0, 0.0, 3.0]]), -1.0, 3.0
    image = Image.fromarray((255 * (a - low) / (high - low)).round().astype("uint8"))
    assert photo_of(image).pixels.tolist() == [[0, 64, 255]]


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(
    ("top", "values", "expected"),
    [
        (1023, [0, 1, 2, 3, 514, 1023], [0, 0, 0, 1, 128, 255]),  # 514 * 255 / 1023 = 128.12
        (256, [0, 64, 128, 129, 255, 256], [0, 64, 128, 128, 254, 255]),  # 63.75, 127.5, 128.496, 254.004
        (1000, [100, 300, 500, 900, 999, 1000], [26, 77, 128, 230, 255, 255]),  # ties, of which two are between
        (4095, [0, 9, 8, 24, 25, 4095], [0, 1, 0, 1, 2, 255]),  # 0.56, 0.498, 1.49, 1.557
        (65_535, [0, 128, 129, 385, 386, 65_535], [0, 0, 1, 1, 2, 255]),  # 257 levels are one
    ],
)
def test_portable_maps_are_scaled_by_their_header(
    top: int, values: list[int], expected: list[int], plain: bool, tmp_path: Path
) -> None:
    text = " ".join(map(str, values)).encode()
    (tmp_path / "gray.pgm").write_bytes(
        (b"P2" if plain else b"P5") + b"\n3 2\n%d\n" % top + (text if plain else samples(values, order=">"))
    )
    photo = read_photo(tmp_path / "gray.pgm")
    assert photo.pixels.ravel().tolist() == expected
    assert photo.notes == (f"{top.bit_length()} bits a channel are reduced to 8",)
    colors = (b"P3" if plain else b"P6") + b"\n2 1\n%d\n" % top + (text if plain else samples(values, order=">"))
    (tmp_path / "colors.ppm").write_bytes(colors)
    photo = read_photo(tmp_path / "colors.ppm")
    assert np.abs(photo.pixels.ravel().astype(int) - expected).max() <= (top == 1000)  # Pillow's ties
    assert photo.notes == (f"{top.bit_length()} bits a channel are reduced to 8",)


def test_portable_maps_of_8_bits_are_not_reduced(tmp_path: Path) -> None:
    (tmp_path / "gray.pgm").write_bytes(b"P5\n2 1\n16\n\x00\x10")
    photo = read_photo(tmp_path / "gray.pgm")
    assert (photo.pixels.tolist(), photo.notes) == ([[0, 255]], ())


def test_sixteen_is_not_looked_for_in_numbers(tmp_path: Path) -> None:
    """A row of 1161 bytes, and pixels of 16 bits, have 8 bits a channel."""
    Image.new("RGB", (387, 2)).save(tmp_path / "rows.tif")
    assert read_photo(tmp_path / "rows.tif").notes == ()
    head = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66) + struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    head += struct.pack("<3I", 0xF800, 0x7E0, 0x1F)
    (tmp_path / "pixels.bmp").write_bytes(head + bytes(4))
    assert read_photo(tmp_path / "pixels.bmp").notes == ()


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_color_map_of_8_bits(bits: int, tmp_path: Path) -> None:
    """Many writers make it so: red is entry 1 and a dark blue entry 2, in planes of 2^bits levels."""
    data, n_colors = {1: b"\x40", 4: b"\x01\x20", 8: b"\0\1\2"}[bits], 1 << bits
    planes = np.zeros((3, n_colors), int)
    planes[:, 1] = 255, 128, 7
    if bits > 1:
        planes[:, 2] = 0, 0, 90
    expected = planes.T[[0, 1, 2 if bits > 1 else 0]].tolist()
    for scale, notes in ((257, 0), (1, 1)):
        tags = {320: (3, tuple(int(level) * scale for level in planes.ravel()))}
        (tmp_path / "p.tif").write_bytes(tiff(data, 3, 1, tags, bits=(bits,), photometric=3))
        with Image.open(tmp_path / "p.tif") as image:
            for photo in (photo_of(image), read_photo(tmp_path / "p.tif")):
                assert photo.pixels[0].tolist() == expected
                assert ["color map" in note for note in photo.notes] == [True] * notes
    tags = {320: (3, (0,) * 3 * n_colors)}  # all black, and meant so
    (tmp_path / "p.tif").write_bytes(tiff(data, 3, 1, tags, bits=(bits,), photometric=3))
    assert read_photo(tmp_path / "p.tif").notes == ()


@pytest.mark.parametrize("offset", [1 << 61, (1 << 63) - 1, 1 << 63, 1_000_000])
def test_a_next_directory_beyond_the_file(offset: int, tmp_path: Path) -> None:
    """In a BigTIFF, whose offsets can be beyond what a file system allows."""
    tags = {256: 2, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 2}
    entries = b"".join(struct.pack("<HHQQ", tag, 4, 1, 16 if tag == 273 else value) for tag, value in tags.items())
    head = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 24) + bytes([5, 9]).ljust(8, b"\0")
    (tmp_path / "big.tif").write_bytes(head + struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", offset))
    photo = read_photo(tmp_path / "big.tif")
    assert photo.pixels.tolist() == [[5, 9]]
    assert "the file is damaged: what follows its first picture cannot be read" in photo.notes


@pytest.mark.parametrize("bits", [7, 8])
def test_nothing_of_a_second_frame_reaches_the_first(bits: int, tmp_path: Path) -> None:
    """Neither its size, where its depth is one that Pillow refuses, nor its profile."""
    first = bytearray(tiff(bytes([5, 9]), 2, 1, bits=(8,)))
    link = 10 + 2 + 12 * int.from_bytes(first[10:12], "little")
    first[link : link + 4] = len(first).to_bytes(4, "little")
    second = tiff(b"", 5, 5, {34675: (1, (1, 2, 3, 4))}, bits=(bits,))[8:]
    (tmp_path / "a.tif").write_bytes(first + second)
    damaged = "the file is damaged: what follows its first picture cannot be read"
    with Image.open(tmp_path / "a.tif") as image:
        for photo in (photo_of(image), read_photo(tmp_path / "a.tif")):
            assert photo.pixels.tolist() == [[5, 9]]
            assert photo.notes == ((damaged,) if bits == 7 else ("only the first of 2 frames is used",))
