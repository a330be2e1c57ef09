"""Results in files and file objects, and pictures for people."""

import dataclasses
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Pixels
from PIL import Image

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images import indexed_png, tiled_tiff
from gpuquant.images.writing import write_picture
from gpuquant.quantization.recipes import quantize
from gpuquant.quantization.result import QuantizedImage


def test_many_colors_are_written_as_rgb(china: Pixels, tmp_path: Path) -> None:
    result = quantize(china, 300)
    for name in ("out.png", "out.tif"):
        result.save(tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), result.to_array())
    with pytest.raises(ArgumentError, match="256"):
        result.save(tmp_path / "out.gif")
    assert not (tmp_path / "out.gif").exists()


@pytest.mark.parametrize("name", ["out.jpg", "out", "out.png.txt"])
def test_unknown_endings_are_refused(name: str, result: QuantizedImage, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.png"):
        result.save(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".tif"])
def test_pictures_may_be_lossy(suffix: str, china: Pixels, tmp_path: Path) -> None:
    write_picture(Image.fromarray(china), tmp_path / f"both{suffix}")
    with Image.open(tmp_path / f"both{suffix}") as image:
        apart = np.asarray(image.convert("RGB")).astype(int) - china
    assert np.abs(apart).mean() < (8 if suffix in (".jpg", ".JPEG", ".webp") else 1e-9)
    with pytest.raises(ArgumentError, match=r"\.gif"):
        write_picture(Image.fromarray(china), tmp_path / "both.gif")


def test_an_impossible_place_is_an_error(result: QuantizedImage, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "missing" / "out.png", tmp_path / "folder.png"):
        with pytest.raises(ImageFileError, match="cannot be written"):
            result.save(path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("n_colors", [16, 17])
def test_a_png_is_nearly_as_small_as_level_6_makes_it(n_colors: int, china: Pixels, tmp_path: Path) -> None:
    result = quantize(china, n_colors)
    for level in (None, 6):
        result.save(tmp_path / f"{level}.png", compression=level)
    sizes = [(tmp_path / f"{level}.png").stat().st_size for level in (None, 6)]
    assert sizes[0] < 1.1 * sizes[1]
    with pytest.raises(ArgumentError, match="compression=10 must be an integer from 0 to 9"):
        result.save(tmp_path / "out.png", compression=10)


@pytest.fixture
def result() -> QuantizedImage:
    return quantize(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), 5)


class Taker:
    """Takes bytes, a few at a time, and has nothing else: no place, no end."""

    def __init__(self, at_most: int | None) -> None:
        self.taken, self._at_most = b"", at_most

    def write(self, data: bytes) -> int | None:
        if self._at_most is None:
            self.taken += data
            return None
        self.taken += data[: self._at_most]
        return min(len(data), self._at_most)


@pytest.mark.parametrize("image_format", ["png", "PNG", ".tif", "tiff", "GIF"])
def test_a_file_object_gets_what_a_file_gets(image_format: str, result: QuantizedImage, tmp_path: Path) -> None:
    path = tmp_path / f"a.{image_format.strip('.')}"
    result.save(path, compression=2)
    memory, taker, slow = io.BytesIO(b"before"), Taker(None), Taker(100)
    memory.seek(6)
    for file in (memory, taker, slow):
        result.save(file, format=image_format, compression=2)
    with (tmp_path / "open").open("wb") as opened:
        result.save(opened, format=image_format, compression=2)
        assert not opened.closed
    assert memory.getvalue() == b"before" + path.read_bytes()
    assert taker.taken == slow.taken == (tmp_path / "open").read_bytes() == path.read_bytes()


def test_a_pipe_is_a_file_object(result: QuantizedImage, tmp_path: Path) -> None:
    """Standard output may be one; nobody can seek in it."""
    result.save(tmp_path / "a.tif")
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as taken:
        with os.fdopen(writer, "wb") as pipe:
            result.save(pipe, format="tif")
        assert taken.read() == (tmp_path / "a.tif").read_bytes()


