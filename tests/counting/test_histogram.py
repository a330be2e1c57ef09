import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Pixels
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.colors.codes import z_order
from gpuquant.counting import histogram as histogram_module
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.ops.points import color_cells, cpu_coarse


def counted(*images: Pixels) -> ColorHistogram:
    histogram = ColorHistogram()
    for image in images:
        histogram.add(image)
    return histogram


def as_dict(histogram: ColorHistogram) -> dict[tuple[int, ...], int]:
    return dict(zip(map(tuple, histogram.colors.tolist()), histogram.counts.tolist(), strict=True))


def test_counts_every_color_exactly(china: Pixels) -> None:
    histogram = counted(china)
    colors, counts = np.unique(china.reshape(-1, 3), axis=0, return_counts=True)
    assert as_dict(histogram) == dict(zip(map(tuple, colors.tolist()), counts.tolist(), strict=True))
    assert histogram.n_pixels == china.size // 3
    assert len(histogram) == len(colors)


def test_colors_come_in_z_order(china: Pixels) -> None:
    keys = z_order(counted(china).colors)
    assert bool((keys[1:] > keys[:-1]).all())


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 200), levels=st.integers(1, 256))
def test_merging_equals_counting_together(seed: int, cut: int, levels: int) -> None:
    pixels = np.random.RandomState(seed).randint(0, levels, (200, 3)).astype(np.uint8)
    together = as_dict(counted(pixels))
    assert sum(together.values()) == 200
    assert as_dict(counted(pixels[:cut], pixels[cut:])) == together
    assert as_dict(counted(pixels[:cut]) + counted(pixels[cut:])) == together


def test_sum_leaves_its_parts_alone(china: Pixels) -> None:
    one, other = counted(china[:50]), counted(china[50:])
    before = as_dict(one)
    assert as_dict(one + other) != before
    assert as_dict(one) == before


def test_gray_is_three_equal_levels() -> None:
    gray = np.array([[0, 7], [7, 255]], np.uint8)
    assert as_dict(counted(gray)) == {(0, 0, 0): 1, (7, 7, 7): 2, (255, 255, 255): 1}


