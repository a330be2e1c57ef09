"""The nearest centers of the points of a tile, by scores in single precision wherever these are certain.

A score is |c|^2 - 2 x.c. One center is nearest if its score is lower than all others by more than scores in single
precision can be off together; the few other points are scored again in double precision, with the labels that double
precision would give to all of them.
"""

import numpy as np
import numpy.typing as npt

PRODUCT = 1 << 19  # multiplications of one product: OpenBLAS repacks the factors of larger ones, which takes as long
MAX_SQUARE = 1e36  # of a distance to the origin: those between points and centers fit single precision
ROWS = 256  # products in double precision are computed on so many rows

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Index = npt.NDArray[np.intp]

_EPS = np.finfo(np.float32).eps
_HUGE = np.float32(3e38)  # puts a score out of the running, and is finite: 0 times infinity is no number


def block_rows(n_columns: int, n_clusters: int) -> int:
    """Rows that go into one product in single precision: a power of two."""
    fitting = max(1, PRODUCT // (n_clusters * (n_columns + 1)))
    return min(max(1 << (fitting.bit_length() - 1), ROWS), 2048)


class TileScores:
    """Memory that a thread scores points in: fresh memory costs more than the work.

    Points are held in single precision, column by column: `[D + 2, n]`, of which the last two are ones and the
    squared norms, and n is a multiple of the rows of a block. They are relative to an origin in their middle.
    """

    def __init__(self, n_columns: int, n_clusters: int, n_rows: int, scores_at_once: int) -> None:
        self._n_block = block_rows(n_columns, n_clusters)
        n_blocks = max(1, scores_at_once // (n_clusters * self._n_block))
        shape = n_blocks, n_clusters, self._n_block
        self._rows_at_once = max(1, scores_at_once // (n_clusters * ROWS)) * ROWS
        self._chosen = np.zeros((n_columns + 2) * n_rows, np.float32)
        self._scores, self._others = np.empty((2, *shape), np.float32)
        self._winning = np.empty(shape, np.bool_)
        self._kind = np.min_scalar_type(n_clusters)
        self._index = np.arange(n_clusters, dtype=self._kind)[:, None]

    def columns_of(self, centered: Doubles) -> Singles:  # [n, D] -> [D + 2, n and padding]
        """Points as they are scored."""
        n_points, n_columns = centered.shape
        columns = np.zeros((n_columns + 2, -(-n_points // self._n_block) * self._n_block), np.float32)
        with np.errstate(over="ignore"):  # infinite is what too large for single precision is
            columns[:-2, :n_points] = centered.T
            columns[-1, :n_points] = np.einsum("ij,ij->i", centered, centered)
        columns[-2] = 1
        return columns

    def choose(self, columns: Singles, index: Index) -> Singles:  # [D + 2, N], [n] -> [D + 2, n and padding]
        """Some of the points, in memory that the next call uses again."""
        padded = np.append(index, np.zeros(-len(index) % self._n_block, np.intp))
        chosen = self._chosen[: len(columns) * len(padded)].reshape(len(columns), len(padded))
        return np.take(columns, padded, axis=1, out=chosen, mode="clip")

    def nearest(
        self,
        columns: Singles,  # [D + 2, n and padding]
        n_points: int,
        factors: Doubles,  # [K, D + 1]: -2 c and |c|^2 of every center
        *,
        with_gaps: bool,
    ) -> tuple[Labels, Index, Singles]:  # [n], which ones are in doubt, [n] or empty
        """The nearest center of every point, and by how much the next one is farther, or a little less.

        Where single precision leaves doubt, any label may be wrong, and the gap is 0.
        """
        if not (columns[-1].max(initial=0) < MAX_SQUARE and factors[:, -1].max() < MAX_SQUARE):
            return np.zeros(n_points, np.int32), np.arange(n_points), np.zeros(n_points, np.float32)
        n_columns, n_block, kind = len(columns) - 2, self._n_block, self._kind
        factors_in_single = factors.astype(np.float32)
        # A score is off by at most D + 4 roundings (its D + 2 operations, and factors that are rounded themselves) by
        # eps / 2 of |c|^2 + 2 |x| |c| <= (|x| + |c|)^2 <= 2 (|x|^2 + |c|^2), and two scores by twice as much. What the
        # doubt has beyond that covers its own rounding and that of scores in double precision.
        doubt = np.float32(4 * (n_columns + 8) * _EPS)
        least = np.float32(doubt * factors[:, -1].max() + 4 * (n_columns + 8) * np.finfo(np.float32).tiny)
        found, winners = np.empty(n_points, np.int32), np.empty(n_points, kind)
        gaps = np.empty(n_points if with_gaps else 0, np.float32)
        step = len(self._scores) * n_block
        for start in range(0, n_points, step):
            part = columns[:, start : start + step]
            blocks = part.reshape(len(part), -1, n_block)
            rows, n_blocks = slice(start, min(start + step, n_points)), blocks.shape[1]
            scores, winning, squares = self._scores[:n_blocks], self._winning[:n_blocks], blocks[-1]
            np.matmul(factors_in_single, blocks[:-1].transpose(1, 0, 2), out=scores)
            lowest = scores.min(axis=1)
            doubts = squares * doubt
            doubts += least
            np.less_equal(scores, (lowest + doubts)[:, None], out=winning)
            if with_gaps:
                others = np.multiply(winning, _HUGE, out=self._others[:n_blocks])
                others += scores
                _subtract_roots(others.min(axis=1), lowest, squares, doubts, gaps[rows])
            codes = winning.view(np.uint8) if kind == np.uint8 else winning.astype(kind)
            winners[rows] = codes.sum(axis=1, dtype=kind).reshape(-1)[: rows.stop - start]
            codes -= kind.type(1)  # all bits where a center does not win
            codes |= self._index
            found[rows] = codes.min(axis=1).reshape(-1)[: rows.stop - start]
        doubtful = np.flatnonzero(winners != 1)
        if with_gaps:
            gaps[doubtful] = 0
        return found, doubtful, gaps

    def nearest_in_double(self, points: Doubles, factors: Doubles) -> Labels:  # [n, D], [K, D + 1] -> [n]
        """The nearest center of every point, the lowest among equals."""
        transposed, step = np.ascontiguousarray(factors.T), self._rows_at_once
        found = np.empty(len(points), np.int32)
        for start in range(0, len(points), step):
            part = points[start : start + step]
            padded = np.ones((-(-len(part) // ROWS) * ROWS, len(transposed)))
            padded[: len(part), :-1] = part
            scores = np.matmul(padded.reshape(-1, ROWS, len(transposed)), transposed)
            found[start : start + step] = scores.reshape(-1, len(factors))[: len(part)].argmin(axis=1)
        return found


def _subtract_roots(second: Singles, lowest: Singles, squares: Singles, doubts: Singles, gaps: Singles) -> None:
    """Fill in by how much the root of the second squared distance exceeds that of the lowest, rounded down."""
    second += squares
    second -= doubts
    np.maximum(second, 0, out=second)
    lowest += squares
    lowest += doubts
    np.maximum(lowest, 0, out=lowest)
    np.sqrt(second, out=second)
    np.sqrt(lowest, out=lowest)
    second *= np.float32(1 - 4 * _EPS)
    lowest *= np.float32(1 + 4 * _EPS)
    second -= lowest
    gaps[:] = second.reshape(-1)[: len(gaps)]
