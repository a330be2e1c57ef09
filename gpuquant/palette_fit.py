"""From counted colours to a palette: k-means from coarse to fine, then rounding."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering import lloyd
from gpuquant.histogram import CoarseColors, coarsen
from gpuquant.initialization import kmeans_plus_plus, random_points

# 1.0 needs half as many iterations again, 1.8 fewer for some photos only (measured)
RELAXATION = 1.5
SEEDING_COLORS = 1 << 16  # k-means++ chooses among at most about this many colours or cell means
COARSE_BITS = (7, 6, 5)
COARSE_ERROR = 0.25  # a coarse level is used while its own error is at most this share of the seeding's


@dataclass(frozen=True, eq=False)
class PaletteFit:
    """A palette settled on all colours."""

    palette: Tensor  # [K, 3] uint8
    labels: Tensor  # [M] int32
    counts: Tensor  # [K] int64
    error: float  # sum over pixels of the squared distance to the palette entry
    inertia: float
    n_iter: int
    converged: bool


def _lossless(colors: Tensor, counts: Tensor) -> PaletteFit:
    labels = torch.arange(len(colors), dtype=torch.int32, device=colors.device)
    return PaletteFit(colors, labels, counts, error=0.0, inertia=0.0, n_iter=0, converged=True)


def fit_palette(
    colors: Tensor,  # [M, 3] uint8, distinct, in Z-order
    counts: Tensor,  # [M] int64
    n_colors: int,
    *,
    init: str | Tensor,
    n_init: int,
    max_iter: int,
    tol: float,
    random_state: np.random.RandomState,
) -> PaletteFit:
    """The best palette of `n_init` runs (one from given centers), or all colours where there are no more."""
    if len(colors) <= n_colors:
        return _lossless(colors, counts)
    points = ops.point_set(colors, counts)
    if isinstance(init, Tensor):
        return _fit_from(points, init.to(colors.device), max_iter, tol)
    if init == "random":
        starts = (random_points(colors, counts.double(), n_colors, random_state) for _ in range(n_init))
    else:
        levels = [level for level in coarsen(colors, counts, COARSE_BITS)[::-1] if n_colors < len(level.counts)]
        starts = (_coarse_centers(points, levels, n_colors, tol, random_state) for _ in range(n_init))
    return min((_fit_from(points, centers, max_iter, tol) for centers in starts), key=lambda fit: fit.error)


def _coarse_centers(
    points: ops.PointSet,
    levels: list[CoarseColors],  # coarse to fine
    n_colors: int,
    tol: float,
    random_state: np.random.RandomState,
) -> Tensor:  # [K, 3] float64
    """k-means++, then Lloyd steps on coarser cells as far as they help."""
    n_points = len(points.weights.view(-1))
    seeding = points
    if n_points > SEEDING_COLORS and levels:
        small = [level for level in levels if len(level.counts) <= SEEDING_COLORS] or levels[:1]
        seeding = ops.point_set(small[-1].colors, small[-1].counts)
    centers, potential = kmeans_plus_plus(seeding, n_colors, random_state)
    limit = COARSE_ERROR * potential / seeding.total_weight
    for level in levels:
        if level.error <= limit and len(level.counts) < n_points // 2:
            coarse = ops.point_set(level.colors, level.counts)
            centers = lloyd(coarse, centers, max_iter=300, tol=tol, relaxation=RELAXATION).centers
    return centers


def _fit_from(points: ops.PointSet, centers: Tensor, max_iter: int, tol: float) -> PaletteFit:
    """Lloyd steps on all colours, then the palette."""
    run = lloyd(points, centers, max_iter=max_iter, tol=tol, relaxation=RELAXATION)
    inertia = run.state.inertia(run.centers)
    palette, labels, weights, error = _settle(run.state, run.centers)
    return PaletteFit(palette, labels, weights, error, inertia, run.n_iter, run.converged)


def _settle(state: ops.Lloyd, centers: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """Round centers to a palette of different entries, each used, and settle it by Lloyd steps on integers.

    Returns the palette uint8 [K, 3], labels int32 [M], counts int64 [K] and the summed squared error. The mean rounded
    is the best integer entry for given labels, and an unused entry is replaced by the colour farthest from its
    entry; both lower the error, which is an integer, so this ends.
    """
    palette = centers.round().clamp(0, 255)
    best: tuple[Tensor, Tensor, Tensor, float] | None = None
    while True:
        sums, weights, _ = state.step(palette)
        unused = (weights == 0).nonzero().view(-1)
        if len(unused):
            replacements, _, _ = state.farthest(len(unused), palette)
            palette = palette.index_copy(0, unused[: len(replacements)], replacements)
            continue
        error = state.inertia(palette)
        if best is not None and error >= best[3]:
            return best
        best = palette.to(torch.uint8), state.labels_of_points(), weights.to(torch.int64), error
        palette = (sums / weights[:, None]).round()
