"""Images from bytes, from files that are open and from streams, and what is said of those that are none."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gpuquant
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images import sources as image_sources

PIXELS = np.random.RandomState(0).randint(0, 256, (20, 30, 3)).astype(np.uint8)
FORMATS = "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG"


def encoded(image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, image_format, **options)
    return file.getvalue()


class Stream(io.RawIOBase):
    """One that gives a few bytes at a time and cannot go back, as of a network."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._file.read(min(size, 1000))


@pytest.mark.parametrize("image_format", FORMATS)
def test_bytes_and_open_files_are_the_image_of_the_file(image_format: str, tmp_path: Path) -> None:
    data, path = encoded(image_format), tmp_path / "a.image"
    path.write_bytes(data)
    expected = gpuquant.quantize(path, 8)
    with path.open("rb") as file:
        file.seek(7)
        for given in (data, bytearray(data), memoryview(data), io.BytesIO(data), file, Stream(data)):
            found = gpuquant.quantize(given, 8)
            np.testing.assert_array_equal(found.to_array(), expected.to_array())
        np.testing.assert_array_equal(expected.side_by_side(file), expected.side_by_side(path))  # read once more
        assert not file.closed
    several: list[Any] = [data, io.BytesIO(data), path]
    assert gpuquant.extract_palette(several, 8).hex == gpuquant.extract_palette([path] * 3, 8).hex
    assert gpuquant.extract_palette(io.BytesIO(data), 8).hex == gpuquant.extract_palette(data, 8).hex


def test_orientation_profile_and_damage_are_those_of_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded("PNG", exif=exif)
    assert gpuquant.quantize(turned, 4).labels.shape == (30, 20)
    data = encoded("PNG")
    data = data[:33] + b"\0\0\0\1tEXtX\0\0\0\0" + data[33:]  # metadata with a wrong checksum
    with pytest.warns(UserWarning, match="^the image: its metadata cannot be read, and are left out: tEXt"):
        found = gpuquant.quantize(data, 4)
    np.testing.assert_array_equal(found.to_array(), gpuquant.quantize(encoded("PNG"), 4).to_array())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is not an image: it is empty"),
        (b"words", "the file is not an image in a format that Pillow can read"),
        (encoded("PNG").replace(b"IHDR", b"IHDR?"), "the file begins as a PNG file, but is damaged"),
        (encoded("JPEG")[:300], "the file cannot be read: the file is damaged: its end is missing"),
        (encoded("GIF")[:8], "the file begins as a GIF file, but is damaged"),
        (b"II*\0\x08\0\0\0", "the file begins as a TIFF file, but is damaged"),
        (b"IIRO" + bytes(60), "the file is a raw photo; develop it first"),
        (encoded("JPEG")[:-100], "the file: the image cannot be decoded: image file is truncated"),
    ],
)
def test_what_is_no_image_is_told(data: bytes, words: str) -> None:
    for given in (data, io.BytesIO(data), Stream(data)):
        with pytest.raises(ImageFileError) as error:
            gpuquant.quantize(given)
        assert str(error.value).startswith(words)
    with_name = io.BytesIO(data)
    with_name.name = "photo 1"
    with pytest.raises(ImageFileError, match=r"^photo 1"):
        gpuquant.quantize(with_name)


def test_streams_are_read_once() -> None:
    stream = Stream(encoded("PNG"))
    result = gpuquant.quantize(stream, 4)
    with pytest.raises(ImageFileError, match="the file is not an image: it is empty, or was read before"):
        result.side_by_side(stream)


def test_a_stream_may_give_any_kind_of_bytes() -> None:
    class Kinds(Stream):
        def read(self, size: int = -1) -> Any:
            return bytearray(super().read(size))

    np.testing.assert_array_equal(gpuquant.quantize(Kinds(encoded("PNG")), 600).to_array(), PIXELS)


def test_open_files_that_give_no_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(encoded("PNG"))  # which is no UTF-8
    with (tmp_path / "a.txt").open() as text, pytest.raises(ArgumentError, match=r'open\(path, "rb"\)'):
        gpuquant.quantize(text)  # type: ignore[arg-type]
    closed = io.BytesIO(b"")
    closed.close()
    with pytest.raises(ArgumentError, match="closed file"):
        gpuquant.quantize(closed)
    with (
        (tmp_path / "b.bin").open("wb") as written,
        pytest.raises(ArgumentError, match="open for writing; open it for reading"),
    ):
        gpuquant.quantize(written)
    monkeypatch.setattr(image_sources, "MOST_BYTES", 1 << 20)
    with Path("/dev/zero").open("rb") as endless, pytest.raises(ImageFileError, match="store it, and give its path"):
        gpuquant.quantize(endless)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageFileError, match=r"is a folder; name a photo in it.*quantize_files \(gpuquant batch\)"):
        gpuquant.quantize(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ImageFileError, match="is a folder that cannot be listed"):
        gpuquant.quantize(tmp_path)


def test_a_limit_of_pixels_holds() -> None:
    with pytest.raises(ImageFileError, match=r"the file: 30 x 20 = 600 pixels, more than the limit of 599"):
        gpuquant.quantize(encoded("PNG"), max_pixels=599)
