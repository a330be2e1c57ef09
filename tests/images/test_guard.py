"""Pillow under one limit of ours, and its warnings as notes of the file that they are about."""

import io
import struct
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import AVIF, png, tiff
from PIL import Image, ImageFile

from gpuquant import quantize_files
from gpuquant.arguments import MAX_PIXELS
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images import sources
from gpuquant.images.guard import check_size, pillow_guarded
from gpuquant.images.reading import photo_of, read_photo, read_size
from gpuquant.images.strips import photo_size
from gpuquant.images.words import notes_of, words_of

FORMATS = ["a.tif", "b.tif", "a.png", "a.jpg", "a.webp", "a.gif", "a.bmp", "a.ppm", "a.ico", "a.icns", "a.jp2", *AVIF]


def picture(name: str, path: Path) -> np.ndarray:
    """A file of 48 x 48 pixels, turned by EXIF where it can be; with gray in 16 bits as b.tif."""
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (48, 48, 3)).astype(np.uint8))
    if name == "b.tif":
        image = Image.fromarray(np.arange(48 * 48, dtype=np.uint16).reshape(48, 48))
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, Any] = {"exif": exif} if name in ("a.tif", "b.tif", "a.png", "a.jpg", "a.webp") else {}
    if name.endswith(".tif"):
        options["compression"] = "tiff_lzw"
    if name == "a.icns":
        image = image.resize((64, 64))
    image.save(path, **options)
    return np.asarray(image)


@pytest.mark.parametrize("name", FORMATS)
def test_pillows_limit_does_not_interfere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow neither warns nor raises by its own limit; warnings are errors in these tests."""
    picture(name, tmp_path / name)
    expected = read_photo(tmp_path / name)
    for limit in (1, 48 * 48 - 1, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        photo = read_photo(tmp_path / name)
        np.testing.assert_array_equal(photo.pixels, expected.pixels)
        assert photo.notes == expected.notes
        assert read_size(tmp_path / name)[0] >= 48
        assert limit == Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert photo_of(Image.new("RGB", (9, 9))).pixels.shape == (9, 9, 3)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(tmp_path / name)


@pytest.mark.parametrize("name", FORMATS)
def test_our_limit_comes_before_decoding(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(name, tmp_path / name)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    for read in (read_photo, read_size):
        with pytest.raises(
            ImageFileError, match=r"pixels, more than the limit of 1000 pixels; raise it with max_pixels"
        ):
            read(tmp_path / name, max_pixels=1000)


@pytest.mark.parametrize(
    ("size", "most", "words"),
    [
        ((9, 11), 98, "9 x 11 = 99 pixels, more than the limit of 98 pixels; raise it with max_pixels (--max-pixels)"),
        ((50_000, 40_000), MAX_PIXELS, "50000 x 40000 = 2000 megapixels, more than the limit of 500 megapixels; "),
        ((100_000, 160_000), MAX_PIXELS, "100000 x 160000 = 16 gigapixels, more than the limit of 500 megapixels; "),
    ],
)
def test_the_message_names_size_and_option(size: tuple[int, int], most: int, words: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        check_size(size, most)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("has_pyvips", [True, False])
@pytest.mark.parametrize("kind", ["GIF", "JPEG", "PNG", "TIFF", "npy"])
def test_the_message_names_memory_and_time_of_that_kind_of_file(
    kind: str, has_pyvips: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "find_spec", lambda _: has_pyvips or None)
    path = tmp_path / "photo"
    if kind == "npy":
        np.save(path.with_suffix(".npy"), np.zeros((9, 9), np.uint8))
        path = path.with_suffix(".npy")
    else:
        Image.new("L", (9, 9)).save(path, kind)
    memory = "900 MB" if kind == "npy" or (has_pyvips and kind != "GIF") else "14 GB"
    with pytest.raises(ImageFileError) as caught, sources.told(sources.Source(path)):
        check_size((50_000, 40_000), MAX_PIXELS)
    told = "raise it with max_pixels (--max-pixels) 2000000000: it then takes about"
    assert str(caught.value).endswith(f"; {told} {memory} of memory, and 1 minute or more")
    with pytest.raises(ImageFileError, match=r"raise it with max_pixels \(--max-pixels\)$"):
        read_size(path, max_pixels=80) if kind != "npy" else photo_size(path, max_pixels=80)


def test_parts_that_are_larger_than_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An icon of 16 x 16 pixels that holds one of 300 x 200."""
    inner = png(1, 0, 300, [bytes(38)] * 200)
    head = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "a.ico").write_bytes(head + inner)
    photo = read_photo(tmp_path / "a.ico")
    assert photo.pixels.shape == (200, 300)
    assert photo.notes == ("the picture in it has another size than the file says",)
    for max_pixels in (300 * 200 - 1, 16 * 16):
        with pytest.raises(ImageFileError, match=r"300 x 200 = 60000 pixels, more than the limit"):
            read_photo(tmp_path / "a.ico", max_pixels=max_pixels)
    (tmp_path / "b.png").write_bytes(inner)  # or what is known only when it is decoded
    real = ImageFile.ImageFile.load

    def load(self: ImageFile.ImageFile) -> object:
        pixel = real(self)
        self._size = 3000, 2000
        return pixel

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(ImageFileError, match="3000 x 2000 = 6000000 pixels"):
        read_photo(tmp_path / "b.png", max_pixels=100_000)


