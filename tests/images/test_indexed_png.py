"""PNG files written strip by strip, against Pillow's reader and one by the specification."""

import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_files import DEPTHS, NOTE, PROFILE, SIZES, Case, case, cases, chunks, decoded, pillows_png, rows_of_png, write

from gpuquant.images import indexed_png
from gpuquant.images.indexed_png import joined_adler
from gpuquant.images.note import is_whole, read_options


@pytest.fixture(params=[1, 2, 7], ids=lambda number: f"{number} threads")
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    number: int = request.param
    monkeypatch.setattr(indexed_png, "worker_threads", lambda: number)
    return number


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that small images have many."""
    monkeypatch.setattr(indexed_png, "BLOCK_BYTES", 1000)


def header(data: bytes) -> tuple[int, ...]:
    return struct.unpack(">IIBB", next(chunks(data)).data[:10])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("n_colors", [*DEPTHS, 257, 1000])
@pytest.mark.usefixtures("small_blocks")
def test_pixels_are_those_of_the_labels(n_colors: int, size: tuple[int, int], tmp_path: Path) -> None:
    one = case(n_colors, size)
    data = write(tmp_path / "a.png", one)
    assert header(data) == (*size, DEPTHS.get(n_colors, 8), 3 if n_colors <= 256 else 2)
    assert (decoded(tmp_path / "a.png", 3) == one.pixels).all()
    assert (rows_of_png(data) == (one.labels if n_colors <= 256 else one.pixels)).all()


@pytest.mark.parametrize("n_colors", [2, 4, 16, 200, 400])
@pytest.mark.usefixtures("small_blocks")
def test_alpha(n_colors: int, tmp_path: Path) -> None:
    one = case(n_colors, (70, 90), 4)
    data = write(tmp_path / "a.png", one)
    assert header(data)[3] == (3 if n_colors <= 256 else 6)
    assert (decoded(tmp_path / "a.png", 4) == one.pixels).all()


@pytest.mark.parametrize("n_colors", [8, 200])
@pytest.mark.parametrize("n_channels", [3, 4])
def test_the_chunks_but_for_pixels_are_those_of_pillow(n_colors: int, n_channels: int, tmp_path: Path) -> None:
    one = case(n_colors, (70, 90), n_channels)
    written = write(tmp_path / "ours.png", one, note=NOTE, profile=PROFILE)
    ours, pillows = (
        [chunk for chunk in chunks(data) if chunk.kind != b"IDAT"]
        for data in (written, pillows_png(one, note=NOTE, profile=PROFILE))
    )
    assert ours == pillows
    assert len(ours) == 5 + n_channels - 3
    assert read_options(tmp_path / "ours.png") == {"n_colors": 8}
    assert is_whole(tmp_path / "ours.png")


@pytest.mark.parametrize("n_colors", [2, 16, 200, 400])
@pytest.mark.usefixtures("small_blocks", "n_threads")
def test_no_byte_depends_on_threads_or_strips(n_colors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = case(n_colors, (333, 222))
    found = {write(tmp_path / "a.png", one, heights) for heights in (1, 2, 50, 222, [3, 100, 1])}
    monkeypatch.setattr(indexed_png, "worker_threads", lambda: 1)
    assert found == {write(tmp_path / "a.png", one)}
    assert sum(chunk.kind == b"IDAT" for chunk in chunks(found.pop())) > 9


@pytest.mark.parametrize(("n_colors", "bits"), [(4, 2), (16, 4), (200, 8), (400, 24)])
@pytest.mark.parametrize("compression", [0, 1, 6, 9])
@pytest.mark.usefixtures("small_blocks")
def test_compression(n_colors: int, bits: int, compression: int, tmp_path: Path) -> None:
    one = case(n_colors, (300, 300))
    data = write(tmp_path / "a.png", one, compression=compression)
    assert (decoded(tmp_path / "a.png", 3) == one.pixels).all()
    assert (len(data) > 300 * 300 * bits / 8) == (compression == 0)


@pytest.mark.parametrize("n_colors", [2, 4, 16, 200])
def test_as_small_as_pillows(n_colors: int, tmp_path: Path) -> None:
    one = case(n_colors, (1800, 1800))
    assert len(write(tmp_path / "a.png", one)) < 1.01 * len(pillows_png(one))


def test_rgb_is_as_small_as_pillows(tmp_path: Path) -> None:
    across = np.add.outer(np.arange(900), np.arange(900)) // 3
    one = Case(
        (across + np.random.default_rng(0).integers(0, 9, (900, 900))).astype(np.uint16), np.zeros((700, 3), "u1")
    )
    one.colors[:] = np.linspace((0, 30, 90), (255, 200, 120), 700)
    assert len(write(tmp_path / "a.png", one)) < 1.05 * len(pillows_png(one))


def test_chunks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed_png, "MOST_IN_CHUNK", 100)
    one = case(200, (300, 300))
    data = write(tmp_path / "a.png", one, compression=0)
    assert max(len(chunk.data) for chunk in chunks(data) if chunk.kind == b"IDAT") == 100
    assert (decoded(tmp_path / "a.png", 3) == one.pixels).all()


@settings(max_examples=60)
@given(cases(), st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 300))
def test_any_image_in_any_strips(one: Case, heights: list[int], n_workers: int, block_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(indexed_png, "BLOCK_BYTES", block_bytes)
        patch.setattr(indexed_png, "WINDOW", 64)
        patch.setattr(indexed_png, "worker_threads", lambda: n_workers)
        data = write(Path(folder) / "a.png", one, heights)
        assert (decoded(Path(folder) / "a.png", one.colors.shape[1]) == one.pixels).all()
        assert (rows_of_png(data) == (one.labels if len(one.colors) <= 256 else one.pixels)).all()


@pytest.mark.parametrize("reader", ["cv2", "pyvips", "png"])
@pytest.mark.parametrize("n_colors", [2, 4, 16, 200, 400])
@pytest.mark.usefixtures("small_blocks")
def test_other_readers(reader: str, n_colors: int, tmp_path: Path) -> None:
    library = pytest.importorskip(reader)
    read: dict[str, Callable[[str], np.ndarray]] = {
        "cv2": lambda path: library.imread(path)[..., ::-1],
        "pyvips": lambda path: library.Image.new_from_file(path).numpy()[..., :3],
        "png": lambda path: np.array([*library.Reader(bytes=Path(path).read_bytes()).asRGB8()[2]]).reshape(222, 333, 3),
    }
    one = case(n_colors, (333, 222))
    write(tmp_path / "a.png", one)
    assert (read[reader](str(tmp_path / "a.png")) == one.pixels).all()


def test_sums_of_parts() -> None:
    draws = np.random.default_rng(0)
    for n_first, n_second in ((0, 0), (1, 0), (0, 9), (5, 70_000), (70_000, 3)):
        first, second = (draws.integers(250, 256, number, dtype=np.uint8).tobytes() for number in (n_first, n_second))
        joined = joined_adler(zlib.adler32(first), zlib.adler32(second), len(second))
        assert joined == zlib.adler32(first + second)
    assert joined_adler(zlib.adler32(b"a"), 1, 0) == zlib.adler32(b"a")


@pytest.mark.parametrize("n_colors", [2, 200, 400])
def test_rows_of_millions_of_pixels(n_colors: int, tmp_path: Path) -> None:
    one = case(n_colors, (3_000_001, 2))
    data = write(tmp_path / "a.png", one, 1)
    assert (rows_of_png(data) == (one.labels if n_colors <= 256 else one.pixels)).all()
