"""Distinct 8-bit colors with counts, cut into blocks of neighbors.

Levels are integers and sums of them are exact in float64, so nothing here depends on the order of summation, the
number of threads or the device.
"""

import torch
from torch import Tensor

from gpuquant.colors.codes import z_order
from gpuquant.threads import share_out, worker_threads

BLOCK = 128  # colors in a block
ORIGIN = 128.0  # levels are shifted to -128..127, which saves bits
COLORS_AT_ONCE = {"cpu": 1 << 14, "cuda": 1 << 30}  # on the CPU what fits the cache


class ColorBlocks:
    """The colors of B problems with their counts, cut into blocks of neighbors.

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
        keys = _keys(colors.reshape(-1, 3)).view(counts.shape)
        if not bool((keys[:, 1:] >= keys[:, :-1]).all()):
            self._order = keys.argsort(dim=1, stable=True)
            colors = colors.gather(1, self._order[:, :, None].expand(-1, -1, 3))
            counts = counts.gather(1, self._order)
        self.n_blocks = -(-self.n_points // BLOCK)  # of one problem
        padding = self.n_blocks * BLOCK - self.n_points
        if padding:
            colors = torch.cat([colors, colors[:, -1:].expand(-1, padding, 3)], dim=1)
            counts = torch.cat([counts, counts.new_zeros(self.n_problems, padding)], dim=1)
        shape = self.n_problems, self.n_blocks
        self.weights = counts.to(torch.float64).view(*shape, BLOCK)
        self.points = torch.empty(*shape, 3, BLOCK, device=colors.device)  # float32
        self.boxes = self.weights.new_empty(*shape, 4)  # middle and radius
        sums = self._fill(colors.reshape(-1, BLOCK, 3)).view(*shape, 5).sum(dim=1)
        self.total_weight, self.square_sum = sums[:, 0], sums[:, 4]  # [B]; the squares of the shifted levels
        spread = self.square_sum - sums[:, 1:4].square().sum(dim=1) / self.total_weight
        self.variance = spread / (3 * self.total_weight)  # [B]: of the pixels' levels, averaged over the channels

    def _fill(
        self,
        colors: Tensor,  # [B * n_blocks, BLOCK, 3] uint8
    ) -> Tensor:  # [B * n_blocks, 5] float64: pixels, and of these the shifted levels of R, G and B and all squares
        """Points and boxes, some blocks at a time."""
        points, boxes, weights = self.points.flatten(0, 1), self.boxes.flatten(0, 1), self.weights.flatten(0, 1)
        sums = boxes.new_empty(len(colors), 5)
        step = COLORS_AT_ONCE[colors.device.type] // BLOCK

        def fill(start: int) -> None:
            part = slice(start, start + step)
            levels = points[part].copy_(colors[part].transpose(1, 2)).sub_(ORIGIN)
            low, high = levels.amin(dim=2).double(), levels.amax(dim=2).double()
            boxes[part, :3] = (low + high) / 2
            boxes[part, 3] = (high - low).square().sum(dim=1).sqrt() / 2
            weighted = levels.double() * weights[part, None]
            sums[part, 0] = weights[part].sum(dim=1)
            sums[part, 1:4] = weighted.sum(dim=2)
            sums[part, 4] = weighted.mul_(levels).sum(dim=(1, 2))

        share_out(range(0, len(colors), step), fill, worker_threads())
        return sums

    def colors_at(
        self,
        problem: int,
        index: Tensor,  # [n] int64, positions in Z-order
    ) -> Tensor:  # [n, 3] float32, shifted by ORIGIN
        return self.points[problem, index // BLOCK, :, index % BLOCK]

    def points_at(self, problem: int, index: Tensor) -> Tensor:  # [n] int64 -> [n, 3] float64
        """Some colors, in levels."""
        return self.colors_at(problem, index).double() + ORIGIN

    def for_kernels(self) -> tuple[Tensor, Tensor, Tensor]:  # [B, n_blocks, 3, BLOCK], [B, 3], [B, places]
        """The points, what they are relative to, and their weights."""
        return self.points, self.weights.new_zeros(self.n_problems, 3), self.weights.view(self.n_problems, -1)

    def caller_order(
        self,
        values: Tensor,  # [B * R, n_blocks, BLOCK]: R runs on each problem
    ) -> Tensor:  # [B * R, M], in the order in which the colors were given
        flat = values.reshape(len(values), -1)[:, : self.n_points]
        if self._order is None:
            return flat
        order = self._order.repeat_interleave(len(values) // self.n_problems, dim=0)
        return torch.empty_like(flat).scatter_(1, order, flat)


def _keys(
    colors: Tensor,  # [M, 3] uint8
) -> Tensor:  # [M] int32
    """The places of the colors in Z-order."""
    step = COLORS_AT_ONCE[colors.device.type]
    keys = torch.empty(len(colors), dtype=torch.int32, device=colors.device)

    def fill(start: int) -> None:
        keys[start : start + step] = z_order(colors[start : start + step])

    share_out(range(0, len(colors), step), fill, worker_threads())
    return keys
