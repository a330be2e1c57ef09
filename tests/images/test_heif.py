"""HEIC, the format of iPhones, and AVIF: what is read, and what to install where that cannot be."""

import io
from contextlib import suppress
from typing import Any

import numpy as np
import PIL
import pillow_heif
import pytest
from PIL import Image, ImageCms, features

import gpuquant
from gpuquant.errors import ImageFileError
from gpuquant.images import heif as image_heif
from gpuquant.images.profiles import coded_space, icc_profile
from gpuquant.images.reading import read_photo

BLOCKS = np.random.RandomState(0).randint(0, 256, (6, 9, 3)).astype(np.uint8)
PIXELS = BLOCKS.repeat(16, axis=0).repeat(16, axis=1)


@pytest.fixture(autouse=True)
def _registered() -> None:
    assert image_heif.register() is None


def heic(pixels: np.ndarray = PIXELS, **options: Any) -> bytes:
    """Nearly without loss: in full color resolution."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "HEIF", quality=100, chroma=444, **options)
    return file.getvalue()


def largest_difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_photos_are_read_upright(orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_photo(heic(exif=exif.tobytes()))
    assert found.pixels.shape == np.rot90(PIXELS, turns).shape
    assert largest_difference(found.pixels, np.rot90(PIXELS, turns)) <= 3
    assert found.notes == ()


def test_transparency() -> None:
    alpha = np.full(PIXELS.shape[:2], 255, np.uint8)
    alpha[:16] = 0
    result = gpuquant.quantize(heic(np.dstack([PIXELS, alpha])), 8)
    assert result.palette.alpha is not None
    assert (result.to_array()[:16, :, 3] == 0).all()
    assert (result.to_array()[16:, :, 3] == 255).all()


def test_the_profile_of_a_phone_is_applied() -> None:
    """Beside littleCMS on the pixels as they were written."""
    display_p3 = coded_space(12, 13)
    profile = display_p3 and icc_profile(display_p3, gray=False)
    assert profile
    found = read_photo(heic(icc_profile=profile))
    to_srgb = ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), "RGB", "RGB")
    expected = np.asarray(ImageCms.applyTransform(Image.fromarray(PIXELS), to_srgb))
    assert largest_difference(found.in_srgb(), expected) <= 8
    assert largest_difference(found.in_srgb(), PIXELS) > 20


def test_more_bits_are_noted() -> None:
    levels = np.linspace(0, 65535, 64 * 64 * 3).astype(np.uint16).reshape(64, 64, 3)
    file = io.BytesIO()
    pillow_heif.encode("RGB;16", (64, 64), levels.tobytes(), file, quality=100, chroma=444)
    found = read_photo(file.getvalue())
    assert found.notes == ("10 bits a channel are reduced to 8",)
    assert largest_difference(found.pixels, levels >> 8) <= 4


def test_damage_is_told() -> None:
    whole = heic()
    assert read_photo(whole).notes == ()
    assert "its end is missing" in read_photo(whole + b"\0\0\1\0free").notes[0]  # the box has no 256 bytes
    for after in (b"\0\0\0\0free", b"\0\0\0\x08free", b"SEFH\x6b\0\0\0\1\0\0\0SEFT"):  # the last: of Samsung's
        assert read_photo(whole + after).notes == ()
    for data in (whole[:60], whole[: len(whole) // 2]):
        with pytest.raises(
            ImageFileError,
            match=r"the file( begins as a HEIC file, but is|: the image cannot be decoded: the file is) damaged",
        ):
            read_photo(data)
    random = np.random.RandomState(0)
    for _ in range(60):
        changed = bytearray(whole)
        for place in random.randint(0, 900, 3):
            changed[place] ^= random.randint(1, 256)
        with suppress(ImageFileError):
            assert read_photo(changed).pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ModuleNotFoundError("none", name="pillow_heif"), r"pip install 'gpuquant\[heic\]'$"),
        (ModuleNotFoundError("no module x", name="x"), "pillow-heif does not work: no module x"),
        (ImportError("libheif.so: no such file"), r"pillow-heif does not work: libheif\.so: no such file"),
    ],
)
def test_what_is_missing_is_named(error: ImportError, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> None:
        raise error

    photo = heic()
    assert image_heif.kind_of(io.BytesIO(photo)) == "HEIC"
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    monkeypatch.setattr(image_heif, "import_module", missing)
    with pytest.raises(ImageFileError, match=rf"is a HEIC photo.*: {words}"):
        gpuquant.quantize(photo)


@pytest.mark.skipif(not image_heif.reads_avif(), reason="this Pillow writes no AVIF")
def test_a_pillow_without_avif_is_told_apart_from_an_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import AvifImagePlugin

    avif = io.BytesIO()
    Image.fromarray(PIXELS).save(avif, "AVIF")
    assert image_heif.kind_of(avif) == "AVIF"
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    monkeypatch.delitem(features.modules, "avif")
    for version, words in (
        ("11.2.1", r"Pillow 11\.3 or newer reads it: pip install -U pillow"),
        ("13.0.0", "built without it"),
    ):
        monkeypatch.setattr(PIL, "__version__", version)
        with pytest.raises(ImageFileError, match=rf"is an AVIF photo; .*{words}"):
            gpuquant.quantize(avif)


def test_others_are_of_neither_kind() -> None:
    for data in (
        b"",
        b"\0\0\0\x18ftyp",
        b"\0\0\0\x18ftypisom\0\0\0\0mp42",
        b"\xff\xff\xff\xffftypmp42" + bytes(9),
        bytes(300),
    ):
        assert image_heif.kind_of(io.BytesIO(data)) is None
        assert image_heif.missing_reader(io.BytesIO(data)) is None
