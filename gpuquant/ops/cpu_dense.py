"""One Lloyd step over many floating-point points on the CPU: worker threads over tiles of rows.

Tiles have a size of their own, and their sums are added in their order, so the bits depend neither on the number of
threads nor on how many scores are held at once. The work is done by NumPy and SciPy, which release the GIL; torch's
operations would wait for each other's thread pools.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import ThreadpoolController

from gpuquant.ops.cpu_ops import share_out

TILE_NUMBERS = 1 << 17  # 1 MiB of float64: the points of a tile stay in the L2 cache
ROWS = 256  # products are computed on multiples of so many rows, which all round alike

Floats = npt.NDArray[np.floating]


def label_and_sum(
    points: Floats,  # [N, D] float32 or float64, with N > 0
    origin: Floats,  # [D]
    weights: npt.NDArray[np.float64],  # [N]
    centers: Floats,  # [K, D], relative to the origin
    labels: npt.NDArray[np.int32],  # [N], overwritten
    *,
    scores_at_once: int,
    count_weightless: bool,  # also count label changes of points whose weight is 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]:  # sums [K, D], weights [K], labels that changed
    """Label every point with its nearest center (the lowest of equal scores) and sum up the clusters."""
    from scipy.sparse import csc_array  # quantising photos does without it, and it takes 0.1 s to import

    (n_points, n_columns), n_clusters = points.shape, len(centers)
    n_rows = tile_rows(n_columns, n_clusters)
    n_scored = min(n_rows, max(1, scores_at_once // (n_clusters * ROWS)) * ROWS)
    # a last column of ones adds the squared norms in the same product, and later the weights
    factors = np.ascontiguousarray(np.column_stack([-2 * centers, np.einsum("ij,ij->i", centers, centers)]).T)
    starts = range(0, n_points, n_rows)
    sums = np.empty((len(starts), n_clusters, n_columns + 1))
    changed = np.empty(len(starts), np.int64)
    spare: list[tuple[Floats, Floats, npt.NDArray[np.intp]]] = []
    one_each = np.arange(n_rows + 1, dtype=np.int32)

    def work(tile: int) -> None:
        rows = slice(starts[tile], min(starts[tile] + n_rows, n_points))
        size = rows.stop - rows.start
        try:
            centred, scores, nearest = spare.pop()
        except IndexError:  # a buffer per thread
            centred = np.ones((n_rows, n_columns + 1))
            scores = np.empty((n_scored, n_clusters), points.dtype)
            nearest = np.empty(n_rows, np.intp)
        np.subtract(points[rows], origin, out=centred[:size, :-1], dtype=np.float64)
        for first in range(0, size, n_scored):
            part = slice(first, min(first + n_scored, n_rows))
            rounded = centred[part].astype(points.dtype, copy=False)
            np.matmul(rounded, factors, out=scores[: part.stop - first])
            np.argmin(scores[: part.stop - first], axis=1, out=nearest[part])
        found = nearest[:size].astype(np.int32)
        differ = found != labels[rows]
        if not count_weightless:
            differ &= weights[rows] > 0
        changed[tile] = np.count_nonzero(differ)
        labels[rows] = found
        # a matrix with one entry per column adds row after row to the row's cluster
        clusters = csc_array((weights[rows], found, one_each[: size + 1]), shape=(n_clusters, size))
        sums[tile] = clusters @ centred[:size]
        spare.append((centred, scores, nearest))

    with one_blas_thread():
        share_out(range(len(starts)), work, torch.get_num_threads())
    totals = sums.sum(axis=0)
    return totals[:, :-1], totals[:, -1], int(changed.sum())


def tile_rows(n_columns: int, n_clusters: int) -> int:
    """Rows of a tile: enough that the sums of all tiles take less memory than the points."""
    return max(TILE_NUMBERS // (max(8, n_columns) * ROWS), -(-8 * n_clusters // ROWS), 1) * ROWS


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Threads of the BLAS would get in the way of ours, and of torch's."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> Any:
    return ThreadpoolController()
