"""Breathing k-means: out of the local minimum that Lloyd's algorithm ends in, by adding and removing centers.

Source: B. Fritzke 2020, "The breathing k-means algorithm". Centers are added where the error is large, all are settled,
as many of the least useful are removed, and all are settled again; what lowers the error is kept. Different from there,
fewer and fewer are added, down to few in the last cycle, whether the error falls or not, which finds more in the same
time (measured); the clusters to split are drawn by their error, which gets stuck less (measured), they are split across
their longest side, and pairs of clusters are merged where the error rises least by it (Equitz 1989, "A new vector
quantization clustering algorithm"): that needs only their means and weights, and finds as good centers in less time as
to remove those whose points have another one near (measured).
Both errors count the rounding of means to entries of a palette: two adjacent levels are the cheapest to merge, but
their mean lies half-way, which is 2 % of the error of a dark gray photo (measured).
Points and centers lie on a grid of a quarter level, so that no product or sum of them rounds, and results do not depend
on the order of sums.
"""

import math

import numpy as np
from torch import Tensor

from gpuquant import ops
from gpuquant.clustering.initialization import different_places
from gpuquant.threads import one_torch_thread

# At first so many times the root of the number of centers are added, or this share of it where that is more (measured
# at K = 4 to 4096: with fewer the error falls less in the same time, with more it does so where there are few cycles).
ROOTS_ADDED = 2.5
SHARE_ADDED = 0.25


def breathe(
    points: ops.GridPoints,
    centers: Tensor,  # [K, D] float64
    *,
    n_cycles: int,  # at most: none follow once there is nothing to split
    draws: np.random.RandomState,
) -> tuple[Tensor, float]:  # [K, D] float64
    """Centers with a lower error on points than given ones, and that error, with means rounded to entries."""
    with one_torch_thread():
        n_centers = len(centers)
        most_added = int(min(max(ROOTS_ADDED * math.sqrt(n_centers), SHARE_ADDED * n_centers), n_centers))
        best = points.settled(ops.on_grid(centers), most_added)
        for left in range(n_cycles, 0, -1):
            errors = best.errors
            n_added = min(math.ceil(most_added * left / n_cycles), int(np.count_nonzero(errors)))
            if n_added == 0:
                break
            found = points.breathed(best, different_places(errors, n_added, draws))
            if found.error < best.error:
                best = found
        return best.centers.to(centers.device), best.error
