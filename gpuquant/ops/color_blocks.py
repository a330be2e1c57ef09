"""Distinct 8-bit colours with counts, cut into blocks of neighbours.

Levels are integers and sums of them are exact in float64, so nothing here depends on the order of summation, the
number of threads or the device.
"""

import torch
from torch import Tensor

from gpuquant.ops.color_codes import z_order

BLOCK = 128  # colours in a block
ORIGIN = 128.0  # levels are shifted to -128..127, which saves bits


class ColorBlocks:
    """Distinct colours with their counts, cut into blocks of neighbours.

    Parameters
    ----------
    colors : Tensor, uint8 [M, 3], distinct or not, in any order
    counts : Tensor, int64 or float64 [M], integers; 0 is padding
    """

    def __init__(self, colors: Tensor, counts: Tensor) -> None:
        keys = z_order(colors)
        self._order: Tensor | None = None
        if not bool((keys[1:] >= keys[:-1]).all()):
            self._order = keys.argsort(stable=True)
            colors, counts = colors[self._order], counts[self._order]
        self.n_points = len(colors)
        self.n_blocks = -(-self.n_points // BLOCK)
        padding = self.n_blocks * BLOCK - self.n_points
        points = colors.to(torch.float32) - ORIGIN
        weights = counts.to(torch.float64)
        if padding:
            points = torch.cat([points, points[-1:].expand(padding, 3)])
            weights = torch.cat([weights, weights.new_zeros(padding)])
        self.points = points.view(self.n_blocks, BLOCK, 3).transpose(1, 2).contiguous()  # [n_blocks, 3, BLOCK] float32
        self.weights = weights.view(self.n_blocks, BLOCK)  # float64
        self.boxes = boxes_around(self.points)  # [n_blocks, 4] float64: middle and radius
        self.total_weight = float(self.weights.sum())
        sums = points.t().double() @ weights
        self.square_sum = float(points.square().sum(dim=1).double() @ weights)  # of the shifted levels
        # the variance of the pixels' levels, averaged over the channels
        self.variance = (self.square_sum - float(sums.square().sum()) / self.total_weight) / (3 * self.total_weight)

    def colors_at(
        self,
        index: Tensor,  # [n] int64, positions in Z-order
    ) -> Tensor:  # [n, 3] float32, shifted by ORIGIN
        return self.points[index // BLOCK, :, index % BLOCK]

    def caller_order(self, values: Tensor) -> Tensor:
        """Values of the blocks' points [n_blocks, BLOCK] in the order in which the colours were given, [M]."""
        flat = values.reshape(-1)[: self.n_points]
        if self._order is None:
            return flat
        return torch.empty_like(flat).index_copy_(0, self._order, flat)


def boxes_around(points: Tensor) -> Tensor:  # [n, 3, size] float32 -> [n, 4] float64
    """The middle and the radius of the smallest box around each group of points."""
    low, high = points.amin(dim=2).double(), points.amax(dim=2).double()
    return torch.cat([(low + high) / 2, (high - low).square().sum(dim=1, keepdim=True).sqrt() / 2], dim=1)
