"""Distinct colors with counts, in Z-order: neighbors are close to each other.

Levels are integers, or lie on a grid of 1/256 (`as_steps`), and sums of them are exact in float64, so nothing here
depends on the order of summation, the number of threads or the device.
"""

from functools import cached_property

import torch
from torch import Tensor

from gpuquant.colors.codes import z_order

ORIGIN = 128.0  # levels are shifted to -128..127, which saves bits
STEP_BITS = 8  # of a level, for colors in another space: no two colors with alpha come to lie together
STEPS = float(1 << STEP_BITS)
COLORS_AT_ONCE = 1 << 18  # temporary numbers stay below 20 MB


class ColorPoints:
    """The colors of B problems with their counts, on any device.

    Parameters
    ----------
    colors : Tensor, uint8 [B, M, 3], or int16 [B, M, 3] or [B, M, 4], steps; distinct or not
    counts : Tensor, int64 or float64 [B, M], integers; 0 is padding
    is_sorted : bool
        The colors are known to be in Z-order.
    moments : Tensor, float64 [B, D + 2], optional
        What the property would work out.
    """

    def __init__(
        self, colors: Tensor, counts: Tensor, *, is_sorted: bool = False, moments: Tensor | None = None
    ) -> None:
        self.n_problems, self.n_points, self.n_columns = colors.shape
        self._order: Tensor | None = None  # [B, M]: the place among those given of each color in Z-order
        colors = colors.contiguous()
        if not (is_sorted or self._are_in_order(colors)):
            self._order = z_keys(colors).argsort(dim=1, stable=True)
            colors = colors.gather(1, self._order[:, :, None].expand(-1, -1, self.n_columns))
            counts = counts.gather(1, self._order)
        self.colors = colors  # [B, M, D] uint8 or int16, in Z-order
        self.weights = counts.to(torch.float64).contiguous()  # [B, M]
        if moments is not None:
            self.moments = moments

    def _are_in_order(self, colors: Tensor) -> bool:
        keys = z_keys(colors)
        return bool((keys[:, 1:] >= keys[:, :-1]).all())

    @cached_property
    def moments(self) -> Tensor:  # [B, D + 2] float64
        """Of each problem the sum of weights, those of the shifted levels of each column, and that of their squares."""
        totals = self.weights.new_zeros(self.n_problems, self.n_columns + 2)
        parts = (numbers.split(COLORS_AT_ONCE, dim=1) for numbers in (self.colors, self.weights))
        for colors, weights in zip(*parts, strict=True):
            levels = shifted(colors)
            weighted = levels * weights[:, :, None]
            totals[:, 0] += weights.sum(dim=1)
            totals[:, 1:-1] += weighted.sum(dim=1)
            totals[:, -1] += (weighted * levels).sum(dim=(1, 2))
        return totals

    @property
    def square_sum(self) -> Tensor:  # [B]
        """The squares of the shifted levels, summed over pixels."""
        return self.moments[:, -1]

    @cached_property
    def variance(self) -> list[float]:  # [B]
        """The variance of the pixels' levels, averaged over the columns."""
        found = []
        for total, *sums, squares in self.moments.tolist():
            spread = squares - sum(levels * levels for levels in sums) / total
            found.append(spread / (self.n_columns * total))
        return found

    def points_at(self, problem: int, index: Tensor) -> Tensor:  # [n] int64, places in Z-order -> [n, D] float64
        """Some colors, in levels."""
        return levels_of(self.colors[problem, index])

    def caller_order(
        self,
        values: Tensor,  # [B * R, M], in Z-order: R runs on each problem; or [M], of one
        problem: int | None = None,
    ) -> Tensor:  # the same in the order in which the colors were given
        if self._order is None:
            return values
        if problem is None:
            order = self._order.repeat_interleave(len(values) // self.n_problems, dim=0)
        else:
            order = self._order[problem]
        return torch.empty_like(values).scatter_(-1, order, values)


def as_steps(
    levels: Tensor,  # [...] floating-point, 0..255
) -> Tensor:  # [...] int16
    """Levels as steps of 1/256 from ORIGIN, rounded."""
    return ((levels.double() - ORIGIN) * STEPS).round_().clamp_(-(2**15), 2**15 - 1).to(torch.int16)


def shifted(
    colors: Tensor,  # [...] uint8, or int16: steps
) -> Tensor:  # [...] float64
    """The levels of colors, from ORIGIN."""
    return colors.double() - ORIGIN if colors.dtype == torch.uint8 else colors.double() / STEPS


def levels_of(
    colors: Tensor,  # [...] uint8, or int16: steps
) -> Tensor:  # [...] float64
    """The levels of colors."""
    return shifted(colors) + ORIGIN


def whole_levels(
    colors: Tensor,  # [...] uint8, or int16: steps
) -> Tensor:  # [...] uint8
    """The levels of colors, rounded down."""
    return colors if colors.dtype == torch.uint8 else ((colors >> STEP_BITS) + int(ORIGIN)).to(torch.uint8)


def z_keys(
    colors: Tensor,  # [B, M, D] uint8 or int16
) -> Tensor:  # [B, M] int32 or int64
    """The places of the colors in Z-order."""
    parts = colors.view(-1, colors.shape[2]).split(COLORS_AT_ONCE)
    return torch.cat([z_order(whole_levels(part)) for part in parts]).view(colors.shape[:2])