def test_other_threads_keep_their_limit_and_their_warnings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture("a.png", tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 48 - 1)
    found: list[str] = []

    def work() -> None:
        try:
            Image.open(tmp_path / "a.png")
        except Image.DecompressionBombWarning:  # an error here
            found.append("limit")
        try:
            warnings.warn("mine", stacklevel=2)
        except UserWarning as warning:
            found.append(str(warning))

    with pillow_guarded(None) as reading:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        warnings.warn("of a file", stacklevel=1)
        warnings.warn("of a file", stacklevel=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            with pytest.raises(DeprecationWarning, match="ours"):
                warnings.warn("ours", DeprecationWarning, stacklevel=1)
    assert found == ["limit", "mine"]
    assert reading.said == ["of a file", "of a file"]


def test_all_is_left_as_it_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture("a.png", tmp_path / "a.png")
    before = warnings.warn, Image._decompression_bomb_check, list(warnings.filters), warnings.showwarning
    threads = [threading.Thread(target=read_photo, args=(tmp_path / "a.png",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ImageFileError):
        read_photo(tmp_path / "a.png", max_pixels=1)
    with pillow_guarded(1), pillow_guarded(None):
        assert Image.new("L", (3, 3)).crop((0, 0, 2, 2)).size == (2, 2)
    assert before == (warnings.warn, Image._decompression_bomb_check, list(warnings.filters), warnings.showwarning)
    with pillow_guarded(None):  # and what somebody else puts there meanwhile stays
        theirs = lambda *args, **options: None  # noqa: E731
        monkeypatch.setattr(warnings, "warn", theirs)
    assert warnings.warn is theirs


def warning_tiff() -> bytes:
    """A TIFF whose tag Software is said to lie behind the end: Pillow warns of it."""
    data = bytearray(tiff(bytes([1, 2, 3]), 1, 1, {305: (1, tuple(b"some words"))}, bits=(8, 8, 8), photometric=2))
    entry = data.index(struct.pack("<HHI", 305, 1, 10))
    struct.pack_into("<I", data, entry + 4, 1 << 30)
    return bytes(data)


def test_warnings_become_notes_of_their_file(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.tif").write_bytes(warning_tiff())
    (tmp_path / "plain.png").write_bytes(png(8, 2, 1, [b"\1\2\3"]))
    note = "some of its tags cannot be read, and are left out"
    assert read_photo(tmp_path / "a.tif").notes == (note,)
    outcomes = {outcome.source.name: outcome for outcome in quantize_files(tmp_path, tmp_path / "out", 2, jobs=4)}
    for name, outcome in outcomes.items():
        assert outcome.status == "written"
        assert outcome.warnings == ((note,) if name.endswith(".tif") else ())


def test_nothing_reaches_standard_error(tmp_path: Path) -> None:
    """In a process of its own, where warnings are printed."""
    (tmp_path / "a.tif").write_bytes(warning_tiff())
    code = f"from gpuquant.images.reading import read_photo; read_photo({str(tmp_path / 'a.tif')!r})"
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TypeError("Missing dimensions"), "the file is damaged: a page in it has no width or height"),
        (OSError("decoder error -2"), "the file is damaged: its compressed pixels cannot be decoded"),
        (OSError(-2), "the file is damaged: its compressed pixels cannot be decoded"),
        (OSError("broken data stream when reading image file"), "the file is damaged: its compressed pixels cannot"),
        (OSError(22, "Invalid argument"), "the file is damaged: it refers to places outside it"),
        (OSError(13, "Permission denied", "a.png"), "Permission denied"),
        (OSError("image file is truncated (9 bytes not processed)"), "image file is truncated (9 bytes not processed)"),
        (OSError("Truncated File Read"), "the file is damaged: its end is missing"),
        (KeyError("x"), "the file is damaged: what it says of itself does not fit together"),
        (ZeroDivisionError(), "the file is damaged: what it says of itself does not fit together"),
        (OSError(), "the file is damaged: what it says of itself does not fit together"),
        (struct.error("unpack requires 4 bytes"), "the file is damaged: what it says of itself does not fit together"),
        (ValueError("several\nlines"), "several lines"),
    ],
)
def test_errors_are_words(error: Exception, words: str) -> None:
    assert words_of(error).startswith(words)


def test_warnings_are_words() -> None:
    said = ["Corrupt EXIF data.  Expecting to read 2 bytes", "Metadata Warning, tag 256 had too many entries", "Odd"]
    assert notes_of(said * 2, is_tiff=False) == ("Pillow says: Odd",)
    assert notes_of(said * 2, is_tiff=True) == (
        "some of its tags cannot be read, and are left out",
        "Pillow says: Odd",
    )


def test_damaged_files_are_told_in_plain_words(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (30, 30, 3)).astype(np.uint8)).save(
        file, "TIFF", compression="tiff_adobe_deflate"
    )
    data = bytearray(file.getvalue())
    data[100:2000] = bytes(1900)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageFileError, match=r"a\.tif: the image cannot be decoded: the file is damaged") as caught:
        read_photo(tmp_path / "a.tif")
    assert not any(word in str(caught.value) for word in ("Error", "error -", "Errno"))


def test_records_of_pillow_are_kept_off_standard_error(tmp_path: Path) -> None:
    """It logs an error on too many samples, which Python prints where nobody handles it."""
    data = tiff(bytes(20), 1, 1, bits=(8, 8, 8), photometric=2)
    data = data.replace(struct.pack("<HHII", 277, 3, 1, 3), struct.pack("<HHII", 277, 3, 1, 20))
    (tmp_path / "a.tif").write_bytes(data)
    code = f"""
import logging
from gpuquant.images.reading import read_photo
try: read_photo({str(tmp_path / "a.tif")!r})
except OSError: pass
assert not logging.getLogger("PIL").handlers
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
