"""The table of nearest entries, against all distances."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gpuquant.ops.dithering import nearest_table
from gpuquant.ops.dithering.nearest_table import UNKNOWN, NearestTable

Pixels = npt.NDArray[np.uint8]


def first_of_the_nearest(colors: Pixels, palette: Pixels) -> npt.NDArray[np.int64]:
    apart = np.square(colors.astype(np.int64)[:, None] - palette.astype(np.int64)).sum(axis=2)
    found: npt.NDArray[np.int64] = apart.argmin(axis=1)
    return found


def colors_of(codes: npt.NDArray[np.int64]) -> Pixels:
    return np.stack([codes & 255, codes >> 8 & 255, codes >> 16], axis=1).astype(np.uint8)


def palette_of(n_colors: int, spread: float, seed: int = 0) -> Pixels:
    palette = 60 + spread * np.random.default_rng(seed).integers(0, 192, (n_colors, 3))
    palette[n_colors // 2] = palette[0]  # twice there
    return palette.astype(np.uint8)


@pytest.mark.parametrize(
    ("n_colors", "spread"), [(1, 1.0), (2, 1.0), (3, 0.1), (16, 1.0), (256, 0.3), (600, 1.0), (3000, 0.2)]
)
def test_the_whole_cube(n_colors: int, spread: float) -> None:
    palette = palette_of(n_colors, spread)
    nearest = NearestTable(torch.from_numpy(palette))
    nearest.fill()
    codes = np.random.default_rng(1).integers(0, 1 << 24, 3000)
    found = nearest.table.numpy()[codes]
    np.testing.assert_array_equal(found, first_of_the_nearest(colors_of(codes), palette))
    assert int(nearest.table.min()) >= 0


@pytest.mark.parametrize(("n_colors", "words"), [(32_767, torch.int16), (65_536, torch.int32)])
def test_large_palettes_where_they_are_asked_for(n_colors: int, words: torch.dtype) -> None:
    palette = palette_of(n_colors, 1.0)
    nearest = NearestTable(torch.from_numpy(palette))
    assert nearest.table.dtype == words
    codes = np.random.default_rng(2).integers(0, 1 << 24, 20)
    nearest.fill_around(torch.from_numpy(codes.astype(np.int32)))
    assert int(nearest.table.min()) == UNKNOWN
    np.testing.assert_array_equal(nearest.table.numpy()[codes], first_of_the_nearest(colors_of(codes), palette))


def test_cells_beside_those_asked_for_and_in_the_end_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_table, "MOST_REQUESTS", 2)
    nearest = NearestTable(torch.from_numpy(palette_of(9, 1.0)))
    for request in range(3):
        nearest.fill_around(torch.tensor([request << 11 | 100], dtype=torch.int32))  # red 100, green 8 x request
        known = (nearest.table.view(256, 256, 256) != UNKNOWN).nonzero()  # blue, green, red
        lows, highs = (known.amin(dim=0).tolist(), known.amax(dim=0).tolist())
        if request < 2:
            assert (lows, highs) == ([0, 0, 88], [15, 15 + 8 * request, 111])
    assert (lows, highs) == ([0, 0, 0], [255, 255, 255])
    assert len(known) == 1 << 24
