"""Lloyd steps over many floating-point points on the CPU: worker threads over tiles of rows.

Tiles have a size of their own, and what they add to the sums is added in their order, so the bits depend neither on
the number of threads nor on how many scores are held at once. The work is done by NumPy and SciPy, which release the
GIL; torch's operations would wait for each other's thread pools.

A point remembers by how much the second nearest center is farther than its own, and keeps its label, unseen, until the
centers have moved by as much (Hamerly, "Making k-means even faster", 2010).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gpuquant.ops.lloyd.tile_scores import ROWS, Doubles, Index, Labels, Singles, TileScores, block_rows
from gpuquant.threads import one_blas_thread, share_out, worker_threads

TILE_NUMBERS = 1 << 19  # of the points of a tile: threads that take turns with the GIL need long calls
KEPT_NUMBERS = 1 << 26  # in single precision: more are converted at every step rather than kept
SAMPLE = 1 << 11  # points of a tile that tell whether gaps are worth their cost
FEW_SCORES = 1 << 21  # so few are made faster by one thread than by several that wait for each other
MOST = 0.6  # of the points of a tile: if more have to be seen, all are
RETRIED = 0.7  # of the movement for which gaps were not worth their cost

Floats = npt.NDArray[np.floating]


class TiledLloyd:
    """The labels, sums and bounds of one run over one set of points."""

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
        keep = (n_columns + 2) * n_points <= KEPT_NUMBERS
        self._columns: list[Singles | None] | None = [None] * len(self._starts) if keep else None
        self._centers: Doubles | None = None  # those of the last step
        self._moved = np.inf  # how much nearer another center may be than before the last step
        self._way = np.zeros(len(self._starts), np.float32)  # the sum of that since all points of a tile were seen
        self._bounds = np.full(n_points, -1, np.float32)  # how long it may be while a point keeps its label
        self._refused = np.full(len(self._starts), np.inf)  # movements of a step for which gaps were not worth it
        self._n_seen = n_points  # by the last step
        self._sums = np.zeros((n_clusters, n_columns + 1))
        self._heaviest = np.zeros(n_clusters)  # the largest weights since the sums were last made anew

    def step(self, centers: Doubles) -> tuple[Doubles, Doubles, int]:  # sums [K, D], weights [K], labels that changed
        """Label every point with its nearest center [K, D], relative to the origin; the lowest wins among equals."""
        factors = np.column_stack([-2 * centers, np.einsum("ij,ij->i", centers, centers)])
        first = self._centers is None
        self._follow(centers)
        gained = np.zeros((len(self._starts), *self._sums.shape))
        seen, changed, moved = np.zeros((3, len(self._starts)), np.int64)

        def label(tile: int, rows: slice, buffers: Buffers) -> None:
            labels, weights = self._labels[rows], self._weights[rows]
            if first:
                found, _ = self._nearest(tile, rows, factors, buffers)
                gained[tile] = self._summed(self._centered(rows, None, buffers), weights, found)
                seen[tile] = moved[tile] = len(found)
                changed[tile] = self._counted(weights)
                labels[:] = found
                return
            found, index = self._nearest(tile, rows, factors, buffers)
            differ = np.flatnonzero(found != (labels if index is None else labels.take(index)))
            seen[tile], moved[tile] = len(found), len(differ)
            if len(differ):
                places, after = differ if index is None else index.take(differ), found.take(differ)
                weights, points = weights.take(places), self._centered(rows, places, buffers)
                both = np.concatenate([after, labels.take(places)])
                gained[tile] = self._summed(np.tile(points, (2, 1)), np.concatenate([weights, -weights]), both)
                changed[tile] = self._counted(weights)
                labels[places] = after

        self._over_tiles(label, self._n_seen)
        self._n_seen = int(seen.sum())
        if moved.any():
            self._sums += gained.sum(axis=0)
            self._refresh()
        sums = self._sums.copy()
        return sums[:, :-1], sums[:, -1], int(changed.sum())

    def inertia(self, centers: Doubles) -> float:  # [K, D], relative to the origin
        """Sum of weight times squared distance to the labeled center."""
        parts = np.zeros(len(self._starts))

        def add(tile: int, rows: slice, buffers: Buffers) -> None:
            apart = self._centered(rows, None, buffers)
            apart -= centers.take(self._labels[rows], axis=0)
            parts[tile] = np.einsum("ij,ij->i", apart, apart) @ self._weights[rows]

        self._over_tiles(add, len(self._points))
        return float(parts.sum())

    def _follow(self, centers: Doubles) -> None:
        """Note how far the centers have moved."""
        if self._centers is not None:
            self._moved = 2 * float(np.sqrt(np.square(centers - self._centers).sum(axis=1).max())) * (1 + 1e-9)
            with np.errstate(over="ignore"):
                self._way = np.nextafter(self._way + np.float32(self._moved), np.float32(np.inf))
        self._centers = centers.copy()

    def _nearest(
        self,
        tile: int,
        rows: slice,
        factors: Doubles,  # [K, D + 1]
        buffers: "Buffers",
    ) -> tuple[Labels, Index | None]:  # the labels of the points of a tile that had to be seen, and which ones
        columns, bounds, scores = self._columns_of(tile, rows, buffers), self._bounds[rows], buffers.scores
        n_points = len(bounds)
        expired = np.flatnonzero(bounds < self._way[tile])
        seen = None if len(expired) > MOST * n_points else expired
        if seen is None:
            self._way[tile] = 0
            with_gaps = self._gaps_pay(tile, columns, n_points, factors, scores)
        else:
            columns, n_points, with_gaps = scores.choose(columns, seen), len(seen), True
        found, doubtful, gaps = scores.nearest(columns, n_points, factors, with_gaps=with_gaps)
        if len(doubtful):
            points = self._centered(rows, doubtful if seen is None else seen.take(doubtful), buffers)
            found[doubtful] = scores.nearest_in_double(points, factors)
        if with_gaps:
            gaps += self._way[tile]
            gaps *= np.float32(1 - 2 * np.finfo(np.float32).eps)  # rounded down
            bounds[slice(None) if seen is None else seen] = gaps
        else:
            bounds[:] = -1
        return found, seen

    def _gaps_pay(self, tile: int, columns: Singles, n_points: int, factors: Doubles, scores: TileScores) -> bool:
        """Tell whether enough points could stay unseen in a next step that moves the centers as far as this one."""
        if self._moved > RETRIED * self._refused[tile] or self._moved == np.inf:
            return False
        sample = np.arange(0, n_points, -(-n_points // SAMPLE))
        _, _, gaps = scores.nearest(scores.choose(columns, sample), len(sample), factors, with_gaps=True)
        pay = np.count_nonzero(gaps < np.float64(self._moved)) <= MOST * len(gaps)
        self._refused[tile] = np.inf if pay else self._moved
        return bool(pay)

    def _columns_of(self, tile: int, rows: slice, buffers: "Buffers") -> Singles:
        kept = self._columns[tile] if self._columns else None
        if kept is None:
            kept = buffers.scores.columns_of(self._centered(rows, None, buffers))
            if self._columns:
                self._columns[tile] = kept
        return kept

    def _refresh(self) -> None:
        """Make sums anew when a cluster has lost half its weight: what is left would carry the rounding of the rest."""
        np.maximum(self._heaviest, self._sums[:, -1], out=self._heaviest)
        if not (self._sums[:, -1] < self._heaviest / 2).any():
            return
        parts = np.zeros((len(self._starts), *self._sums.shape))

        def add(tile: int, rows: slice, buffers: Buffers) -> None:
            parts[tile] = self._summed(self._centered(rows, None, buffers), self._weights[rows], self._labels[rows])

        self._over_tiles(add, len(self._points))
        self._sums = parts.sum(axis=0)
        self._heaviest = self._sums[:, -1].copy()

    def _summed(self, points: Doubles, weights: Doubles, labels: Labels) -> Doubles:  # [n, D], [n], [n] -> [K, D + 1]
        """The weighted sums of each cluster and, last, its weight."""
        from scipy.sparse import csc_array  # quantizing photos does without it, and it takes 0.1 s to import

        # a matrix with a point in every column adds row after row to the row's cluster
        entries = weights, labels, np.arange(len(points) + 1, dtype=np.int32)
        clusters = csc_array(entries, shape=(self._n_clusters, len(points)))
        return np.column_stack([clusters @ points, np.bincount(labels, weights, self._n_clusters)])

    def _counted(self, weights: Doubles) -> int:
        return len(weights) if self._count_weightless else int(np.count_nonzero(weights > 0))

    def _centered(self, rows: slice, index: Index | None, buffers: "Buffers") -> Doubles:  # [n, D]
        points = self._points[rows] if index is None else self._points[rows].take(index, axis=0)
        centered = buffers.centered[: len(points)]
        # loops over whole blocks of rows are several times faster than loops over a few columns
        origins, n_whole = np.tile(self._origin, ROWS), len(points) // ROWS * ROWS
        blocks = points[:n_whole].reshape(-1, len(origins))
        np.subtract(blocks, origins, out=centered[:n_whole].reshape(blocks.shape), dtype=np.float64)
        np.subtract(points[n_whole:], self._origin, out=centered[n_whole:], dtype=np.float64)
        return centered

    def _over_tiles(self, work: Callable[[int, slice, "Buffers"], None], n_points: int) -> None:
        """Call a function, which will see about so many points, on every tile with buffers of the thread's own."""

        def with_buffers(tile: int) -> None:
            try:
                buffers = self._spare.pop()
            except IndexError:
                buffers = Buffers(self._n_rows, self._points.shape[1], self._n_clusters, self._scores_at_once)
            work(tile, slice(self._starts[tile], min(self._starts[tile] + self._n_rows, len(self._points))), buffers)
            self._spare.append(buffers)

        n_workers = 1 if n_points * self._n_clusters < FEW_SCORES else worker_threads()
        with one_blas_thread():
            share_out(range(len(self._starts)), with_buffers, n_workers)


class Buffers:
    """The memory that a thread works in."""

    def __init__(self, n_rows: int, n_columns: int, n_clusters: int, scores_at_once: int) -> None:
        self.centered = np.empty((n_rows, n_columns))
        self.scores = TileScores(n_columns, n_clusters, n_rows, min(scores_at_once, n_rows * n_clusters))


def tile_rows(n_columns: int, n_clusters: int) -> int:
    """Rows of a tile: enough that the sums of all tiles take less memory than the points."""
    n_block = block_rows(n_columns, n_clusters)
    return max(TILE_NUMBERS // (max(4, n_columns) * n_block), -(-8 * n_clusters // n_block), 1) * n_block
