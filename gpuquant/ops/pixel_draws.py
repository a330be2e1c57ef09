"""Draw pixels with probability proportional to a value of their colour, in the order of the pixels.

The running sum over all pixels is needed only at the drawn places. Every chunk of pixels keeps which colours it has
and how often, so that its sum is one short product; then the drawn chunks alone are looked into.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.cpu_ops import share_out

CHUNK = 1 << 19
PIECE = 1 << 12


class PixelDraws:
    """Pixels by the rank of their colour, cut into chunks.

    Parameters
    ----------
    ranks : Tensor, int32 [N], on the CPU
    n_colors : int
    weights : Tensor, float64 [N], optional
        1 for every pixel if not given; then sums of integer values are exact.
    """

    def __init__(self, ranks: Tensor, n_colors: int, weights: Tensor | None = None) -> None:
        self._ranks, self._weights = ranks, weights
        self._starts = range(0, len(ranks), CHUNK)
        self._chunks: dict[int, tuple[Tensor, Tensor]] = {}

        def count(start: int) -> None:
            part = slice(start, start + CHUNK)
            added = torch.ones(len(ranks[part]), dtype=torch.int32) if weights is None else weights[part]
            table = torch.zeros(n_colors, dtype=added.dtype).index_add_(0, ranks[part], added)
            found = torch.from_numpy(np.flatnonzero(table.numpy() != 0).astype(np.int32))
            self._chunks[start] = found, table.index_select(0, found).double()

        share_out(self._starts, count, torch.get_num_threads())

    def draw(
        self,
        values: Tensor,  # [n_colors] float64
        uniforms: npt.NDArray[np.float64],  # [L] in [0, 1)
    ) -> list[int]:  # [L]: the ranks of the drawn pixels' colours
        """Draw one pixel for each uniform number by the running sum of weight times value."""
        sums = np.zeros(len(self._starts))

        def add(index: int) -> None:
            ranks, weights = self._chunks[self._starts[index]]
            sums[index] = np.einsum("i,i->", values.index_select(0, ranks).numpy(), weights.numpy())  # no BLAS threads

        share_out(range(len(sums)), add, torch.get_num_threads())
        ends = sums.cumsum()
        targets = uniforms * ends[-1]
        chunks = np.minimum(np.searchsorted(ends, targets), len(ends) - 1)
        return [
            self._look_into(values, chunk, target - (ends[chunk] - sums[chunk]))
            for chunk, target in zip(chunks, targets, strict=True)
        ]

    def _look_into(self, values: Tensor, chunk: int, target: float) -> int:
        part = slice(self._starts[chunk], self._starts[chunk] + CHUNK)
        ranks = self._ranks[part]
        shares = values.index_select(0, ranks).numpy()
        if self._weights is not None:
            shares = shares * self._weights[part].numpy()
        pieces = np.add.reduceat(shares, range(0, len(shares), PIECE)).cumsum()
        piece = min(int(np.searchsorted(pieces, target)), len(pieces) - 1)
        before = pieces[piece - 1] if piece else 0.0
        within = before + shares[piece * PIECE : (piece + 1) * PIECE].cumsum()
        return int(ranks[piece * PIECE + min(int(np.searchsorted(within, target)), len(within) - 1)])
