"""Lloyd steps over many floating-point points on the CPU: worker threads over tiles of rows.

Tiles have a size of their own, and what they add to the sums is added in their order, so the bits depend neither on
the number of threads nor on how many scores are held at once. The work is done by NumPy and SciPy, which release the
GIL; torch's operations would wait for each other's thread pools.

While few labels change, a tile remembers which of its points have another center nearly as near. The others keep their
labels, unseen, until the centers have moved by as much as that margin (after Hamerly, "Making k-means even faster",
2010, with one margin for a tile in place of bounds for each point).
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import ThreadpoolController

from gpuquant.ops.cpu_ops import share_out
from gpuquant.ops.tile_scores import ROWS, Doubles, Index, Labels, TileScores, block_rows

TILE_NUMBERS = 1 << 19  # of the points of a tile: threads that take turns with the GIL need long calls
STEPS = 4  # margins are made for so many steps like the last one
RETRIED = 0.7  # of a margin for which most points are close
SAMPLE = 1 << 11  # points of a tile that tell whether a margin is worth its cost
SETTLED = 1 / 8  # of all labels change: from then on margins are tried

Floats = npt.NDArray[np.floating]


class TiledLloyd:
    """The labels, sums and margins of one run over one set of points."""

    def __init__(
        self,
        points: Floats,  # [N, D] float32 or float64, with N > 0
        origin: Floats,  # [D]
        weights: Doubles,  # [N]
        labels: Labels,  # [N], written by every step; -1 where there is none yet
        n_clusters: int,
        *,
        scores_at_once: int,
        count_weightless: bool,  # also count label changes of points whose weight is 0
        spare: list["Buffers"],  # kept from step to step, for this run and others of the same shape
    ) -> None:
        self._points, self._origin, self._weights, self._labels = points, origin, weights, labels
        self._n_clusters, self._count_weightless, self._spare = n_clusters, count_weightless, spare
        self._scores_at_once = scores_at_once
        n_points, n_columns = points.shape
        self._n_rows = tile_rows(n_columns, n_clusters)
        self._starts = range(0, n_points, self._n_rows)
        self._squares = np.zeros(n_points, np.float32)  # squared norms of the centred points
        self._centers: Doubles | None = None  # those of the last step
        self._sums = np.zeros((n_clusters, n_columns + 1))
        self._heaviest = np.zeros(n_clusters)  # the largest weights since the sums were last made anew
        self._n_moved = n_points  # labels that the last step changed
        self._close = [np.arange(0)] * len(self._starts)  # points of each tile to score at every step
        self._refused = np.full(len(self._starts), np.inf)  # larger margins are not worth their cost
        self._margins = np.full(len(self._starts), -1.0)  # how much farther centers may move until all points are

    def step(self, centers: Doubles) -> tuple[Doubles, Doubles, int]:  # sums [K, D], weights [K], labels that changed
        """Label every point with its nearest center [K, D], relative to the origin; the lowest wins among equals."""
        factors = np.column_stack([-2 * centers, np.einsum("ij,ij->i", centers, centers)])
        first = self._centers is None
        margin = self._follow(centers)
        gained = np.zeros((len(self._starts), *self._sums.shape))
        changed, moved = np.zeros((2, len(self._starts)), np.int64)

        def label(tile: int, rows: slice, buffers: Buffers) -> None:
            index = self._close[tile] if self._margins[tile] >= 0 else None
            centred = self._centred(rows, index, buffers)
            if first:
                with np.errstate(over="ignore"):  # infinite is what too large for single precision is
                    self._squares[rows] = np.einsum("ij,ij->i", centred, centred)
            found = self._nearest(tile, rows, index, centred, factors, margin, buffers)
            labels = self._labels[rows]
            differ = np.flatnonzero(found != (labels if index is None else labels.take(index)))
            moved[tile] = len(differ)
            if first:
                gained[tile] = self._summed(centred, self._weights[rows], found)
                changed[tile] = self._counted(self._weights[rows])
                labels[:] = found
            elif len(differ):
                places, after = differ if index is None else index.take(differ), found.take(differ)
                weights, points = self._weights[rows].take(places), centred.take(differ, axis=0)
                gained[tile] = self._summed(points, weights, after) - self._summed(points, weights, labels.take(places))
                changed[tile] = self._counted(weights)
                labels[places] = after

        self._over_tiles(label)
        self._n_moved = int(moved.sum())
        if self._n_moved:
            self._sums += gained.sum(axis=0)
            self._refresh()
        sums = self._sums.copy()
        return sums[:, :-1], sums[:, -1], int(changed.sum())

    def inertia(self, centers: Doubles) -> float:  # [K, D], relative to the origin
        """Sum of weight times squared distance to the labelled center."""
        parts = np.zeros(len(self._starts))

        def add(tile: int, rows: slice, buffers: Buffers) -> None:
            apart = self._centred(rows, None, buffers)
            apart -= centers.take(self._labels[rows], axis=0)
            parts[tile] = np.einsum("ij,ij->i", apart, apart) @ self._weights[rows]

        self._over_tiles(add)
        return float(parts.sum())

    def _follow(self, centers: Doubles) -> float:
        """Take from the margins what the centers moved; returns the margin for tiles that need a new one."""
        longest = np.inf
        if self._centers is not None:
            longest = 2 * float(np.sqrt(np.square(centers - self._centers).sum(axis=1).max()))
            self._margins -= longest * (1 + 1e-9)
        self._centers = centers.copy()
        return STEPS * longest if self._n_moved <= SETTLED * len(self._points) else 0

    def _nearest(
        self,
        tile: int,
        rows: slice,
        index: Index | None,  # which of the rows, or all
        centred: Doubles,  # [n, D]
        factors: Doubles,  # [K, D + 1]
        margin: float,
        buffers: "Buffers",
    ) -> Labels:  # [n]
        squares = self._squares[rows]
        reach = 1.00001 * float(np.sqrt(factors[:, -1].max()))
        if index is not None:
            found, _ = buffers.scores.nearest(centred, squares.take(index), factors, reach, 0)
            return found
        if margin > self._refused[tile]:
            margin = 0
        if margin > 0:
            sample = slice(None, None, -(-len(centred) // SAMPLE))
            points = centred[sample]
            if buffers.scores.n_close(points, squares[sample], factors, reach, margin) > len(points) / 2:
                self._refused[tile], margin = RETRIED * margin, 0
        found, self._close[tile] = buffers.scores.nearest(centred, squares, factors, reach, margin)
        self._margins[tile] = margin
        return found

    def _refresh(self) -> None:
        """Make sums anew when a cluster has lost half its weight: what is left would carry the rounding of the rest."""
        np.maximum(self._heaviest, self._sums[:, -1], out=self._heaviest)
        if not (self._sums[:, -1] < self._heaviest / 2).any():
            return
        parts = np.zeros((len(self._starts), *self._sums.shape))

        def add(tile: int, rows: slice, buffers: Buffers) -> None:
            parts[tile] = self._summed(self._centred(rows, None, buffers), self._weights[rows], self._labels[rows])

        self._over_tiles(add)
        self._sums = parts.sum(axis=0)
        self._heaviest = self._sums[:, -1].copy()

    def _summed(self, points: Doubles, weights: Doubles, labels: Labels) -> Doubles:  # [n, D], [n], [n] -> [K, D + 1]
        """The weighted sums of each cluster and, last, its weight."""
        from scipy.sparse import csc_array  # quantising photos does without it, and it takes 0.1 s to import

        # a matrix with a point in every column adds row after row to the row's cluster
        entries = weights, labels, np.arange(len(points) + 1, dtype=np.int32)
        clusters = csc_array(entries, shape=(self._n_clusters, len(points)))
        return np.column_stack([clusters @ points, np.bincount(labels, weights, self._n_clusters)])

    def _counted(self, weights: Doubles) -> int:
        return len(weights) if self._count_weightless else int(np.count_nonzero(weights > 0))

    def _centred(self, rows: slice, index: Index | None, buffers: "Buffers") -> Doubles:  # [n, D]
        points = self._points[rows] if index is None else self._points[rows].take(index, axis=0)
        centred = buffers.centred[: len(points)]
        # loops over whole blocks of rows are several times faster than loops over a few columns
        origins, n_whole = np.tile(self._origin, ROWS), len(points) // ROWS * ROWS
        blocks = points[:n_whole].reshape(-1, len(origins))
        np.subtract(blocks, origins, out=centred[:n_whole].reshape(blocks.shape), dtype=np.float64)
        np.subtract(points[n_whole:], self._origin, out=centred[n_whole:], dtype=np.float64)
        return centred

    def _over_tiles(self, work: Callable[[int, slice, "Buffers"], None]) -> None:
        """Call a function on every tile with its rows and with buffers of the thread's own."""

        def with_buffers(tile: int) -> None:
            try:
                buffers = self._spare.pop()
            except IndexError:
                buffers = Buffers(self._n_rows, self._points.shape[1], self._n_clusters, self._scores_at_once)
            work(tile, slice(self._starts[tile], min(self._starts[tile] + self._n_rows, len(self._points))), buffers)
            self._spare.append(buffers)

        with one_blas_thread():
            share_out(range(len(self._starts)), with_buffers, torch.get_num_threads())


class Buffers:
    """What a thread works in."""

    def __init__(self, n_rows: int, n_columns: int, n_clusters: int, scores_at_once: int) -> None:
        self.centred = np.empty((n_rows, n_columns))
        self.scores = TileScores(n_columns, n_clusters, min(scores_at_once, n_rows * n_clusters))


def tile_rows(n_columns: int, n_clusters: int) -> int:
    """Rows of a tile: enough that the sums of all tiles take less memory than the points."""
    n_block = block_rows(n_columns, n_clusters)
    return max(TILE_NUMBERS // (max(4, n_columns) * n_block), -(-8 * n_clusters // n_block), 1) * n_block


class _OneBlasThread:
    """The limit is the process's: the first one in sets it, the last one out takes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._limiter = _libraries().limit(limits=1, user_api="blas")
            self._n_users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limiter.restore_original_limits()


_one_blas_thread = _OneBlasThread()


def one_blas_thread() -> AbstractContextManager[None]:
    """Threads of the BLAS would get in the way of ours, and of torch's."""
    return _one_blas_thread


@cache
def _libraries() -> Any:
    return ThreadpoolController()
