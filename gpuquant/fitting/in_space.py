"""From counted colors to a palette in a working space of floating-point columns: with alpha, or in Oklab.

k-means runs on the means of cells where there are many colors. Its centers are then rounded to 8-bit entries, and
these are settled on all colors.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.batched import KMeansResult, kmeans
from gpuquant.clustering.breathing import breathe
from gpuquant.colors.alpha import OPAQUE, weighted_by_alpha, without_weight
from gpuquant.colors.spaces import oklab_from_srgb, srgb_from_oklab
from gpuquant.fitting.coarse_to_fine import Effort, PaletteFit, effort_for, lossless
from gpuquant.tensors import repeatable_sums
from gpuquant.threads import one_torch_thread

MANY = 1 << 15  # more colors are folded for k-means
CELL_SIDES = (2, 4, 8, 16)
SETTLE_TOL = 1e-4  # half the time, for less than 0.1 % of the error (measured on three photos)
MOST_STARTS = 4  # of k-means; the best is kept
# a and b count twice, as B. Ottosson found to fit perceived differences (csswg-drafts issue 6642, 2021; the distance is
# called Delta E OK2): on Kodak photos CIEDE2000 is then lower than in sRGB, otherwise it is not (measured)
OKLAB_SCALES = (255.0, 510.0, 510.0)


@dataclass(frozen=True)
class WorkingSpace:
    """Where distances are taken: columns of a range of about 255."""

    enter: Callable[[Tensor], Tensor]  # [M, 3] or [M, 4] uint8 -> [M, D] float64
    leave: Callable[[Tensor], Tensor]  # [K, D] -> the nearest 8-bit colors [K, 3] or [K, 4]


def _in_oklab(
    colors: Tensor,  # [M, 3] or [M, 4], levels
) -> Tensor:  # [M, 3] or [M, 4] float64
    """Oklab with a and b doubled; with alpha the three columns are weighted by it, and it is the fourth."""
    with one_torch_thread():  # how rows are split among threads changes the last bits of powers
        points = oklab_from_srgb(colors[:, :3]) * colors.new_tensor(OKLAB_SCALES, dtype=torch.float64)
    if colors.shape[1] == 3:
        return points
    alpha = colors[:, 3:].double()
    return torch.cat([points * alpha / 255, alpha], dim=1)


def _from_oklab(
    points: Tensor,  # [K, 3] or [K, 4] float64
) -> Tensor:  # [K, 3] or [K, 4] uint8
    scales = points.new_tensor(OKLAB_SCALES)
    if points.shape[1] == 3:
        return srgb_from_oklab(points / scales).round().to(torch.uint8)
    alpha = points[:, 3:].round().clamp(0, 255)
    levels = srgb_from_oklab(points[:, :3] / scales * 255 / points[:, 3:].clamp(min=1e-9)).round()
    return torch.cat([levels * (alpha > 0), alpha], dim=1).to(torch.uint8)


OKLAB = WorkingSpace(_in_oklab, _from_oklab)
WEIGHTED_SRGB = WorkingSpace(weighted_by_alpha, without_weight)  # of four columns


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


def settle_in_space(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    points: Tensor,  # [M, D] float64: the same in the working space
    counts: Tensor,  # [M] int64
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    space: WorkingSpace,
    result: KMeansResult,
    cost: Effort,
    *,
    keep_last: bool = False,
) -> PaletteFit:
    """Move rounded entries, but not a last one that is kept, by Lloyd steps as long as what is written gets better."""
    weights, tol = counts.double(), max(cost.settle_tol, SETTLE_TOL)
    state = ops.lloyd_steps(ops.point_set(points[None], weights[None]), len(palette))
    last = palette[-1].clone()
    opaque_weights = weights * (colors[:, 3] == OPAQUE) if colors.shape[1] == 4 else None
    best: PaletteFit | None = None
    begun = False
    while True:
        centers = state.enter(space.enter(palette)[None])
        sums, totals, _ = state.step(centers, [0])
        unused = (totals[0] == 0).nonzero().view(-1)
        if len(unused):
            farthest, _, _ = state.farthest(0, len(unused), centers[0])
            palette[unused[: len(farthest)]] = space.leave(state.leave(farthest[None])[0])
            continue
        labels = state.labels_of_points()[0].clone()
        if begun:
            error = state.inertia(centers)[0]
            least = math.inf if best is None else best.error
            if error < least:
                best = PaletteFit(
                    palette=palette,
                    labels=labels,
                    counts=totals[0].round().to(torch.int64),
                    error=error,
                    inertia=error,
                    n_iter=int(result.n_iter),
                    converged=bool(result.converged),
                )
            if best is not None and error >= (1 - tol) * least:
                return best
        begun = True
        palette = space.leave(state.leave((sums[0] / totals[0, :, None])[None])[0])
        if opaque_weights is not None:  # what is opaque for the most part must not shine through
            opaque = torch.zeros_like(totals[0]).index_add_(0, labels.long(), opaque_weights)
            palette[opaque > totals[0] / 2, 3] = OPAQUE
        if keep_last:
            palette[-1] = last
