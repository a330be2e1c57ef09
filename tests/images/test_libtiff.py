"""Complaints of libtiff: kept off standard error, and left to the handlers of others."""

import ctypes
import io
import platform
import threading
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image

from gpuquant.images import libtiff as image_libtiff
from gpuquant.images.guard import pillow_guarded
from gpuquant.images.reading import read_photo

BRINGS_LIBTIFF = platform.machine() in image_libtiff.SAFE and any(
    folder.is_dir() for folder in (Path(PIL.__file__).parent / ".dylibs", Path(PIL.__file__).parents[1] / "pillow.libs")
)


def damaged_fax() -> bytes:
    """Black and white, compressed in group 4, with some bytes changed: libtiff complains, and goes on."""
    file = io.BytesIO()
    dots = Image.fromarray(np.random.RandomState(0).randint(0, 2, (60, 60)).astype(bool))
    dots.save(file, "TIFF", compression="group4")
    data = bytearray(file.getvalue())
    data[300:330] = b"\xff" * 30
    return bytes(data)


def test_complaints_of_libtiff_are_kept_off_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fax.tif"
    path.write_bytes(damaged_fax())
    with Image.open(path) as image:
        image.load()
    printed = capfd.readouterr().err
    if "Fax4Decode" not in printed or not BRINGS_LIBTIFF:
        pytest.skip("this libtiff says nothing, or not to us")
    assert image_libtiff._library() is not None
    photo = read_photo(path)
    assert capfd.readouterr().err == ""
    assert photo.notes == ("the file is damaged; some of its pixels may be wrong",)

    def elsewhere() -> None:
        with Image.open(path) as image:
            image.load()

    with pillow_guarded(None) as reading:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert not reading.damaged
    assert capfd.readouterr().err == printed
    elsewhere()
    assert capfd.readouterr().err == printed


@pytest.mark.skipif(not BRINGS_LIBTIFF, reason="this Pillow brings no libtiff")
def test_a_handler_that_somebody_else_sets_meanwhile_stays() -> None:
    """Like those of most libraries it calls the one that it replaced: ours must not call it in turn for ever."""
    setter = image_libtiff._library().TIFFSetErrorHandler
    heard: list[str] = []

    def plain(module: bytes | None, words: bytes | None, values: int | None) -> None:
        heard.append("plain")

    def theirs(module: bytes | None, words: bytes | None, values: int | None) -> None:
        heard.append("theirs")
        if len(heard) < 100:
            image_libtiff.HANDLER(replaced)(module, words, values)

    def load() -> None:
        with Image.open(io.BytesIO(damaged_fax())) as image:
            image.load()

    callbacks = [image_libtiff.HANDLER(handler) for handler in (plain, theirs)]
    addresses = [ctypes.cast(callback, ctypes.c_void_p) for callback in callbacks]
    original = setter(addresses[0])
    try:
        load()
        n_complaints = len(heard)
        with pillow_guarded(None):
            replaced = setter(addresses[1])
        heard.clear()
        with pillow_guarded(None):
            thread = threading.Thread(target=load)
            thread.start()
            thread.join()
        assert heard == ["theirs", "plain"] * n_complaints
        heard.clear()
        with pillow_guarded(None) as reading:
            load()
        assert reading.damaged
        assert heard == []
    finally:
        last = setter(original)
    assert last == addresses[1].value
