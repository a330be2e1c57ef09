"""Lloyd steps over floating-point points in plain torch, chunk by chunk, on any device.

On the CPU scores are double precision, and rounded as scikit-learn's: NumPy's BLAS does the products, on whole tiles of
`TILE` rows, and sums add their rows one after the other. So the bits depend neither on chunks, nor on threads, nor on
the company in a batch.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant.ops.lloyd.ieee_products import ieee_products
from gpuquant.ops.lloyd.moves import iterate_by_steps
from gpuquant.ops.points.dense_points import DensePoints
from gpuquant.tensors import repeatable_sums
from gpuquant.threads import one_blas_thread

TILE = 256  # rows of a product, as in scikit-learn
SCORES_AT_ONCE = {"cpu": 1 << 18, "cuda": 1 << 26}  # 2 MiB of float64 stay in the L2 cache; launches are few
FEWEST_SCORES = 1 << 20  # 8 MiB of float64: chunks are not halved below that, as it would free next to nothing

Chunk = tuple[list[int], slice]  # places in a list of runs, and rows: many rows of one run, or all rows of several


class ReferenceRuns:
    """Lloyd's algorithm in P = B x n_runs runs: run r works on problem r // n_runs."""

    def __init__(
        self,
        points: DensePoints,
        labels: Tensor,  # [P, N] int32, overwritten for the runs that take part; -1 where there is none yet
        n_clusters: int,
        *,
        as_scikit_learn: bool,  # points of weight 0 count among those whose label changed
    ) -> None:
        self._points, self._labels, self._n_clusters, self._count_weightless = (
            points,
            labels,
            n_clusters,
            as_scikit_learn,
        )
        self._n_runs = len(labels) // points.n_problems
        self._kind = torch.float64 if labels.is_cpu else points.points.dtype
        most = SCORES_AT_ONCE.get(labels.device.type, 1 << 26)
        self._scores_at_once = min(most, 64 * points.chunk_size) if points.chunk_size else most
        shape = len(labels), n_clusters, points.n_columns + 1
        self._totals = torch.zeros(shape, dtype=torch.float64, device=labels.device)
        self._n_changed = [0] * len(labels)

    def step(self, centers: Tensor, active: list[int]) -> tuple[Tensor, Tensor, list[int]]:
        """Take smaller chunks where a device has too little memory."""
        while True:
            try:
                self._step(centers, active)
                return *self.sums_of(active), self.changed(active)
            except torch.OutOfMemoryError:
                if self._scores_at_once <= FEWEST_SCORES:
                    raise
            self._scores_at_once //= 2  # out of the handler, whose traceback keeps the failed attempt's tensors
            torch.cuda.empty_cache()

    def iterate(self, *progress: Tensor, **pace: Any) -> list[int]:
        return iterate_by_steps(self, *progress, **pace)

    def snap(self, centers: Tensor) -> Tensor:
        return self._points.snap(centers)

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:
        return self._totals[runs][:, :, :-1], self._totals[runs][:, :, -1]

    def changed(self, runs: list[int]) -> list[int]:
        return [self._n_changed[run] for run in runs]

    def _step(self, centers: Tensor, active: list[int]) -> None:
        points = self._points
        centers = centers.to(self._kind)
        squares, doubled = squared_norms(centers)[:, None], -2 * centers  # a factor of two rounds nothing
        labels = torch.empty(len(active), points.n_points, dtype=torch.int32, device=centers.device)
        n_changed = torch.zeros(len(active), dtype=torch.int64, device=centers.device)
        totals = torch.zeros_like(self._totals[active]).mT.contiguous()
        for places, rows in self._chunks(active):
            runs = [active[place] for place in places]
            problems = [run // self._n_runs for run in runs]
            centered = points.points[problems, rows].double() - points.origin[problems, None].double()
            scores = products(centered.to(self._kind), doubled[places]).add_(squares[places])
            found = scores.min(dim=2).indices.to(torch.int32)
            weights = points.weights[problems, rows]
            differ = found != self._labels[runs, rows]
            n_changed[places] += (differ if self._count_weightless else differ & (weights > 0)).sum(dim=1)
            labels[places, rows] = found
            add_rows(totals, places, found, centered, weights)
        self._labels[active], self._totals[active] = labels, totals.mT
        for run, number in zip(active, n_changed.tolist(), strict=True):
            self._n_changed[run] = number

    def _chunks(self, runs: list[int]) -> Iterator[Chunk]:
        """Runs and rows, so many that runs x rows x clusters stays bounded."""
        n_points = self._points.n_points
        n_rows = max(1, self._scores_at_once // (max(self._n_clusters, self._points.n_columns) * TILE)) * TILE
        together = max(1, n_rows // (-(-n_points // TILE) * TILE))
        for first in range(0, len(runs), together):
            places = list(range(first, min(first + together, len(runs))))
            for start in range(0, n_points, n_rows):
                yield places, slice(start, min(start + n_rows, n_points))

    def inertia(self, centers: Tensor) -> Tensor:  # [P, K, D] float64, relative to the origin -> [P]
        """Sum of weight times squared distance to the labeled center."""
        found = []
        for run, (own, labels) in enumerate(zip(centers, self._labels, strict=True)):
            problem = run // self._n_runs
            shares = self._points.squared_distances(problem, own, labels) * self._points.weights[problem]
            found.append(repeatable_sums(torch.zeros_like(labels), shares, 1))
        return torch.cat(found)


def squared_norms(centers: Tensor) -> Tensor:  # [A, K, D] -> [A, K]
    if centers.is_cpu:  # rounded as scikit-learn's are
        return torch.from_numpy(np.stack([np.einsum("ij,ij->i", one, one) for one in centers.numpy()]))
    return centers.square().sum(dim=2)


def products(
    points: Tensor,  # [n, rows, D], centered
    centers: Tensor,  # [n, K, D], of the same dtype
) -> Tensor:  # [n, rows, K]
    """Inner products, computed on whole tiles."""
    n_points = points.shape[1]
    points = torch.nn.functional.pad(points, (0, 0, 0, -n_points % TILE))
    if points.is_cpu:
        tiles = points.unflatten(1, (-1, TILE)).numpy()
        with one_blas_thread():
            found = torch.from_numpy(np.matmul(tiles, centers.mT[:, None].numpy())).flatten(1, 2)
    else:
        with ieee_products:
            found = torch.bmm(points, centers.mT)
    return found[:, :n_points]


def add_rows(
    totals: Tensor,  # [A, S + 1, n_bins] float64, added to in place
    places: list[int],  # [n]: whose sums
    labels: Tensor,  # [n, rows] int32, the bin of each row
    values: Tensor,  # [n, rows, S] float64
    weights: Tensor,  # [n, rows] float64
) -> None:
    """Add weighted rows and, last, the weights to their bins, one row after the other."""
    n_bins = totals.shape[2]
    bins = torch.arange(len(places), dtype=torch.int32, device=values.device)[:, None] * n_bins
    bins = (bins + labels).reshape(-1)
    weighted = [column * weights for column in values.unbind(dim=2)]
    for total, column in zip(totals.unbind(dim=1), [*weighted, weights], strict=True):
        sums = total[places].view(-1)  # a copy, whose additions go on where the last chunk's ended
        if sums.is_cpu:
            sums.index_add_(0, bins, column.reshape(-1))
        else:
            sums += repeatable_sums(bins, column.reshape(-1), len(sums))
        total[places] = sums.view(len(places), n_bins)
