"""Lloyd steps over many floating-point points on the CPU: worker threads over tiles of rows.

Points are scored in single precision, which decides wherever one center is nearer than the others by more than such
scores can be off; the few other points are scored again in double precision. The labels are those of double precision.

Tiles have a size of their own, and their sums are added in their order, so the bits depend neither on the number of
threads nor on how many scores are held at once. The work is done by NumPy and SciPy, which release the GIL; torch's
operations would wait for each other's thread pools.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import ThreadpoolController

from gpuquant.ops.cpu_ops import share_out

if TYPE_CHECKING:
    from scipy.sparse import csc_array

TILE_NUMBERS = 1 << 17  # 1 MiB of float64: the points of a tile stay in the L2 cache
PRODUCT = 1 << 19  # multiplications of one product: OpenBLAS repacks the factors of larger ones, which takes as long
ROWS = 256  # products in double precision are computed on so many rows, which all round alike

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]


class TiledLloyd:
    """The labels and sums of one run over one set of points."""

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
        n_points, n_columns = points.shape
        self._n_block = block_rows(n_columns, n_clusters)
        self._n_rows = tile_rows(n_columns, n_clusters)
        self._scores_at_once = scores_at_once
        self._starts = range(0, n_points, self._n_rows)
        self._sums = np.zeros((len(self._starts), n_clusters, n_columns + 1))
        self._reach = np.full(len(self._starts), np.nan)  # of a tile: how far its points are from the origin
        self._n_doubtful = np.zeros(len(self._starts), np.int64)  # points of a tile that the last step scored again

    def step(self, centers: Doubles) -> tuple[Doubles, Doubles, int]:  # sums [K, D], weights [K], labels that changed
        """Label every point with its nearest center [K, D], relative to the origin; the lowest wins among equals."""
        factors = np.column_stack([-2 * centers, np.einsum("ij,ij->i", centers, centers)])
        changed = np.zeros(len(self._starts), np.int64)

        def label(tile: int, rows: slice, buffers: Buffers) -> None:
            found = self._nearest(tile, buffers, rows.stop - rows.start, factors)
            weights = self._weights[rows]
            differ = found != self._labels[rows]
            if differ.any():
                changed[tile] = np.count_nonzero(differ if self._count_weightless else differ & (weights > 0))
                self._labels[rows] = found
                self._sums[tile] = buffers.summed(found, weights, self._n_clusters)

        self._over_tiles(label)
        sums: Doubles = self._sums.sum(axis=0)
        return sums[:, :-1], sums[:, -1], int(changed.sum())

    def inertia(self, centers: Doubles) -> float:  # [K, D], relative to the origin
        """Sum of weight times squared distance to the labelled center."""
        parts = np.zeros(len(self._starts))

        def add(tile: int, rows: slice, buffers: Buffers) -> None:
            apart = buffers.centred[: rows.stop - rows.start]
            apart -= centers.take(self._labels[rows], axis=0)
            parts[tile] = np.einsum("ij,ij->i", apart, apart) @ self._weights[rows]

        self._over_tiles(add)
        return float(parts.sum())

    def _over_tiles(self, work: Callable[[int, slice, "Buffers"], None]) -> None:
        """Call a function on every tile with its rows and with buffers that hold its centred points."""

        def on_tile(tile: int) -> None:
            rows = slice(self._starts[tile], min(self._starts[tile] + self._n_rows, len(self._points)))
            try:
                buffers = self._spare.pop()
            except IndexError:
                buffers = Buffers.of(self._points.shape[1], self._n_clusters, self._scores_at_once)
            # loops over whole blocks of rows are several times faster than loops over a few columns
            points, origins = self._points[rows], np.tile(self._origin, ROWS)
            n_whole = len(points) // ROWS * ROWS
            blocks, centred = points[:n_whole].reshape(-1, len(origins)), buffers.centred[: len(points)]
            np.subtract(blocks, origins, out=centred[:n_whole].reshape(blocks.shape), dtype=np.float64)
            np.subtract(points[n_whole:], self._origin, out=centred[n_whole:], dtype=np.float64)
            work(tile, rows, buffers)
            self._spare.append(buffers)

        with one_blas_thread():
            share_out(range(len(self._starts)), on_tile, torch.get_num_threads())

    def _nearest(self, tile: int, buffers: "Buffers", n_points: int, factors: Doubles) -> Labels:  # [n_points]
        centred = buffers.centred[:n_points]
        if np.isnan(self._reach[tile]):
            self._reach[tile] = np.sqrt(np.einsum("ij,ij->i", centred, centred).max())
        squared_reach = (self._reach[tile] + np.sqrt(factors[:, -1].max())) ** 2
        # scores beyond single precision, or mostly in doubt
        if squared_reach > np.finfo(np.float32).max / 8 or self._n_doubtful[tile] > n_points / 2:
            return self._nearest_exactly(centred, factors)
        # of n_columns + 1 products, of their sum and of their factors each is off by half a unit of rounding at most
        doubt = 2 * (self._points.shape[1] + 8) * np.finfo(np.float32).eps * squared_reach + np.finfo(np.float32).tiny
        found, certain = buffers.nearest(n_points, factors.astype(np.float32), np.float32(doubt))
        doubtful = np.flatnonzero(~certain)
        self._n_doubtful[tile] = len(doubtful)
        if len(doubtful):
            found[doubtful] = self._nearest_exactly(centred[doubtful], factors)
        return found

    def _nearest_exactly(self, centred: Doubles, factors: Doubles) -> Labels:  # [n, D], [K, D + 1] -> [n]
        columns = np.ascontiguousarray(factors.T)
        n_scored = max(1, self._scores_at_once // (self._n_clusters * ROWS)) * ROWS
        found = np.empty(len(centred), np.int32)
        for first in range(0, len(centred), n_scored):
            part = centred[first : first + n_scored]
            padded = np.ones((-(-len(part) // ROWS) * ROWS, len(columns)))
            padded[: len(part), :-1] = part
            scores = np.matmul(padded.reshape(-1, ROWS, len(columns)), columns)
            found[first : first + n_scored] = scores.reshape(-1, self._n_clusters)[: len(part)].argmin(axis=1)
        return found


@dataclass(frozen=True, eq=False)
class Buffers:
    """What a thread works in: fresh memory costs more than the work."""

    centred: Doubles  # [n_rows, D]
    columns: Singles  # [n, D + 1, n_block]: the points of several blocks; the last column is of ones
    scores: Singles  # [n, K, n_block]
    winning: npt.NDArray[np.bool_]  # [n, K, n_block]
    clusters: "csc_array"  # [K, n_rows]: a point in every column, in the row of its cluster

    @classmethod
    def of(cls, n_columns: int, n_clusters: int, scores_at_once: int) -> "Buffers":
        from scipy.sparse import csc_array  # quantising photos does without it, and it takes 0.1 s to import

        n_rows, n_block = tile_rows(n_columns, n_clusters), block_rows(n_columns, n_clusters)
        n_blocks = min(max(1, scores_at_once // (n_clusters * n_block)), n_rows // n_block)
        entries = np.zeros(n_rows), np.zeros(n_rows, np.int32), np.arange(n_rows + 1, dtype=np.int32)
        return cls(
            np.zeros((n_rows, n_columns)),
            np.ones((n_blocks, n_columns + 1, n_block), np.float32),
            np.empty((n_blocks, n_clusters, n_block), np.float32),
            np.empty((n_blocks, n_clusters, n_block), np.bool_),
            csc_array(entries, shape=(n_clusters, n_rows)),
        )

    def nearest(
        self,
        n_points: int,
        factors: Singles,  # [K, D + 1]
        doubt: np.float32,  # scores that are farther apart are in the right order
    ) -> tuple[Labels, npt.NDArray[np.bool_]]:  # [n_points], [n_points]
        """The nearest center of each centred point, and whether it is certain."""
        n_together, n_clusters, n_block = self.scores.shape
        n_blocks = -(-n_points // n_block)
        kind = np.min_scalar_type(n_clusters)
        index = np.arange(n_clusters, dtype=kind)[:, None]
        blocks = self.centred[: n_blocks * n_block].reshape(n_blocks, n_block, -1).transpose(0, 2, 1)
        found, winners = np.empty((n_blocks, n_block), np.int32), np.empty((n_blocks, n_block), kind)
        for first in range(0, n_blocks, n_together):
            part = slice(first, min(first + n_together, n_blocks))
            columns, scores, winning = (
                buffer[: part.stop - first] for buffer in (self.columns, self.scores, self.winning)
            )
            columns[:, :-1] = blocks[part]
            np.matmul(factors, columns, out=scores)
            lowest = scores.min(axis=1, keepdims=True)
            lowest += doubt
            np.less_equal(scores, lowest, out=winning)
            codes = winning.view(np.uint8) if kind == np.uint8 else winning.astype(kind)
            codes.sum(axis=1, dtype=kind, out=winners[part])
            codes -= kind.type(1)  # all bits where a center does not win
            codes |= index
            found[part] = codes.min(axis=1)
        return found.reshape(-1)[:n_points], winners.reshape(-1)[:n_points] == 1

    def summed(self, labels: Labels, weights: Doubles, n_clusters: int) -> Doubles:  # [n], [n] -> [K, D + 1]
        """The weighted sums of the centred points in each cluster and, last, their weights."""
        self.clusters.indices[: len(labels)] = labels
        self.clusters.data[: len(labels)] = weights
        self.clusters.data[len(labels) :] = 0
        # row after row is added to the row's cluster
        return np.column_stack([self.clusters @ self.centred, np.bincount(labels, weights, n_clusters)])


def block_rows(n_columns: int, n_clusters: int) -> int:
    """Rows that go into one product."""
    fitting = PRODUCT // (n_clusters * (n_columns + 1))
    return min(max(1 << fitting.bit_length() - 1 if fitting else 0, ROWS), 2048)


def tile_rows(n_columns: int, n_clusters: int) -> int:
    """Rows of a tile: enough that the sums of all tiles take less memory than the points."""
    n_block = block_rows(n_columns, n_clusters)
    return max(TILE_NUMBERS // (max(8, n_columns) * n_block), -(-8 * n_clusters // n_block), 1) * n_block


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Threads of the BLAS would get in the way of ours, and of torch's."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> Any:
    return ThreadpoolController()
