"""Draw pixels with probability proportional to a value of their color, in the order of the pixels.

The running sum over all pixels is needed only at the drawn places: chunks of pixels are summed first, color by color,
and only the drawn chunks are looked into.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.threads import share_out, worker_threads

CHUNK = 1 << 19  # pixels that have far fewer colors
PIECE = 1 << 12  # pixels of a chunk: only in the piece of a draw their shares are added one by one

Floats = npt.NDArray[np.float64]


class PixelChunks:
    """Chunks of pixels as distinct colors with counts.

    Parameters
    ----------
    ranks : Tensor, int32 [N], on the CPU
        Which of the distinct colors each pixel has.
    n_colors : int
        M.
    weights : Tensor, float64 [N], optional
        1 for every pixel if not given; then all sums are exact.
    """

    def __init__(self, ranks: Tensor, n_colors: int, weights: Tensor | None = None) -> None:
        self._ranks, self._weights = ranks, weights
        self._starts = range(0, len(ranks), CHUNK)
        self._colors = [torch.zeros(0)] * len(self._starts)  # of each chunk: the ranks of its colors
        self._totals = [torch.zeros(0)] * len(self._starts)  # and their summed weights, float64
        self._scratch = torch.empty(min(CHUNK, len(ranks)), dtype=torch.float64)
        ones = torch.ones(len(self._scratch), dtype=torch.int32)
        tables: list[Tensor] = []

        def count(chunk: int) -> None:
            rows = self._rows(chunk)
            shares = ones[: rows.stop - rows.start] if weights is None else weights[rows]
            try:
                table = tables.pop()
            except IndexError:  # one per thread
                table = torch.zeros(n_colors, dtype=shares.dtype)
            table.index_add_(0, ranks[rows], shares)
            found = torch.from_numpy(np.flatnonzero(table.numpy() != 0))  # of numbers it takes four times as long
            self._totals[chunk] = table.index_select(0, found).double()
            table.index_fill_(0, found, 0)
            self._colors[chunk] = found.to(torch.int32)
            tables.append(table)

        share_out(range(len(self._starts)), count, worker_threads())
        self._n_colors = n_colors

    def totals(self) -> Tensor:  # [M] float64
        """The summed weights of each color."""
        totals = torch.zeros(self._n_colors, dtype=torch.float64)
        for colors, shares in zip(self._colors, self._totals, strict=True):
            totals.index_add_(0, colors, shares)
        return totals

    def draw(
        self,
        values: Tensor,  # [M] float64: squared distances between 8-bit colors
        uniforms: Floats,  # [L] in [0, 1)
    ) -> list[int]:  # [L]: the ranks of the drawn pixels' colors
        """Draw one pixel for each uniform number by the running sum of weight times value."""
        # one thread: two would spend more time on waking each other than these short calls take
        sums = np.array([self._sum(values, *entries) for entries in zip(self._colors, self._totals, strict=True)])
        ends = sums.cumsum()
        targets = uniforms * ends[-1]
        chunks = np.minimum(np.searchsorted(ends, targets), len(ends) - 1)
        rest = targets - (ends[chunks] - sums[chunks])
        return [self._look_into(values, *drawn) for drawn in zip(chunks.tolist(), rest.tolist(), strict=True)]

    def _sum(self, values: Tensor, colors: Tensor, totals: Tensor) -> float:
        shares = torch.index_select(values, 0, colors, out=self._scratch[: len(colors)])
        return float(np.dot(shares.numpy(), totals.numpy()))

    def _look_into(self, values: Tensor, chunk: int, target: float) -> int:
        shares = self._chosen(values, chunk).numpy()
        if self._weights is not None:
            shares *= self._weights[self._rows(chunk)].numpy()
        n_whole = len(shares) // PIECE
        sums = shares[: n_whole * PIECE].reshape(n_whole, PIECE).sum(axis=1)
        ends = np.append(sums, shares[n_whole * PIECE :].sum()).cumsum()
        piece = min(int(np.searchsorted(ends, target)), (len(shares) - 1) // PIECE)
        running = shares[piece * PIECE : (piece + 1) * PIECE].cumsum()
        place = int(np.searchsorted(running, target - (ends[piece - 1] if piece else 0)))
        return int(self._ranks[self._starts[chunk] + piece * PIECE + min(place, len(running) - 1)])

    def _chosen(self, values: Tensor, chunk: int) -> Tensor:
        ranks = self._ranks[self._rows(chunk)]
        return torch.index_select(values, 0, ranks, out=self._scratch[: len(ranks)])

    def _rows(self, chunk: int) -> slice:
        return slice(self._starts[chunk], min(self._starts[chunk] + CHUNK, len(self._ranks)))
