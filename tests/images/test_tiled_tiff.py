"""TIFF files written strip by strip, against Pillow's reader (libtiff) and others."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sink_files import DEPTHS, NOTE, PROFILE, SIZES, Case, case, cases, decoded, write

from gpuquant.images import tiled_tiff
from gpuquant.images.note import is_whole, read_options


@pytest.fixture(params=[1, 2, 7], ids=lambda number: f"{number} threads")
def n_threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    number: int = request.param
    monkeypatch.setattr(tiled_tiff, "worker_threads", lambda: number)
    return number


@pytest.fixture(params=["classic", "big"])
def is_big(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """TIFF, and BigTIFF as for more than 4 GiB."""
    if request.param == "big":
        monkeypatch.setattr(tiled_tiff, "MOST_CLASSIC", 40)
    return bool(request.param == "big")


def tags(path: Path) -> dict[int, Any]:
    with Image.open(path) as image:
        return dict(image.tag_v2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("n_colors", [*DEPTHS, 257, 1000])
def test_pixels_are_those_of_the_labels(n_colors: int, size: tuple[int, int], is_big: bool, tmp_path: Path) -> None:
    one = case(n_colors, size)
    data = write(tmp_path / "a.tif", one)
    assert data[:4] == (b"II+\0" if is_big else b"II*\0")
    assert (decoded(tmp_path / "a.tif", 3) == one.pixels).all()
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == ("P" if n_colors <= 256 else "RGB")
        assert image.mode == "RGB" or (np.asarray(image) == one.labels).all()
    assert tags(tmp_path / "a.tif")[258] == ((DEPTHS[n_colors],) if n_colors <= 256 else (8, 8, 8))
    assert is_whole(tmp_path / "a.tif")


@pytest.mark.parametrize("n_colors", [2, 4, 16, 200, 400])
@pytest.mark.usefixtures("is_big")
def test_alpha(n_colors: int, tmp_path: Path) -> None:
    one = case(n_colors, (600, 90), 4)
    write(tmp_path / "a.tif", one)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "RGBA"
        assert (np.asarray(image) == one.pixels).all()


@pytest.mark.parametrize("n_colors", [8, 200, 400])
@pytest.mark.usefixtures("is_big")
def test_profile_and_note(n_colors: int, tmp_path: Path) -> None:
    write(tmp_path / "a.tif", case(n_colors, (70, 90)), note=NOTE, profile=PROFILE)
    with Image.open(tmp_path / "a.tif") as image:
        assert image.info["icc_profile"] == PROFILE
    assert read_options(tmp_path / "a.tif") == {"n_colors": 8}


@pytest.mark.parametrize("n_colors", [2, 16, 200, 400])
@pytest.mark.usefixtures("n_threads")
def test_no_byte_depends_on_threads_or_strips(n_colors: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_tiff, "TILE_SIDE", 32)
    one = case(n_colors, (333, 222))
    found = {write(tmp_path / "a.tif", one, heights) for heights in (1, 2, 50, 222, [3, 100, 1])}
    monkeypatch.setattr(tiled_tiff, "worker_threads", lambda: 1)
    assert found == {write(tmp_path / "a.tif", one)}


@pytest.mark.parametrize("compression", [0, 9])
def test_compression(compression: int, tmp_path: Path) -> None:
    one = case(200, (512, 512))
    data = write(tmp_path / "a.tif", one, compression=compression)
    assert (decoded(tmp_path / "a.tif", 3) == one.pixels).all()
    assert (len(data) > 512 * 512) == (compression == 0)


def test_tiles_of_wide_images_are_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_tiff, "MOST_IN_ROW", 3000)
    for width, height in ((60, 48), (100, 16), (700, 16)):
        one = case(8, (width, 90))
        write(tmp_path / "a.tif", one)
        assert tags(tmp_path / "a.tif")[323] == height
        assert (decoded(tmp_path / "a.tif", 3) == one.pixels).all()


@settings(max_examples=60)
@given(cases(), st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 3), st.booleans())
def test_any_image_in_any_strips(one: Case, heights: list[int], n_workers: int, big: bool) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(tiled_tiff, "TILE_SIDE", 16)
        patch.setattr(tiled_tiff, "MOST_CLASSIC", 40 if big else 1 << 32)
        patch.setattr(tiled_tiff, "worker_threads", lambda: n_workers)
        write(Path(folder) / "a.tif", one, heights)
        assert (decoded(Path(folder) / "a.tif", one.colors.shape[1]) == one.pixels).all()


@pytest.mark.parametrize("reader", ["tifffile", "pyvips"])
@pytest.mark.parametrize(("n_colors", "n_channels"), [(2, 3), (4, 3), (16, 3), (200, 3), (400, 3), (16, 4), (400, 4)])
@pytest.mark.usefixtures("is_big")
def test_other_readers(reader: str, n_colors: int, n_channels: int, tmp_path: Path) -> None:
    library = pytest.importorskip(reader)
    one = case(n_colors, (700, 530), n_channels)
    write(tmp_path / "a.tif", one, note=NOTE, profile=PROFILE)
    read: dict[str, Callable[[str], np.ndarray]] = {
        "tifffile": lambda path: library.imread(path),
        "pyvips": lambda path: library.Image.new_from_file(path).numpy()[..., :n_channels],
    }
    try:
        found = read[reader](str(tmp_path / "a.tif"))
    except NotImplementedError:  # tifffile reads 2 and 4 bits with another library
        pytest.skip("imagecodecs is missing")
    is_labels = reader == "tifffile" and n_colors <= 256 and n_channels == 3
    assert (found == (one.labels if is_labels else one.pixels)).all()
