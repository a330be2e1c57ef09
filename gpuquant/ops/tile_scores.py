"""The nearest centers of the points of a tile, by scores in single precision wherever these are certain.

A score is |c|^2 - 2 x.c. One center is nearest if its score is lower than all others by more than scores in single
precision can be off together; the few other points are scored again in double precision, with the labels that double
precision would give to all of them.
"""

import numpy as np
import numpy.typing as npt

PRODUCT = 1 << 19  # multiplications of one product: OpenBLAS repacks the factors of larger ones, which takes as long
MAX_REACH = 1e18  # squares of distances fit single precision
ROWS = 256  # products in double precision are computed on so many rows, which all round alike

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Index = npt.NDArray[np.intp]

_EPS = np.finfo(np.float32).eps


def block_rows(n_columns: int, n_clusters: int) -> int:
    """Rows that go into one product in single precision: a power of two."""
    fitting = max(1, PRODUCT // (n_clusters * (n_columns + 1)))
    return min(max(1 << (fitting.bit_length() - 1), ROWS), 2048)


class TileScores:
    """Memory that a thread scores points in: fresh memory costs more than the work."""

    def __init__(self, n_columns: int, n_clusters: int, scores_at_once: int) -> None:
        n_block = block_rows(n_columns, n_clusters)
        shape = max(1, scores_at_once // (n_clusters * n_block)), n_clusters, n_block
        self._rows_at_once = max(1, scores_at_once // (n_clusters * ROWS)) * ROWS
        self._columns = np.ones((shape[0], n_columns + 1, n_block), np.float32)  # the last column stays 1
        self._squares = np.zeros((shape[0], n_block), np.float32)
        self._scores = np.empty(shape, np.float32)
        self._winning = np.empty(shape, np.bool_)
        self._kind = np.min_scalar_type(n_clusters)
        self._index = np.arange(n_clusters, dtype=self._kind)[:, None]

    def nearest(
        self,
        points: Doubles,  # [n, D]
        squares: Singles,  # [n]: their squared norms
        factors: Doubles,  # [K, D + 1]: -2 c and |c|^2 of every center
        reach: float,  # no center is farther from the origin
        margin: float,  # a distance
    ) -> tuple[Labels, Index]:  # [n], and places where another center may be nearest or less than the margin farther
        """The nearest center of every point, the lowest among equals, and which ones hold by less than the margin."""
        if not (reach < MAX_REACH and float(squares.max(initial=0)) < MAX_REACH**2):
            return self._nearest_in_double(points, factors), np.arange(len(points))
        found, close = self._nearest_in_single(points, squares, factors, reach, margin)
        if len(close) == 0:
            return found, close
        chosen = points.take(close, axis=0)
        if margin > 0:
            found[close], _ = self.nearest(chosen, squares.take(close), factors, reach, 0)
        else:
            found[close] = self._nearest_in_double(chosen, factors)
        return found, close

    def n_close(self, points: Doubles, squares: Singles, factors: Doubles, reach: float, margin: float) -> int:
        """How many points have another center that is less than the margin farther than the nearest."""
        if not (reach < MAX_REACH and float(squares.max(initial=0)) < MAX_REACH**2):
            return len(points)
        return len(self._nearest_in_single(points, squares, factors, reach, margin)[1])

    def _nearest_in_single(
        self, points: Doubles, squares: Singles, factors: Doubles, reach: float, margin: float
    ) -> tuple[Labels, Index]:
        """Labels, and places of points that have several centers within the margin and the doubt of scores."""
        n_points, n_columns = points.shape
        n_block, kind, factors_in_single = self._scores.shape[2], self._kind, factors.astype(np.float32)
        # A score is off by at most D + 4 roundings (its D + 2 operations, and factors that are rounded themselves) by
        # eps / 2 of |c|^2 + 2 |x| |c| <= (|x| + |c|)^2, and two scores by twice as much. What the doubt has beyond that
        # covers its own rounding and that of scores in double precision.
        doubt = np.float32(2 * (n_columns + 8) * _EPS)
        least = np.float32(4 * (n_columns + 8) * np.finfo(np.float32).tiny)
        found, winners = np.empty(n_points, np.int32), np.empty(n_points, kind)
        step = len(self._scores) * n_block
        for start in range(0, n_points, step):
            rows = slice(start, min(start + step, n_points))
            n_blocks = self._fill(points[rows], squares[rows])
            columns, scores, winning = self._columns[:n_blocks], self._scores[:n_blocks], self._winning[:n_blocks]
            np.matmul(factors_in_single, columns, out=scores)
            limits = scores.min(axis=1)
            doubts = np.sqrt(self._squares[:n_blocks])
            doubts += np.float32(reach)
            doubts *= doubts
            doubts *= doubt
            doubts += least
            if margin > 0:
                limits += _gap(limits + self._squares[:n_blocks], doubts, np.float32(margin))
            limits += doubts
            np.less_equal(scores, limits[:, None], out=winning)
            codes = winning.view(np.uint8) if kind == np.uint8 else winning.astype(kind)
            winners[rows] = codes.sum(axis=1, dtype=kind).reshape(-1)[: rows.stop - start]
            codes -= kind.type(1)  # all bits where a center does not win
            codes |= self._index
            found[rows] = codes.min(axis=1).reshape(-1)[: rows.stop - start]
        return found, np.flatnonzero(winners != 1)

    def _fill(self, points: Doubles, squares: Singles) -> int:
        """Lay points out block by block and column by column; returns the number of blocks."""
        n_block = self._scores.shape[2]
        n_whole, n_rest = divmod(len(points), n_block)
        whole = points[: n_whole * n_block].reshape(n_whole, n_block, points.shape[1])
        self._columns[:n_whole, :-1] = whole.transpose(0, 2, 1)
        if n_rest:
            self._columns[n_whole, :-1, :n_rest] = points[n_whole * n_block :].T
        self._squares.reshape(-1)[: len(points)] = squares
        return n_whole + (n_rest > 0)

    def _nearest_in_double(self, points: Doubles, factors: Doubles) -> Labels:
        columns, step = np.ascontiguousarray(factors.T), self._rows_at_once
        found = np.empty(len(points), np.int32)
        for start in range(0, len(points), step):
            part = points[start : start + step]
            padded = np.ones((-(-len(part) // ROWS) * ROWS, len(columns)))
            padded[: len(part), :-1] = part
            scores = np.matmul(padded.reshape(-1, ROWS, len(columns)), columns)
            found[start : start + step] = scores.reshape(-1, len(factors))[: len(part)].argmin(axis=1)
        return found


def _gap(lowest: Singles, doubts: Singles, margin: np.float32) -> Singles:
    """By how much a squared distance exceeds the lowest one if its root does so by the margin."""
    lowest = np.maximum(lowest, 0)
    lowest += doubts
    gap: Singles = np.sqrt(lowest, out=lowest)
    gap *= 2
    gap += margin
    gap *= margin * np.float32(1 + 1e-5)  # rounded up
    return gap
