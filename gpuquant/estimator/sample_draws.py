"""Greedy k-means++ over samples in their order, rounded exactly as scikit-learn rounds it.

Among few samples two candidates often lower the potential equally, and rounding decides between them. In single
precision rounding decides among many samples, too: running sums of millions grow in steps far above a sample's share
(scikit-learn adds them up in single precision since version 1.8).
Potentials are products of the BLAS that NumPy calls, as there; they depend on its kernels for this processor.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gpuquant import ops
from gpuquant.estimator.running_sums import search_shares, search_sums
from gpuquant.threads import share_out, worker_threads

FEW = 1 << 15  # float64 samples up to which rounding matters, and threads would gain little
AT_ONCE = 1 << 17  # numbers of float32 points that are made double at once: 1 MiB

Floats = npt.NDArray[Any]


def plus_plus_samples(
    points: Floats,  # [M, D] float32 or float64, centered
    weights: Floats,  # [N], of the points' type
    n_clusters: int,
    random_state: np.random.RandomState,
    ranks: npt.NDArray[np.int32] | None = None,  # [N]: the point that each sample is; None: the samples are the points
) -> list[int]:  # [K] points
    """Choose samples; the first draw searches to the right, the others to the left.

    Distances of all samples to all L = 2 + floor(ln K) candidates are in memory at once: potentials are rounded as in
    scikit-learn only where one product adds up all samples.
    """
    n_candidates = 2 + int(np.log(n_clusters))
    uniforms = random_state.uniform(size=1 + n_candidates * (n_clusters - 1))
    squares, reached = np.empty(len(points)), np.empty((n_candidates, len(points)), points.dtype)
    spread = np.empty((n_candidates, 0 if ranks is None else len(ranks)), points.dtype)
    n_rows = len(points) if points.dtype == np.float64 else max(1, AT_ONCE // points.shape[1])
    parts = [slice(start, start + n_rows) for start in range(0, len(points), n_rows)]
    n_workers = worker_threads() if len(parts) > 1 else 1

    def square(part: slice) -> None:
        wide = points[part].astype(np.float64, copy=False)
        np.einsum("ij,ij->i", wide, wide, out=squares[part])

    share_out(parts, square, n_workers)

    def lowered(index: list[int], closest: Floats) -> Floats:  # [L], [M] or [1] -> [L, M]: `reached`
        centers, found = points[index].astype(np.float64), reached[: len(index)]

        def lower(part: slice) -> None:
            distances = np.matmul(centers, points[part].astype(np.float64, copy=False).T)
            distances *= -2
            distances += squares[index, None]
            distances += squares[part]
            found[:, part] = distances
            np.clip(found[:, part], 0, closest[part] if len(closest) > 1 else closest, out=found[:, part])

        share_out(parts, lower, n_workers)
        return found

    def of_samples(values: Floats) -> Floats:  # [L, M] -> [L, N]
        if ranks is None:
            return values
        for row, out in zip(values, spread, strict=False):  # of the first center only one
            ops.take(torch.from_numpy(row), torch.from_numpy(ranks), out=torch.from_numpy(out))
        return spread[: len(values)]

    total = weights.sum()
    first = search_shares(lambda part: weights[part] / total, len(weights), uniforms[0])
    chosen = [first if ranks is None else int(ranks[first])]
    distances = of_samples(lowered(chosen, np.full(1, np.inf, points.dtype)))
    best, potential = 0, (distances @ weights)[0]
    for tried in uniforms[1:].reshape(-1, n_candidates):
        drawn = search_sums(weights, distances[best], tried * potential)
        candidates = drawn if ranks is None else ranks[drawn].tolist()
        distances = of_samples(lowered(candidates, reached[best].copy()))
        potentials = (distances @ weights[:, None])[:, 0]
        best = int(potentials.argmin())
        chosen.append(candidates[best])
        potential = potentials[best]
    return chosen
