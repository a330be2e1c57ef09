"""Breathing k-means: out of the local minimum that Lloyd's algorithm ends in, by adding and removing centers.

Source: B. Fritzke 2020, "The breathing k-means algorithm". Centers are added where the error is large, all are
settled, as many of the least useful are removed, and all are settled again; what lowers the error is kept, and after
every other failure one center less is added. Different from there, the clusters to split are drawn by their error,
which gets stuck less (measured), they are split across their longest side, and pairs of clusters are merged where the
error rises least by it (Equitz 1989, "A new vector quantization clustering algorithm"): that needs only their means
and weights, and finds as good centers in less time as to remove those whose points have another one near (measured).
Both errors count the rounding of means to entries of a palette: two adjacent levels are the cheapest to merge, but
their mean lies half-way, which is 2 % of the error of a dark gray photo (measured).
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
    points: ops.GridPoints,
    centers: Tensor,  # [K, D] float64
    *,
    n_cycles: int,  # at most
    draws: np.random.RandomState,
) -> tuple[Tensor, float]:  # [K, D] float64
    """Centers with a lower error on points than given ones, and that error, with means rounded to entries."""
    with one_torch_thread():
        most_added, n_failed = min(max(FEWEST_ADDED, len(centers) // 16), len(centers)), 0
        best = points.settled(ops.on_grid(centers), most_added)
        for _ in range(n_cycles):
            errors = best.errors
            n_added = min(most_added - n_failed // 2, int(np.count_nonzero(errors)))
            if n_added == 0:
                break
            found = points.breathed(best, different_places(errors, n_added, draws))
            if found.error < best.error:
                best = found
            else:
                n_failed += 1
        return best.centers, best.error
