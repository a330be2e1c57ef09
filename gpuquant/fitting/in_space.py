"""From counted colors to a palette in a working space of floating-point columns: with alpha, or in Oklab.

k-means runs on the means of cells where there are many colors. Its centers are then rounded to 8-bit entries, and
these are settled on all colors.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant.clustering.batched import KMeansResult, kmeans
from gpuquant.clustering.breathing import breathe
from gpuquant.colors.spaces import WorkingSpace
from gpuquant.fitting.fit import Effort, PaletteFit, effort_for, lossless
from gpuquant.fitting.settling import settle_in_space
from gpuquant.tensors import repeatable_sums

MANY = 1 << 15  # more colors are folded for k-means
CELL_SIDES = (2, 4, 8, 16)
MOST_STARTS = 4  # of k-means; the best is kept


def fit_in_space(
    colors: Tensor,  # [M, 3] or [M, 4] uint8, distinct
    counts: Tensor,  # [M] int64
    n_colors: int,
    space: WorkingSpace,
    *,
    effort: str,
    **settings: Any,  # those of `kmeans`
) -> PaletteFit:  # whose error is measured in the working space
    """The palette that k-means finds in a working space, or all colors where there are no more."""
    if len(colors) <= n_colors:
        return lossless(colors, counts)
    points, cost = space.enter(colors), effort_for(settings["init"], effort)
    result = start_in_space(points, counts, n_colors, space, cost, **settings)
    return settle_in_space(colors, points, counts, space.leave(result.centers), space, result, cost)


def start_in_space(
    points: Tensor,  # [M, D] float64, distinct, more than n_colors
    counts: Tensor,  # [M] int64
    n_colors: int,
    space: WorkingSpace,
    cost: Effort,
    **settings: Any,  # those of `kmeans`
) -> KMeansResult:  # with centers in the working space
    """k-means on the points or on the means of their cells, and breathing k-means for the best effort."""
    cells, weights = _folded(points, counts)
    if len(cells) <= n_colors:
        cells, weights = points, counts
    if len(cells) < len(points) or cost.max_iter == 1:
        settings["tol"] *= cost.coarse_tol  # settling goes on from there
    if isinstance(settings["init"], Tensor):  # levels
        settings["init"] = space.enter(settings["init"].to(points.device))
    elif settings["init"] == "k-means++":
        settings["n_init"] = max(settings["n_init"], min(MOST_STARTS, cost.max_starts))
    result = kmeans(cells, n_colors, weights=weights, **settings)
    n_cycles = cost.cycles(len(cells), n_colors)
    if n_cycles:
        draws = np.random.RandomState([settings["random_state"], n_colors])
        result = replace(result, centers=breathe(cells, weights, result.centers, n_cycles=n_cycles, draws=draws))
    return result


def _folded(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:  # [M, D] float64, [M] -> [C, D], [C]
    """Many colors as the means of cells of the working space, which k-means takes in far less time."""
    for side in CELL_SIDES:
        if len(points) <= MANY:
            break
        keys = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        for digits in ((points - points.amin(dim=0)) / side).long().unbind(dim=1):
            keys = keys * 256 + digits
        cells, place = torch.unique(keys, return_inverse=True)
        columns = [*(points * weights[:, None]).unbind(dim=1), weights.double()]
        *sums, weights = (repeatable_sums(place, column, len(cells)) for column in columns)
        points = torch.stack(sums, dim=1) / weights[:, None]
    return points, weights
