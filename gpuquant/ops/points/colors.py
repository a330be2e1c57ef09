"""Distinct 8-bit colors with counts, in Z-order: neighbors are close to each other.

Levels are integers and sums of them are exact in float64, so nothing here depends on the order of summation, the
number of threads or the device.
"""

from functools import cached_property

import torch
from torch import Tensor

from gpuquant.colors.codes import z_order

ORIGIN = 128.0  # levels are shifted to -128..127, which saves bits
COLORS_AT_ONCE = 1 << 18  # temporary numbers stay below 20 MB


class ColorPoints:
    """The colors of B problems with their counts, on any device.

    Parameters
    ----------
    colors : Tensor, uint8 [B, M, 3], distinct or not, in any order
    counts : Tensor, int64 or float64 [B, M], integers; 0 is padding
    """

    n_columns = 3

    def __init__(self, colors: Tensor, counts: Tensor) -> None:
        self.n_problems, self.n_points = counts.shape
        self._order: Tensor | None = None  # [B, M]: the place among those given of each color in Z-order
        colors = colors.contiguous()
        if not self._are_in_order(colors):
            self._order = _keys(colors).argsort(dim=1, stable=True)
            colors = colors.gather(1, self._order[:, :, None].expand(-1, -1, 3))
            counts = counts.gather(1, self._order)
        self.colors = colors  # [B, M, 3] uint8, in Z-order
        self.weights = counts.to(torch.float64).contiguous()  # [B, M]

    def _are_in_order(self, colors: Tensor) -> bool:
        keys = _keys(colors)
        return bool((keys[:, 1:] >= keys[:, :-1]).all())

    @cached_property
    def moments(self) -> Tensor:  # [B, 5] float64
        """Of each problem the sum of weights, those of the shifted levels of R, G and B, and that of their squares."""
        totals = self.weights.new_zeros(self.n_problems, 5)
        parts = (numbers.split(COLORS_AT_ONCE, dim=1) for numbers in (self.colors, self.weights))
        for colors, weights in zip(*parts, strict=True):
            levels = colors.double() - ORIGIN
            weighted = levels * weights[:, :, None]
            totals[:, 0] += weights.sum(dim=1)
            totals[:, 1:4] += weighted.sum(dim=1)
            totals[:, 4] += (weighted * levels).sum(dim=(1, 2))
        return totals

    @property
    def square_sum(self) -> Tensor:  # [B]
        """The squares of the shifted levels, summed over pixels."""
        return self.moments[:, 4]

    @cached_property
    def variance(self) -> list[float]:  # [B]
        """The variance of the pixels' levels, averaged over the channels."""
        found = []
        for total, red, green, blue, squares in self.moments.tolist():
            spread = squares - (red * red + green * green + blue * blue) / total
            found.append(spread / (3 * total))
        return found

    def points_at(self, problem: int, index: Tensor) -> Tensor:  # [n] int64, places in Z-order -> [n, 3] float64
        """Some colors, in levels."""
        return self.colors[problem, index].double()

    def caller_order(
        self,
        values: Tensor,  # [B * R, M], in Z-order: R runs on each problem
    ) -> Tensor:  # [B * R, M], in the order in which the colors were given
        if self._order is None:
            return values
        order = self._order.repeat_interleave(len(values) // self.n_problems, dim=0)
        return torch.empty_like(values).scatter_(1, order, values)


def _keys(
    colors: Tensor,  # [B, M, 3] uint8
) -> Tensor:  # [B, M] int32
    """The places of the colors in Z-order."""
    parts = colors.view(-1, 3).split(COLORS_AT_ONCE)
    return torch.cat([z_order(part) for part in parts]).view(colors.shape[:2])
