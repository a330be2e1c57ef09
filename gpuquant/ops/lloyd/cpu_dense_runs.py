"""CompiledRuns: Lloyd's algorithm over floating-point points on the CPU, by compiled loops in threads of ours."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuquant.ops.lloyd.cpu_dense import (
    COLUMNS,
    Index,
    Labels,
    Problem,
    Run,
    add_tiles,
    iterate,
    label_points,
    prepare,
    sum_tile,
    tile_inertia,
)
from gpuquant.ops.lloyd.cpu_moves import DOUBLE, SINGLE, Floats
from gpuquant.ops.lloyd.cpu_runs import RunByRun, moved
from gpuquant.ops.lloyd.cpu_scores import CENTERS
from gpuquant.ops.points.dense_points import DensePoints
from gpuquant.threads import one_blas_thread, share_out, worker_threads

TILE = 1 << 13  # points whose sums are added together: some tenths of a millisecond
POINTS_PER_CENTER = 4  # at least, in a tile: the sums of all tiles take less memory than the points
SHARED = 1 << 23  # multiplications from which threads share a step, about 1 ms: waking them takes a tenth of it
AT_ONCE = 1 << 31  # multiplications of one compiled call: some tenths of a second
CHUNK_OF_SCIKIT_LEARN = 256  # samples that it multiplies with the centers at once


class CompiledRuns(RunByRun):
    """Lloyd's algorithm in P = B x n_runs runs: run r works on problem r // n_runs."""

    def __init__(
        self,
        points: DensePoints,
        labels: Tensor,  # [P, N] int32, overwritten for the runs that take part; -1 where there is none yet
        n_clusters: int,
        *,
        as_scikit_learn: bool,  # points of weight 0 count, and where rounding decides it is that of scikit-learn
    ) -> None:
        self._n_clusters, self._as_scikit_learn = n_clusters, as_scikit_learn
        n_points, n_columns = points.n_points, points.n_columns
        self._n_rows = max(TILE, POINTS_PER_CENTER * n_clusters)
        self._starts = range(0, n_points, self._n_rows)
        self._effort = n_points * n_clusters * n_columns
        kind = SINGLE if points.points.dtype == torch.float32 else DOUBLE
        rows, origins, weights = (tensor.numpy() for tensor in points.for_kernels())
        self._problems = [
            Problem(*given, n_rows=self._n_rows, kind=kind, count_weightless=as_scikit_learn)
            for given in zip(rows, origins, weights, strict=True)
        ]
        self._n_runs = len(labels) // len(self._problems)
        self._runs = [self._begun(n_columns, own) for own in labels.numpy()]
        self._n_changed = [0] * len(labels)

    def _begun(self, n_columns: int, labels: Labels) -> Run:
        k = self._n_clusters
        singles = np.zeros((-(-k // CENTERS) * CENTERS, -(-n_columns // COLUMNS) * COLUMNS + 2), np.float32)
        singles[k:, -2] = np.inf  # never the nearest
        singles[:, -1] = np.arange(len(singles))
        return Run(
            labels=labels,
            bounds=np.full(len(labels), -np.inf),
            way=np.zeros(k + 1),
            before=np.zeros((k, n_columns)),
            factors=np.zeros((k, n_columns + 1)),
            singles=singles,
            is_stale=np.zeros(len(self._starts), np.bool_),
            tiles=np.zeros((len(self._starts), k, n_columns + 1)),
            totals=np.zeros((k, n_columns + 1)),
        )

    def _problem(self, run: int) -> Problem:
        return self._problems[run // self._n_runs]

    def step(
        self,
        centers: Tensor,  # [A, K, D] float64, relative to the origin
        active: list[int],  # [A]: the runs that take part, ascending
    ) -> tuple[Tensor, Tensor, list[int]]:  # sums [A, K, D], weights [A, K], labels that changed [A]
        """Label all points with their nearest center (the lowest of equal scores) and sum up the clusters."""
        given = dict(zip(active, centers.contiguous().numpy(), strict=True))
        self._over_runs(active, lambda run, n_threads: self._label(run, given[run], n_threads))
        return *self.sums_of(active), self.changed(active)

    def sums_of(self, runs: list[int]) -> tuple[Tensor, Tensor]:  # [A, K, D], [A, K]
        """The sums and the weights of the clusters after the last step of some runs."""
        totals = torch.from_numpy(np.stack([self._runs[run].totals for run in runs]))
        return totals[:, :, :-1], totals[:, :, -1]

    def changed(self, runs: list[int]) -> list[int]:
        """Count the labels that the last step of some runs changed."""
        return [self._n_changed[run] for run in runs]

    def inertia(self, centers: Tensor) -> Tensor:  # [P, K, D] float64, relative to the origin -> [P]
        """Sum of weight times squared distance to the labeled center."""
        parts = np.zeros((len(centers), len(self._starts)))
        given = centers.contiguous().numpy()

        def add_up(run: int, n_threads: int) -> None:
            problem, labels = self._problem(run), self._runs[run].labels

            def add(tile: int) -> None:
                start = self._starts[tile]
                stop = min(start + self._n_rows, len(labels))
                parts[run, tile] = tile_inertia(problem, labels, given[run], start, stop)

            share_out(range(len(self._starts)), add, n_threads)

        self._over_runs(list(range(len(centers))), add_up)
        return torch.from_numpy(parts.cumsum(axis=1)[:, -1])

    def _advance(self, run: int, helpers: int, centers: Floats, moves: Floats, *given: Any) -> tuple[int, int]:
        problem, kept = self._problem(run), self._runs[run]
        until_last, n_left, *pace = given
        if helpers > 1 or self._as_scikit_learn or self._effort > AT_ONCE:
            self._label(run, centers, helpers)
            changed = self._n_changed[run]
            return moved(kept.totals, centers, moves, problem.kind, changed, until_last <= 1, *pace)
        n_steps = min(max(1, AT_ONCE // self._effort), n_left)
        status, n_ended, self._n_changed[run] = iterate(problem, kept, centers, moves, until_last, n_steps, *pace)
        return status, n_ended

    def _over_runs(self, runs: list[int], function: Callable[[int, int], None]) -> None:
        """Call a function for runs: one after the other, each with all threads where that helps, or side by side."""
        n_threads = worker_threads() if len(runs) * self._effort >= SHARED else 1
        if n_threads == 1 or (self._effort >= SHARED and len(self._starts) > 1):
            for run in runs:
                function(run, n_threads)
        else:
            share_out(runs, lambda run: function(run, 1), n_threads)

    def _label(self, run: int, centers: Floats, n_threads: int) -> None:  # [K, D]
        """Label all points of a run, tile by tile."""
        problem, kept = self._problem(run), self._runs[run]
        n_rows = max(1, AT_ONCE // (self._n_clusters * len(problem.origin)))
        found = [0] * len(self._starts)
        prepare(kept, centers)

        def label(tile: int) -> None:
            end = min(self._starts[tile] + self._n_rows, len(kept.labels))
            for start in range(self._starts[tile], end, n_rows):
                stop = min(start + n_rows, end)
                unsure = np.empty(stop - start if self._as_scikit_learn else 0, np.int64)
                n_changed, n_unsure = label_points(problem, kept, start, stop, unsure)
                found[tile] += n_changed
                if n_unsure:
                    found[tile] += label_as_scikit_learn(problem, kept, centers, unsure[:n_unsure])
            sum_tile(problem, kept, tile)

        share_out(range(len(self._starts)), label, n_threads)
        add_tiles(kept)
        self._n_changed[run] = sum(found)


def label_as_scikit_learn(problem: Problem, run: Run, centers: Floats, index: Index) -> int:
    """Label some points by scores that are rounded as scikit-learn's, in its chunks; count the labels that changed."""
    n_changed = 0
    for chunk in np.unique(index // CHUNK_OF_SCIKIT_LEARN):
        rows = slice(chunk * CHUNK_OF_SCIKIT_LEARN, (chunk + 1) * CHUNK_OF_SCIKIT_LEARN)
        centered = (problem.points[rows] - problem.origin).astype(np.float64, copy=False)
        own = index[index // CHUNK_OF_SCIKIT_LEARN == chunk]
        labels = nearest_as_scikit_learn(centered, centers)[own - rows.start]
        n_changed += int(np.count_nonzero(labels != run.labels[own]))
        run.is_stale[own[labels != run.labels[own]] // problem.n_rows] = True
        run.labels[own] = labels
    return n_changed


def nearest_as_scikit_learn(
    rows: Floats,  # [n, D]: one or several of its chunks
    centers: Floats,  # [K, D]
) -> Index:  # [n]
    """Find the nearest centers by the same function of SciPy's BLAS: NumPy's multiplies a single row otherwise."""
    from scipy.linalg.blas import dgemm  # it comes with scikit-learn, and takes a while to import

    scores = np.tile(np.einsum("ij,ij->i", centers, centers), (len(rows), 1))
    with one_blas_thread():
        for start in range(0, len(rows), CHUNK_OF_SCIKIT_LEARN):
            chunk = slice(start, start + CHUNK_OF_SCIKIT_LEARN)
            scores[chunk] = dgemm(
                -2.0, centers.T, rows[chunk].T, 1.0, scores[chunk].T, trans_a=True, overwrite_c=True
            ).T
    found: Index = scores.argmin(axis=1)
    return found