@pytest.mark.parametrize("few", [0, 30_000, histogram_module.FEW_COLORS])
def test_many_parts_and_reading_between_them(few: int, china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are added up."""
    monkeypatch.setattr(histogram_module, "FEW_COLORS", few)
    histogram, together = ColorHistogram(), as_dict(counted(china))
    for strip in np.array_split(china, 7):
        n_before = histogram.n_pixels
        histogram.add(strip)
        assert histogram.n_pixels == n_before + strip.size // 3
    assert as_dict(histogram) == together
    assert torch.equal(histogram.colors, counted(china).colors)


@pytest.mark.parametrize("few", [0, 30_000])
def test_threads_may_add(few: int, china: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(histogram_module, "FEW_COLORS", few)
    histogram = ColorHistogram()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(histogram.add, np.array_split(china, 16)))
    assert as_dict(histogram) == as_dict(counted(china))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 200), opaque=st.booleans())
def test_colors_with_alpha(seed: int, cut: int, opaque: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    pixels = np.random.RandomState(seed).choice([0, 5, 255], (200, 4)).astype(np.uint8)
    pixels[pixels[:, 3] == 0] = 0
    pixels[:, 3] |= 255 * opaque
    expected, counts = np.unique(pixels, axis=0, return_counts=True)
    histogram = ColorHistogram()
    for part in (pixels[:cut], pixels[cut:]):
        histogram.add_counted(*map(torch.from_numpy, np.unique(part, axis=0, return_counts=True)))
    by_color = dict(zip(map(tuple, expected[:, : 3 if opaque else 4].tolist()), counts.tolist(), strict=True))
    assert as_dict(histogram) == by_color
    assert bool((histogram.colors[:-1] != histogram.colors[1:]).any(dim=1).all())
    assert as_dict(histogram + ColorHistogram()) == by_color
    path = tmp_path_factory.mktemp("histogram") / "colors.npz"
    histogram.save(path)
    assert as_dict(ColorHistogram.load(path)) == by_color


def test_it_can_be_sent_to_other_processes(china: Pixels) -> None:
    histogram = counted(china[:9], china[9:])
    sent = pickle.loads(pickle.dumps(histogram))
    sent.add(china)
    assert sent.n_pixels == 2 * histogram.n_pixels
    assert as_dict(copy.deepcopy(histogram)) == as_dict(histogram)


def test_points_are_colors_and_weights(china: Pixels) -> None:
    points, weights = counted(china).points()
    assert (points.dtype, weights.dtype) == (torch.uint8, torch.float64)
    assert float(weights.sum()) == china.size // 3


def test_file_round_trip(china: Pixels, tmp_path: Path) -> None:
    histogram = counted(china)
    histogram.save(tmp_path / "colors.hist")
    assert as_dict(ColorHistogram.load(tmp_path / "colors.hist")) == as_dict(histogram)


@pytest.mark.parametrize("content", [b"", b"not a histogram", b"PK\x03\x04 broken"])
def test_a_damaged_file_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(ImageFileError, match="bad"):
        ColorHistogram.load(tmp_path / "bad")
    with pytest.raises(ImageFileError, match="missing"):
        ColorHistogram.load(tmp_path / "missing")


def test_counts_must_be_positive(tmp_path: Path) -> None:
    np.savez(tmp_path / "negative.npz", colors=np.zeros((1, 3), np.uint8), counts=np.array([-1]))
    with pytest.raises(ImageFileError, match="counts"):
        ColorHistogram.load(tmp_path / "negative.npz")
    np.savez(tmp_path / "endless.npz", colors=np.eye(3, dtype=np.uint8), counts=np.full(3, 2**62))
    with pytest.raises(ImageFileError, match="does not hold a histogram"):
        ColorHistogram.load(tmp_path / "endless.npz")


def test_only_8_bit_pixels() -> None:
    with pytest.raises(ArgumentError, match="uint8"):
        ColorHistogram().add(np.zeros((2, 2, 3)))
    with pytest.raises(ArgumentError, match="list"):
        ColorHistogram().add([[0, 0, 0]])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="chunk_size"):
        ColorHistogram().add(np.zeros((2, 2, 3), np.uint8), chunk_size=-1)


@pytest.mark.parametrize("coarsen", [cpu_coarse.coarsen, color_cells.coarsen])
def test_coarsen_by_hand(coarsen: Any) -> None:
    colors = torch.tensor([[0, 0, 0], [3, 0, 0], [200, 200, 200]], dtype=torch.uint8)
    (cells,) = coarsen(colors, torch.tensor([3, 1, 5]), [5])
    # (3 * 0 + 1 * 3) / 4 = 0.75 rounds to 1; the error is (3 * 1 + 1 * 4) / 9
    assert cells.colors.tolist() == [[1, 0, 0], [200, 200, 200]]
    assert cells.counts.tolist() == [4, 5]
    assert cells.error == pytest.approx(7 / 9)


@pytest.mark.parametrize("coarsen", [cpu_coarse.coarsen, color_cells.coarsen])
@pytest.mark.parametrize("at_once", [1 << 14, 1 << 10, 7])
def test_coarser_levels_nest(china: Pixels, monkeypatch: pytest.MonkeyPatch, at_once: int, coarsen: Any) -> None:
    """However the colors are parted: a cell may have some in several parts."""
    monkeypatch.setattr(color_cells, "COLORS_AT_ONCE", at_once)
    monkeypatch.setattr(cpu_coarse, "MANY", at_once)
    china = china if at_once > 7 else china[::9, ::9]
    histogram = counted(china)
    levels = coarsen(histogram.colors, histogram.counts, (7, 6, 5))
    for bits, level in zip((7, 6, 5), levels, strict=True):
        cells, inverse = np.unique(china.reshape(-1, 3) >> (8 - bits), axis=0, return_inverse=True)
        assert len(level.counts) == len(cells)
        assert sorted(level.counts.tolist()) == sorted(np.bincount(inverse.reshape(-1)).tolist())
    assert levels[0].error < levels[1].error < levels[2].error
