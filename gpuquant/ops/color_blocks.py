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
    """The colours of B problems with their counts, cut into blocks of neighbours.

    Parameters
    ----------
    colors : Tensor, uint8 [B, M, 3], distinct or not, in any order
    counts : Tensor, int64 or float64 [B, M], integers; 0 is padding
    chunk_size : int, optional
        Bounds the scores that are held at a time to 64 numbers per unit.
    """

    n_columns = 3
    group = BLOCK  # points that lie together, channel by channel

    def __init__(self, colors: Tensor, counts: Tensor, chunk_size: int | None = None) -> None:
        self.chunk_size = chunk_size
        self.n_problems, self.n_points = counts.shape
        self._order: Tensor | None = None  # [B, M]: what is at each place in Z-order
        keys = z_order(colors.reshape(-1, 3)).view(counts.shape)
        if not bool((keys[:, 1:] >= keys[:, :-1]).all()):
            self._order = keys.argsort(dim=1, stable=True)
            colors = colors.gather(1, self._order[:, :, None].expand(-1, -1, 3))
            counts = counts.gather(1, self._order)
        self.n_blocks = -(-self.n_points // BLOCK)  # of one problem
        padding = self.n_blocks * BLOCK - self.n_points
        points = colors.to(torch.float32) - ORIGIN
        weights = counts.to(torch.float64)
        if padding:
            points = torch.cat([points, points[:, -1:].expand(-1, padding, 3)], dim=1)
            weights = torch.cat([weights, weights.new_zeros(self.n_problems, padding)], dim=1)
        self.weights = weights.view(self.n_problems, self.n_blocks, BLOCK)  # float64
        split = points.view(self.n_problems, self.n_blocks, BLOCK, 3)
        self.points = split.transpose(2, 3).contiguous()  # [B, n_blocks, 3, BLOCK] float32
        low, high = self.points.amin(dim=3).double(), self.points.amax(dim=3).double()
        radii = (high - low).square().sum(dim=2, keepdim=True).sqrt() / 2
        self.boxes = torch.cat([(low + high) / 2, radii], dim=2)  # [B, n_blocks, 4] float64: middle and radius
        self.total_weight = weights.sum(dim=1)  # [B]
        sums = weights.new_zeros(3, self.n_problems)
        self.square_sum = weights.new_zeros(self.n_problems)  # of the shifted levels
        for axis in range(3):
            levels = self.points[:, :, axis].double()
            weighted = levels * self.weights
            sums[axis] = weighted.sum(dim=(1, 2))
            self.square_sum += weighted.mul_(levels).sum(dim=(1, 2))
        spread = self.square_sum - sums.square().sum(dim=0) / self.total_weight
        self.variance = spread / (3 * self.total_weight)  # [B]: of the pixels' levels, averaged over the channels

    def colors_at(
        self,
        problem: int,
        index: Tensor,  # [n] int64, positions in Z-order
    ) -> Tensor:  # [n, 3] float32, shifted by ORIGIN
        return self.points[problem, index // BLOCK, :, index % BLOCK]

    def points_at(self, problem: int, index: Tensor) -> Tensor:  # [n] int64 -> [n, 3] float64
        """Some colours, in levels."""
        return self.colors_at(problem, index).double() + ORIGIN

    def for_kernels(self) -> tuple[Tensor, Tensor, Tensor]:  # [B, n_blocks, 3, BLOCK], [B, 3], [B, places]
        """The points, what they are relative to, and their weights."""
        return self.points, self.weights.new_zeros(self.n_problems, 3), self.weights.view(self.n_problems, -1)

    def caller_order(
        self,
        values: Tensor,  # [B * R, n_blocks, BLOCK]: R runs on each problem
    ) -> Tensor:  # [B * R, M], in the order in which the colours were given
        flat = values.reshape(len(values), -1)[:, : self.n_points]
        if self._order is None:
            return flat
        order = self._order.repeat_interleave(len(values) // self.n_problems, dim=0)
        return torch.empty_like(flat).scatter_(1, order, flat)
