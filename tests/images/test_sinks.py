"""One way to write any format strip by strip: whole files only, all rows, bounded memory."""

import contextlib
import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import HANGING
from PIL import Image
from sink_files import NOTE, PROFILE, case, decoded, write

from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.images import indexed_png, sinks, targets, tiled_tiff
from gpuquant.images.note import read_options
from gpuquant.images.sinks import open_sink, sink_memory

ENDINGS = ["png", "tif", "gif"]
WRITERS = [indexed_png, tiled_tiff]


@pytest.fixture(params=[1, 3], ids=lambda number: f"{number} threads")
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Few rows a block, and so many threads."""
    number: int = request.param
    for module in (*WRITERS, sinks):
        monkeypatch.setattr(module, "worker_threads", lambda: number)
    monkeypatch.setattr(indexed_png, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(tiled_tiff, "TILE_SIDE", 16)
    return number


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("n_colors", [2, 5, 200])
@pytest.mark.usefixtures("n_threads")
def test_palette_and_labels_keep_their_numbers(ending: str, n_colors: int, tmp_path: Path) -> None:
    one = case(n_colors, (70, 90))
    write(tmp_path / f"a.{ending}", one, note=NOTE)
    with Image.open(tmp_path / f"a.{ending}") as image:
        assert image.mode == "P"
        assert getattr(image, "n_frames", 1) == 1
        np.testing.assert_array_equal(np.asarray(image), one.labels)
        np.testing.assert_array_equal(np.reshape(image.getpalette("RGB") or [], (-1, 3))[:n_colors], one.colors)
    assert read_options(tmp_path / f"a.{ending}") == {"n_colors": 8}


def test_a_gif_with_a_clear_color(tmp_path: Path) -> None:
    one = case(5, (30, 20), 4)
    one.colors[:, 3] = [255, 0, 255, 255, 255]
    write(tmp_path / "a.gif", one)
    found = decoded(tmp_path / "a.gif", 4)
    assert (found[..., 3] == one.pixels[..., 3]).all()
    assert (found[one.labels != 1] == one.pixels[one.labels != 1]).all()


@pytest.mark.parametrize("ending", ENDINGS)
def test_file_objects(ending: str, tmp_path: Path) -> None:
    one, file = case(8, (70, 90)), io.BytesIO()
    with open_sink(file, one.size, one.colors, image_format=ending) as take:
        take(one.labels)
        assert file.getvalue() == b""
    assert file.getvalue() == write(tmp_path / f"a.{ending}", one)


@pytest.mark.parametrize(
    ("name", "size", "n_colors", "options", "words"),
    [
        ("a.gif", (65_536, 1), 8, {}, "a GIF is at most 65535 pixels wide and high"),
        ("a.gif", (5, 5), 257, {}, "a GIF holds at most 256 colors"),
        ("a.gif", (5, 5), 8, {"profile": PROFILE}, "a GIF holds no color profile"),
        ("a.png", (1 << 31, 1), 8, {}, "a PNG is at most 2147483647 pixels wide and high"),
        ("a.png", (5, 0), 8, {}, "the image is empty"),
        ("a.jpg", (5, 5), 8, {}, "cannot write '.jpg'"),
        ("a.png", (5, 5), 8, {"compression": 10}, "compression=10 must be an integer from 0 to 9"),
    ],
)
def test_limits_are_told_before_a_row_is_written(
    name: str, size: tuple[int, int], n_colors: int, options: dict[str, int], words: str, tmp_path: Path
) -> None:
    colors = np.zeros((n_colors, 3), np.uint8)
    with pytest.raises(ArgumentError, match=words), open_sink(tmp_path / name, size, colors, **options):  # type: ignore[arg-type]
        raise AssertionError("it was opened")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("n_rows", "n_columns"), [(0, 30), (19, 30), (21, 30), (20, 29), (20, 31)])
@pytest.mark.usefixtures("n_threads")
def test_rows_that_are_missing_or_too_many(ending: str, n_rows: int, n_columns: int, tmp_path: Path) -> None:
    colors = np.zeros((8, 3), np.uint8)
    with (
        pytest.raises(AssertionError, match="rows of an image of"),
        open_sink(tmp_path / f"a.{ending}", (30, 20), colors) as take,
    ):
        take(np.zeros((n_rows, n_columns), np.uint8))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["ValueError", "KeyboardInterrupt"])
@pytest.mark.usefixtures("n_threads", "no_thread_is_left")
def test_a_failure_leaves_the_target_alone(ending: str, error: BaseException, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), open_sink(path, (300, 200), np.zeros((8, 3), np.uint8)) as take:  # noqa: PT012
        take(np.zeros((150, 300), np.uint8))
        raise error
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("n_bytes", [0, 10, 1000, 20_000])
@pytest.mark.usefixtures("n_threads")
def test_a_full_disk(ending: str, n_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that takes so many bytes, whoever writes them."""

    class Full(io.FileIO):
        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            if self.tell() + len(data) > n_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    @contextlib.contextmanager
    def full_file(path: Path) -> Iterator[io.FileIO]:
        try:
            with Full(tmp_path / "hidden", "wb+") as file:
                yield file
        except ImageFileError:
            raise
        except OSError as error:
            raise ImageFileError(f"{path} cannot be written: {error.strerror}") from None

    monkeypatch.setattr(targets, "whole_file", full_file)
    one = case(200, (300, 200))
    with pytest.raises(ImageFileError, match=r"a\.\w+ cannot be written: No space left on device"):
        write(tmp_path / f"a.{ending}", one)
    assert not (tmp_path / f"a.{ending}").exists()


ENDLESS = """
import sys, numpy as np
from gpuquant.images import sinks
draws, path = np.random.default_rng(0), sys.argv[1]
with sinks.open_sink(path, (5000, 60_000), draws.integers(0, 256, (256, 3), dtype=np.uint8), compression=9) as take:
    print("open", flush=True)
    for _ in range(600):
        take(draws.integers(0, 255, (100, 5000), dtype=np.uint8))
"""


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="unnamed files are Linux's")
def test_a_killed_process_leaves_nothing(ending: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"old")
    command = [sys.executable, "-c", ENDLESS, str(tmp_path / f"a.{ending}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(random.uniform(0, 1))
        assert process.poll() is None
        process.send_signal(number)
        process.wait(HANGING)
    assert process.returncode in (-signal.SIGKILL, -signal.SIGINT)
    assert [one.name for one in tmp_path.iterdir()] == [f"a.{ending}"]
    assert (tmp_path / f"a.{ending}").read_bytes() == b"old"


@pytest.mark.parametrize("n_threads", [1, 4])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("n_colors", "n_channels"), [(2, 3), (16, 3), (200, 3), (200, 4), (400, 3), (400, 4)])
def test_memory_is_bounded(
    n_threads: int, kind: str, n_colors: int, n_channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of NumPy's arrays and Python's bytes: zlib takes half a megabyte more for each thread."""
    for module in (*WRITERS, sinks):
        monkeypatch.setattr(module, "worker_threads", lambda: n_threads)
    strip = case(n_colors, (3000, 100)).labels
    colors = np.zeros((n_colors, n_channels), np.uint8)
    tracemalloc.start()
    try:
        with open_sink(tmp_path / "a", (3000, 4000), colors, image_format=kind.lower(), compression=1) as take:
            for _ in range(40):
                take(strip)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= sink_memory(kind, (3000, 4000), n_colors, n_channels) < 100e6


def test_memory_of_a_gif_is_all_of_it() -> None:
    assert sink_memory("GIF", (1000, 1000), 8) == 4_000_000
