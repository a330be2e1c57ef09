"""Breathing k-means: out of the local minimum that Lloyd's algorithm ends in, by adding and removing centers.

Source: B. Fritzke 2020, "The breathing k-means algorithm". Centers are added where the error is large, all are
settled, as many of the least useful are removed, and all are settled again; what lowers the error is kept, and after
every other failure one center less is added. Different from there, the clusters to split are drawn by their error,
which gets stuck less (measured), they are split across their longest side, and the superfluous centers go in several
steps.
Points and centers lie on a grid of a quarter level, so that no product or sum of them rounds, and results do not depend
on the order of sums.
"""

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.threads import one_torch_thread

FEWEST_ADDED = 8  # at first
ITERATIONS = 2  # of Lloyd's algorithm after each change
RELAXATION = 1.5  # times as far as to the mean, as the iterations on coarse cells go
CLOSE = 1.1  # of the mean distance between neighbors: the freezing range of the source


def breathe(
    points: Tensor,  # [C, D] uint8, or float64 with numbers of about that size
    counts: Tensor,  # [C] int64, or float64 without fractions
    centers: Tensor,  # [K, D] float64
    *,
    n_cycles: int,  # at most
    draws: np.random.RandomState,
) -> Tensor:  # [K, D] float64
    """Centers with a lower error on points with counts, from given ones."""
    with one_torch_thread():
        return _breathe(ops.grid_points(points, counts), centers, n_cycles, draws) if n_cycles else centers


def _breathe(cells: ops.GridPoints, centers: Tensor, n_cycles: int, draws: np.random.RandomState) -> Tensor:
    best = cells.settled(ops.on_grid(centers), ITERATIONS, RELAXATION)
    most_added, n_failed = min(max(FEWEST_ADDED, len(centers) // 16), len(centers)), 0
    for _ in range(n_cycles):
        errors = best.errors.cpu().numpy()
        n_added = min(most_added - n_failed // 2, int(np.count_nonzero(errors)))
        if n_added == 0:
            break
        chosen = draws.choice(len(errors), n_added, replace=False, p=errors / errors.sum())
        added = cells.halves(best)[torch.from_numpy(chosen).to(centers.device)]
        found = cells.settled(torch.cat([best.centers, added]), ITERATIONS // 2, RELAXATION)
        while len(found.centers) > len(centers):  # three quarters of those too many at a time
            n_removed = -(-3 * (len(found.centers) - len(centers)) // 4)
            iterations = ITERATIONS if len(found.centers) - n_removed == len(centers) else 1
            found = cells.settled(found.centers[_useful(found, n_removed)], iterations, RELAXATION)
        if found.error < best.error:
            best = found
        else:
            n_failed += 1
    return best.centers


def _useful(state: ops.GridState, n_removed: int) -> Tensor:  # [K] bool
    """Choose the centers that stay: the least useful go, but not the close neighbors of one that goes."""
    close = float(CLOSE * ops.nearest_distances(state.centers).mean())
    centers, order = state.centers.cpu().numpy(), np.argsort(state.uses.cpu().numpy(), kind="stable")
    stays, frozen = np.ones(len(order), bool), np.zeros(len(order), bool)
    left = n_removed
    for center in order:
        if not frozen[center]:
            stays[center], left = False, left - 1
            if left == 0:
                break
            together = frozen | (np.sqrt(np.square(centers - centers[center]).sum(axis=1)) < close)
            together[center] = frozen[center]
            if np.count_nonzero(together) + n_removed <= len(order):
                frozen = together
    return torch.from_numpy(stays).to(state.centers.device)