def test_a_format_is_taken_in_place_of_an_ending(result: QuantizedImage, tmp_path: Path) -> None:
    for name in ("photo", "photo.jpg", "photo.gif"):
        result.save(tmp_path / name, format="png")
        with Image.open(tmp_path / name) as image:
            assert image.format == "PNG"


@pytest.mark.parametrize(
    ("file", "image_format", "words"),
    [
        (io.BytesIO(), None, "a file object has no ending; say what to write: 'png', 'tif' or 'gif'"),
        (io.BytesIO(), "jpg", "'jpg' is no format of results; use 'png', 'tif' or 'gif'"),
        (io.BytesIO(), 3, "3 is no format of results"),
        ("a.png", "", "'' is no format of results"),
        (io.StringIO(), "png", 'file takes text, but an image is bytes; open it with "wb"'),
        (3, "png", "file must be the path of a file to write, or a binary file, got int"),
    ],
)
def test_files_and_formats_that_cannot_be_used(
    file: Any, image_format: Any, words: str, result: QuantizedImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError) as caught:
        result.save(file, format=image_format)
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())
    assert not isinstance(file, io.IOBase) or file.tell() == 0


def test_files_for_text_are_told(result: QuantizedImage, tmp_path: Path) -> None:
    class Text:
        def write(self, data: str) -> None:
            raise TypeError("write() argument must be str, not bytes")

    with (tmp_path / "a.png").open("w") as opened, tempfile.NamedTemporaryFile("w") as wrapped:
        for file in (opened, wrapped, Text()):
            with pytest.raises(ArgumentError, match='open it with "wb"'):
                result.save(file, format="png")  # type: ignore[arg-type]
    assert (tmp_path / "a.png").read_bytes() == b""


def test_limits_name_no_path() -> None:
    many = quantize(np.stack([*np.indices((20, 20)) * 9, np.zeros((20, 20))], axis=2).astype(np.uint8), 257)
    wide = quantize(np.zeros((1, 65_536), np.uint8), 1)
    profiled = dataclasses.replace(wide, labels=wide.labels[:, :9], icc_profile=b"x")
    for found, words in (
        (many, "the file: a GIF holds at most 256 colors, not 257; use .png or .tif"),
        (wide, "the file: a GIF is at most 65535 pixels wide and high, not 65536 x 1; use .png or .tif"),
        (profiled, "the file: a GIF holds no color profile; use .png or .tif"),
    ):
        file = io.BytesIO()
        with pytest.raises(ArgumentError, match=words):
            found.save(file, format="gif")
        assert file.getvalue() == b""


@pytest.mark.parametrize("image_format", ["png", "tif", "gif"])
def test_a_file_object_gets_nothing_of_what_fails(
    image_format: str, result: QuantizedImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_: object, file: Any, *__: object, **___: object) -> None:
        raise OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", half)
    for writer in (indexed_png, tiled_tiff):
        monkeypatch.setattr(writer, "_deflated", half)
    taker = Taker(None)
    words = (
        "^the file cannot be written: encoder error" if image_format == "gif" else "encoder error"
    )  # others are ours
    with pytest.raises(OSError, match=words):
        result.save(taker, format=image_format)
    assert taker.taken == b""


def test_file_objects_that_take_nothing(result: QuantizedImage, tmp_path: Path) -> None:
    closed = io.BytesIO()
    closed.close()
    (tmp_path / "a").write_bytes(b"old")
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.write(writer, bytes(65_536))  # until nothing more goes in
    stuck = os.fdopen(writer, "wb", buffering=0)
    with (tmp_path / "a").open("rb") as reading, full, stuck:
        for file, words in (
            (closed, "I/O operation on closed file"),
            (full, "No space left on device"),
            (Taker(0), "it takes no more bytes"),
            (stuck, "it takes no more bytes"),
        ):
            with pytest.raises(ImageFileError, match=f"^the file cannot be written: {words}"):
                result.save(file, format="png")
        with pytest.raises(ArgumentError, match=r'file is open for reading; .* open\(path, "wb"\)'):
            result.save(reading, format="png")
    os.close(reader)
    assert (tmp_path / "a").read_bytes() == b"old"
