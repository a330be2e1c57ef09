"""Draw pixels with probability proportional to a value of their colour, in the order of the pixels.

The running sum over all pixels is needed only at the drawn places: short pieces are summed first, and only the drawn
pieces are looked into.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.cpu_ops import share_out

PIECE = 1 << 12  # so many squared distances between 8-bit colours add up to less than 2^31
CHUNK = 1 << 17


class PixelDraws:
    """Pixels by the rank of their colour.

    Parameters
    ----------
    ranks : Tensor, int32 [N], on the CPU
    weights : Tensor, float64 [N], optional
        1 for every pixel if not given; then all sums are exact.
    """

    def __init__(self, ranks: Tensor, weights: Tensor | None = None) -> None:
        self._ranks, self._weights = ranks, weights

    def draw(
        self,
        values: Tensor,  # [n_colors] int32: squared distances between 8-bit colours
        uniforms: npt.NDArray[np.float64],  # [L] in [0, 1)
    ) -> list[int]:  # [L]: the ranks of the drawn pixels' colours
        """Draw one pixel for each uniform number by the running sum of weight times value."""
        sums = np.zeros(-(-len(self._ranks) // PIECE))

        def add(start: int) -> None:
            shares = self._shares(values, start, CHUNK)
            rounded = len(shares) // PIECE * PIECE
            pieces = shares[:rounded].reshape(-1, PIECE)
            # sums of the shares' own dtype are many times faster, and exact
            sums[start // PIECE :][: len(pieces)] = np.add.reduce(pieces, axis=1, dtype=shares.dtype)
            if rounded < len(shares):
                sums[-1] = shares[rounded:].sum()

        share_out(range(0, len(self._ranks), CHUNK), add, torch.get_num_threads())
        ends = sums.cumsum()
        targets = uniforms * ends[-1]
        pieces = np.minimum(np.searchsorted(ends, targets), len(ends) - 1)
        return [
            self._look_into(values, piece * PIECE, target - (ends[piece] - sums[piece]))
            for piece, target in zip(pieces.tolist(), targets.tolist(), strict=True)
        ]

    def _look_into(self, values: Tensor, start: int, target: float) -> int:
        running = self._shares(values, start, PIECE).cumsum()
        return int(self._ranks[start + min(int(np.searchsorted(running, target)), len(running) - 1)])

    def _shares(self, values: Tensor, start: int, n_pixels: int) -> npt.NDArray[np.int32] | npt.NDArray[np.float64]:
        part = slice(start, start + n_pixels)
        shares = values.index_select(0, self._ranks[part]).numpy()
        return shares if self._weights is None else shares * self._weights[part].numpy()
