"""From counted colours to a palette: k-means from coarse to fine, then rounding."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.histogram import CoarseColors, coarsen
from gpuquant.initialization import kmeans_plus_plus, random_points
from gpuquant.lloyd import TOGETHER, Runs, lloyd

# measured on photos at K = 8, 64 and 256: a quarter fewer iterations than without momentum, and no higher error
RELAXATION = 1.5
MOMENTUM = 0.6
SEEDING_COLORS = 1 << 16  # k-means++ chooses among at most about this many colours or cell means
CELLS_PER_COLOR = 32  # fewer cells than that are not worth a try: they lose too much (measured)
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
    random_state: int,
    chunk_size: int | None = None,
) -> PaletteFit:
    """The palette of the best of `n_init` runs (one from given centers), or all colours where there are no more."""
    if len(colors) <= n_colors:
        return _lossless(colors, counts)
    points = ops.point_set(colors[None], counts[None], chunk_size=chunk_size)
    levels: list[CoarseColors] = []
    if isinstance(init, Tensor):
        n_init = 1
    elif init == "k-means++":
        levels = [level for level in coarsen(colors, counts, COARSE_BITS)[::-1] if n_colors < len(level.counts)]
    draws = np.random.RandomState(random_state)
    best: tuple[Runs, int, float] | None = None
    at_once = max(1, TOGETHER // len(colors))
    for first in range(0, n_init, at_once):
        n_runs = min(at_once, n_init - first)
        if isinstance(init, Tensor):
            centers = init.to(colors.device)[None]
        elif init == "random":
            drawn = [random_points(colors, counts.double(), n_colors, draws) for _ in range(n_runs)]
            centers = torch.stack(drawn)
        else:
            centers = _coarse_centers(points, levels, n_colors, range(first, first + n_runs), tol, random_state)
        runs = lloyd(points, centers, max_iter=max_iter, tol=tol, relaxation=RELAXATION, momentum=MOMENTUM)
        inertia = runs.state.inertia(runs.centers)
        lowest = min(range(n_runs), key=inertia.__getitem__)
        if best is None or inertia[lowest] < best[2]:
            best = runs, lowest, inertia[lowest]
    assert best is not None
    return _settle(*best)


def _coarse_centers(
    points: ops.PointSet,
    levels: list[CoarseColors],  # coarse to fine
    n_colors: int,
    runs: range,
    tol: float,
    random_state: int,
) -> Tensor:  # [n_runs, K, 3] float64
    """k-means++ on the coarsest cells that do, then Lloyd steps on finer and finer cells as far as they help."""
    sets = [ops.point_set(level.colors[None], level.counts[None]) for level in levels]
    seeding_cells = range(CELLS_PER_COLOR * n_colors, SEEDING_COLORS + 1)
    small = [index for index, cells in enumerate(sets) if cells.n_points in seeding_cells]
    choices = [(sets[index], levels[index].error) for index in small]
    if points.n_points <= SEEDING_COLORS or not levels:
        choices.append((points, 0.0))
    elif not choices:
        choices.append((sets[0], 0.0))
    found = [_seeds(choices, n_colors, [random_state, run]) for run in runs]
    centers = torch.stack([seeds for seeds, _ in found])
    for level, cells in zip(levels, sets, strict=True):
        helped = [run for run, (_, error) in enumerate(found) if level.error <= COARSE_ERROR * error]
        if helped and cells.n_points < points.n_points // 2:
            settled = lloyd(
                cells, centers[helped], max_iter=300, tol=COARSE_TOL * tol, relaxation=RELAXATION, momentum=MOMENTUM
            )
            centers[helped] = settled.centers
    return centers


def _seeds(
    choices: list[tuple[ops.PointSet, float]],  # coarse to fine: cells and what is lost by them, per pixel
    n_colors: int,
    seed: list[int],
) -> tuple[Tensor, float]:  # [K, 3] float64 and their error per pixel
    """k-means++ on the first cells that lose little beside the palette; the last ones are always taken."""
    for cells, cell_error in choices[:-1]:
        total = float(cells.total_weight)
        least = cell_error * total / COARSE_ERROR
        centers, (potential,) = kmeans_plus_plus(cells, n_colors, [np.random.RandomState(seed)], least=least)
        if potential >= least:
            return centers[0], potential / total
    cells, _ = choices[-1]
    centers, (potential,) = kmeans_plus_plus(cells, n_colors, [np.random.RandomState(seed)])
    return centers[0], potential / float(cells.total_weight)


def _settle(runs: Runs, run: int, inertia: float) -> PaletteFit:
    """Round the centers of a run to a palette of different, used entries, and settle it by Lloyd steps on integers.

    The mean rounded is the best integer entry for given labels, and an unused entry is replaced by the colour farthest
    from its entry; both lower the error, which is an integer, so this ends.
    """
    state = runs.state
    centers = runs.centers.round().clamp(0, 255)
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
            palette=centers[run].to(torch.uint8),
            labels=state.labels_of_points()[run],
            counts=weights[0].to(torch.int64),
            error=error,
            inertia=inertia,
            n_iter=runs.n_iter[run],
            converged=runs.converged[run],
        )
        centers[run] = (sums[0] / weights[0, :, None]).round()
