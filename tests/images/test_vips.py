"""Decoders of libvips end when nobody wants their rows, and say nothing that nobody asked for."""

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from commands import FORKED, HANGING
from PIL import Image, ImageFile

from gpuquant.images import vips
from gpuquant.images.sources import Source

pytestmark = pytest.mark.skipif(vips.library() is None, reason="pyvips is not installed")

INTERRUPTED = """
import _thread, sys, threading, time
from gpuquant.images import strips
strips.SMALL = 0
with strips.open_strips(sys.argv[1], budget=1 << 30) as photo:
    try:
        threading.Timer(0.3, _thread.interrupt_main).start()
        while True:
            for strip in photo.strips():
                pass
            photo.read.__self__._store = None
    except KeyboardInterrupt:
        pass
end = time.monotonic() + 30
while threading.active_count() > 1 and time.monotonic() < end:  # a thread that is ending, or the timer
    time.sleep(0.001)
print(threading.active_count())
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos that take some time."""
    folder = tmp_path_factory.mktemp("large")
    y, x = np.mgrid[:3000, :4000]
    image = Image.fromarray(np.stack([x % 256, y % 256, (x * y) % 251], axis=2).astype(np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile, "MAXBLOCK", 1 << 26)  # which noise needs
        image.save(folder / "photo.jpg")
        image.save(folder / "progressive.jpg", progressive=True)
        image.save(folder / "photo.png", compress_level=1)
    return folder


@pytest.mark.parametrize("name", ["photo.jpg", "progressive.jpg", "photo.png"])
def test_an_interrupt_ends_decoding(name: str, large: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(large / name)],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGING,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("name", ["photo.jpg", "progressive.jpg", "photo.png"])
def test_a_decoder_is_stopped_at_any_time(name: str, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And soon: it does not go on to the end."""
    written: list[int] = []
    write = vips._Filling.write

    def counted(own: vips._Filling, data: bytes) -> int:
        written.append(len(data))
        return write(own, data)

    monkeypatch.setattr(vips._Filling, "write", counted)
    source, image_format = Source(large / name), "PNG" if name.endswith("png") else "JPEG"
    size = vips.size_of(source, image_format)
    for seconds in (0, 0.02, 0.1):
        rows = vips.Rows(source, image_format, size, 16, stoppable="progressive" in name)
        rows.start()
        time.sleep(seconds)
        rows.close()
        assert not rows._thread.is_alive()
        assert list(rows) == []
        assert sum(written) < 4000 * 3000 * 3 / 2
        written.clear()


def test_a_file_ends_when_reading_is_stopped() -> None:
    stopped = threading.Event()
    reader = vips._Reader(io.BytesIO(b"letters"), stopped)
    assert (reader.read(3), reader.seek(-1, io.SEEK_CUR), reader.read(9)) == (b"let", 2, b"tters")
    reader.seek(0, io.SEEK_SET)
    stopped.set()
    assert reader.read(3) == b""


def test_rows_are_all_there(large: Path) -> None:
    source = Source(large / "photo.png")
    size = vips.size_of(source, "PNG")
    assert (size.width, size.height, size.n_bands, size.dtype) == (4000, 3000, 3, np.uint8)
    rows = vips.Rows(source, "PNG", size, 700)
    rows.start()
    assert [strip.shape for strip in rows] == [(700, 4000, 3)] * 4 + [(200, 4000, 3)]
    rows.close()


def test_only_loaders_that_are_named_are_used(tmp_path: Path) -> None:
    """An SVG under another name is no JPEG, PNG or TIFF."""
    (tmp_path / "photo.png").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    for image_format in ("JPEG", "PNG", "TIFF"):
        with pytest.raises(vips.DecodingError):
            vips.size_of(Source(tmp_path / "photo.png"), image_format)


def test_damage_is_silent(large: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = (large / "photo.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    source = Source(tmp_path / "cut.jpg")
    rows = vips.Rows(source, "JPEG", vips.size_of(source, "JPEG"), 16)
    rows.start()
    with pytest.raises(vips.DecodingError):
        list(rows)
    rows.close()
    assert capfd.readouterr() == ("", "")


CHILD = """
import numpy as np
from PIL import Image
from gpuquant.images import strips
from gpuquant.images.strips import open_strips
strips.SMALL = 0
Image.fromarray(np.zeros((200, 300, 3), np.uint8)).save(sys.argv[1])
with open_strips(sys.argv[1], budget=0) as photo:
    print(photo.how, sum(map(len, photo.strips())))

def by_pillow():
    with open_strips(sys.argv[1], budget=1 << 30) as photo:
        print(photo.how, sum(map(len, photo.strips())), flush=True)
    try:
        open_strips(sys.argv[1], budget=0).__enter__()
    except OSError as error:
        return "stops working where a process forks" in str(error)

print(forked(by_pillow))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")
def test_a_forked_process_does_without(tmp_path: Path) -> None:
    """It would wait for threads of libvips that stayed in the other one."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED + CHILD, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGING)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["decoded again for each pass 200", "read whole 200", "0"]
