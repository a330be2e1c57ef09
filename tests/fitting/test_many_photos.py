"""Palettes of many photos at once are those of each alone."""

import numpy as np
import pytest
import torch
from conftest import Pixels

from gpuquant.counting.histogram import ColorHistogram
from gpuquant.fitting import coarse_to_fine as palette_batch
from gpuquant.fitting.coarse_to_fine import Cells, fit_palette, fit_palettes

Counted = tuple[torch.Tensor, torch.Tensor]


def counted(pixels: Pixels) -> Counted:
    histogram = ColorHistogram()
    histogram.add(pixels)
    return histogram.colors, histogram.counts


@pytest.fixture(scope="module")
def photos(china: Pixels) -> list[Counted]:
    """Of many sizes; one of few colors, one of one, noise."""
    random = np.random.RandomState(0)
    noise = random.randint(0, 256, (300, 300, 3)).astype(np.uint8)
    pixels = [
        china,
        china[::2],
        china[:40],
        china // 9 * 9,
        noise,
        china[:1, :1],
        china[:2, :7],
        255 - china,
        noise // 2,
    ]
    return [counted(np.ascontiguousarray(one)) for one in pixels]


@pytest.mark.parametrize("n_colors", [1, 2, 9, 64, 300])
def test_company_changes_nothing(photos: list[Counted], n_colors: int) -> None:
    if n_colors == 300:
        photos = [one for one in photos if len(one[0]) < 8000]
    found = fit_palettes(photos, n_colors, max_iter=300, tol=1e-4, random_state=3)
    for (colors, counts), fit in zip(photos, found, strict=True):
        alone = fit_palette(
            colors, counts, n_colors, init="k-means++", n_init=1, max_iter=300, tol=1e-4, random_state=3
        )
        assert torch.equal(fit.palette, alone.palette)
        assert torch.equal(fit.labels, alone.labels)
        assert torch.equal(fit.counts, alone.counts)
        assert (fit.error, fit.inertia, fit.n_iter, fit.converged) == (
            alone.error, alone.inertia, alone.n_iter, alone.converged
        )  # fmt: skip


def test_photos_of_similar_size_go_together(photos: list[Counted], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []
    original = palette_batch._together

    def together(cells: list[Cells]) -> object:
        sizes.append([len(one) for one in cells])
        return original(cells)

    monkeypatch.setattr(palette_batch, "_together", together)
    fit_palettes(photos, 8, max_iter=300, tol=1e-4, random_state=0)
    assert max(len(group) for group in sizes) >= 3
    assert all(max(group) <= 2 * min(group) for group in sizes)
