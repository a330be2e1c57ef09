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
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.initialization import different_places
from gpuquant.threads import one_torch_thread

FEWEST_ADDED = 8  # at first


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
    most_added, n_failed = min(max(FEWEST_ADDED, len(centers) // 16), len(centers)), 0
    best = cells.settled(ops.on_grid(centers), most_added)
    for _ in range(n_cycles):
        errors = best.errors
        n_added = min(most_added - n_failed // 2, int(np.count_nonzero(errors)))
        if n_added == 0:
            break
        chosen = different_places(errors, n_added, draws)
        found = cells.breathed(best, chosen)
        if found.error < best.error:
            best = found
        else:
            n_failed += 1
    return best.centers
