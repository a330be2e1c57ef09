"""Distinct 8-bit colors with counts, cut into blocks of neighbors as CUDA's kernels read them."""

from functools import cached_property

import torch
from torch import Tensor

from gpuquant.ops.points.colors import ORIGIN, ColorPoints

BLOCK = 128  # colors in a block: a warp reads each channel of them in one go


class ColorBlocks(ColorPoints):
    """The colors of B problems, whose blocks hold their levels channel by channel."""

    group = BLOCK  # points that lie together, channel by channel

    @property
    def n_blocks(self) -> int:
        """Of one problem; the last one is filled up with weights of 0."""
        return -(-self.n_points // BLOCK)

    @cached_property
    def _blocks(self) -> tuple[Tensor, Tensor]:  # [B, n_blocks, 3, BLOCK] float32, [B, n_blocks * BLOCK] float64
        padding = self.n_blocks * BLOCK - self.n_points
        last = self.colors[:, -1:].expand(-1, padding, 3)
        levels = torch.cat([self.colors, last], dim=1).view(self.n_problems, -1, BLOCK, 3).mT.float() - ORIGIN
        return levels.contiguous(), torch.nn.functional.pad(self.weights, (0, padding))

    def for_kernels(self) -> tuple[Tensor, Tensor, Tensor]:  # [B, n_blocks, 3, BLOCK], [B, 3], [B, places]
        """The points, what they are relative to, and their weights."""
        points, weights = self._blocks
        return points, weights.new_zeros(self.n_problems, 3), weights
