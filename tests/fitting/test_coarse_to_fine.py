"""Palettes of many photos at once are those of each alone."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import Pixels

from gpuquant.colors.spaces import OKLAB, SRGB, WorkingSpace
from gpuquant.counting.histogram import ColorHistogram
from gpuquant.fitting import coarse_to_fine
from gpuquant.fitting.coarse_to_fine import fit_palettes
from gpuquant.fitting.problem import Level, PaletteProblem

Counted = tuple[torch.Tensor, torch.Tensor]
SETTINGS: dict[str, Any] = {"init": "k-means++", "n_init": 1, "max_iter": 300, "tol": 1e-4, "random_state": 3}


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


@pytest.mark.parametrize("space", [SRGB, OKLAB], ids=["srgb", "oklab"])
@pytest.mark.parametrize(
    ("n_colors", "effort"),
    [(one, "default") for one in (1, 2, 9, 64, 300)] + [(2, "fast")] + [(one, "best") for one in (2, 9, 300)],
)
def test_company_changes_nothing(photos: list[Counted], n_colors: int, effort: str, space: WorkingSpace) -> None:
    if n_colors == 300 or space is OKLAB:
        photos = [one for one in photos if len(one[0]) < 8000]
    settings = SETTINGS | {"effort": effort}
    found = fit_palettes([PaletteProblem(*photo, space) for photo in photos], n_colors, **settings)
    for photo, fit in zip(photos, found, strict=True):
        (alone,) = fit_palettes([PaletteProblem(*photo, space)], n_colors, **settings)
        assert torch.equal(fit.palette, alone.palette)
        assert torch.equal(fit.labels, alone.labels)
        assert torch.equal(fit.counts, alone.counts)
        assert (fit.error, fit.inertia, fit.n_iter, fit.converged) == (
            alone.error, alone.inertia, alone.n_iter, alone.converged
        )  # fmt: skip


def test_photos_of_similar_size_go_together(photos: list[Counted], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[list[int]] = []
    original = coarse_to_fine._together

    def together(levels: list[Level]) -> object:
        sizes.append([len(one) for one in levels])
        return original(levels)

    monkeypatch.setattr(coarse_to_fine, "_together", together)
    fit_palettes([PaletteProblem(*photo) for photo in photos], 8, **SETTINGS)
    assert max(len(group) for group in sizes) >= 3
    assert all(max(group) <= 2 * min(group) for group in sizes)


@pytest.mark.parametrize(("n_colors", "n_candidates"), [(8, [1, 1]), (16, [1, 2]), (40, [1, 1]), (80, [1, 1])])
def test_the_best_effort_tries_more_on_all_colors(
    photos: list[Counted], n_colors: int, n_candidates: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[torch.Tensor] = []
    original = coarse_to_fine._best_of

    def best_of(problems: Any, some: dict[int, torch.Tensor], *others: Any, **pace: Any) -> Any:
        starts.extend(some.values())
        return original(problems, some, *others, **pace)

    monkeypatch.setattr(coarse_to_fine, "_best_of", best_of)
    (default,) = fit_palettes([PaletteProblem(*photos[0])], n_colors, **SETTINGS)
    (first,) = starts
    (best,) = fit_palettes([PaletteProblem(*photos[0])], n_colors, effort="best", **SETTINGS)
    assert [len(some) for some in starts[1:]] == n_candidates
    assert torch.equal(starts[1], first)
    assert best.error <= default.error
