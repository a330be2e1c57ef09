"""From counted colours to a palette: k-means from coarse to fine, then rounding."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.histogram import coarsen
from gpuquant.initialization import kmeans_plus_plus, random_points
from gpuquant.lloyd import Runs, lloyd, runs_together

# measured on photos at K = 8, 64 and 256: a quarter fewer iterations than without momentum, and no higher error
RELAXATION = 1.5
MOMENTUM = 0.6
SEEDING_COLORS = 1 << 16  # k-means++ chooses among at most about this many colours or cell means
CELLS_PER_COLOR = 32  # fewer cells than that are not worth a try: they lose too much (measured)
START_PAIRS = 1 << 18  # pairs of cell and color that may be spent on starts: only the best is continued
MAX_STARTS = 8
COARSE_BITS = (6, 5)
COARSE_TOL = 8.0  # coarse levels may stop that much sooner: the iterations that follow make up for it (measured)
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


def lossless(colors: Tensor, counts: Tensor) -> PaletteFit:
    """All colours as entries."""
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
    random_state: int,
    chunk_size: int | None = None,
) -> PaletteFit:
    """The palette of the best of `n_init` runs (one from given centers), or all colours where there are no more."""
    if len(colors) <= n_colors:
        return lossless(colors, counts)
    points = ops.point_set(colors[None], counts[None], chunk_size=chunk_size)
    levels: list[tuple[ops.PointSet, float]] = []
    if isinstance(init, Tensor):
        n_init = 1
    elif init == "k-means++":
        folded = [level for level in coarsen(colors, counts, COARSE_BITS)[::-1] if n_colors < len(level.counts)]
        levels = [(ops.point_set(level.colors[None], level.counts[None]), level.error) for level in folded]
    draws = np.random.RandomState(random_state)
    best: tuple[Runs, int] | None = None
    at_once = runs_together(len(colors), n_colors, colors.device)
    for first in range(0, n_init, at_once):
        n_runs = min(at_once, n_init - first)
        if isinstance(init, Tensor):
            centers = init.to(colors.device)[None]
        elif init == "random":
            drawn = [random_points(colors, counts.double(), n_colors, draws) for _ in range(n_runs)]
            centers = torch.stack(drawn)
        else:
            seeds = ([random_state, run] for run in range(first, first + n_runs))
            centers = torch.stack([_coarse_centers(points, levels, n_colors, tol, seed) for seed in seeds])
        runs = lloyd(points, centers, max_iter=max_iter, tol=tol, relaxation=RELAXATION, momentum=MOMENTUM)
        lowest = runs.inertia.index(min(runs.inertia))
        if best is None or runs.inertia[lowest] < best[0].inertia[best[1]]:
            best = runs, lowest
    assert best is not None
    return _settle(*best)


def _coarse_centers(
    points: ops.PointSet,
    levels: list[tuple[ops.PointSet, float]],  # coarse to fine: cells and what is lost by them, per pixel
    n_colors: int,
    tol: float,
    seed: list[int],
) -> Tensor:  # [K, 3] float64
    """k-means++ on the coarsest cells that do, then Lloyd steps on finer and finer cells as far as they help."""
    starts, potential = _seeds(points, levels, n_colors, seed)
    for cells, error in levels:
        if error <= COARSE_ERROR * potential and cells.n_points < points.n_points // 2:
            runs = lloyd(cells, starts, max_iter=300, tol=COARSE_TOL * tol, relaxation=RELAXATION, momentum=MOMENTUM)
            starts = runs.centers[runs.inertia.index(min(runs.inertia)), None]
    return starts[0]


def _seeds(
    points: ops.PointSet, levels: list[tuple[ops.PointSet, float]], n_colors: int, seed: list[int]
) -> tuple[Tensor, float]:  # [n_starts, K, 3] float64, the best first, and its error per pixel
    """k-means++ on the first cells that lose little beside the palette: many times where that is cheap."""
    sizes = range(CELLS_PER_COLOR * n_colors, SEEDING_COLORS + 1)
    choices = [(cells, error) for cells, error in levels if cells.n_points in sizes]
    if points.n_points <= SEEDING_COLORS or not levels:
        choices.append((points, 0.0))
    elif not choices:
        choices.append((levels[0][0], 0.0))
    for cells, error in choices:
        total = float(cells.total_weight)
        least = error * total / COARSE_ERROR if cells is not choices[-1][0] else 0.0
        n_starts = min(MAX_STARTS, max(1, START_PAIRS // (cells.n_points * n_colors)))
        draws = np.random.RandomState(seed)
        centers, potentials = kmeans_plus_plus(cells, n_colors, [draws], n_starts, least=least)
        if min(potentials) >= least:
            break
    order = sorted(range(n_starts), key=potentials.__getitem__)
    return centers[order], potentials[order[0]] / total


def _settle(runs: Runs, run: int) -> PaletteFit:
    """Round the centers of a run to a palette of different, used entries, and settle it by Lloyd steps on integers.

    The mean rounded is the best integer entry for given labels, and an unused entry is replaced by the colour farthest
    from its entry; both lower the error, which is an integer, so this ends.
    """
    state = runs.state
    centers = state.enter(runs.centers.round())  # integers in the coordinates of the run, too
    best: PaletteFit | None = None
    while True:
        sums, weights, _ = state.step(centers[run, None], [run])
        unused = (weights[0] == 0).nonzero().view(-1)
        if len(unused):
            replacements, _, _ = state.farthest(run, len(unused), centers[run])
            centers[run, unused[: len(replacements)]] = replacements
            continue
        error = state.inertia(centers)[run]
        if best is not None and error >= best.error:
            return best
        best = PaletteFit(
            palette=state.leave(centers)[run].to(torch.uint8),
            labels=state.labels_of_points()[run],
            counts=weights[0].to(torch.int64),
            error=error,
            inertia=runs.inertia[run],
            n_iter=runs.n_iter[run],
            converged=runs.converged[run],
        )
        centers[run] = (sums[0] / weights[0, :, None]).round()
