"""Counted colors folded to coarser cells, in plain torch on any device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpuquant.colors.codes import z_order
from gpuquant.ops.points.colors import STEP_BITS, whole_levels

COLORS_AT_ONCE = 1 << 18  # temporary numbers stay below 40 MB


@dataclass(frozen=True, eq=False)
class CoarseColors:
    """Mean color and count of every cell that is not empty.

    `error` is the mean over pixels of the squared distance to the cell's color.
    """

    colors: Tensor  # [M, D] uint8 or int16, in Z-order
    counts: Tensor  # [M] int64
    error: float
    moments: Tensor | None = None  # of these colors, as `ColorPoints` has them, [D + 2] float64 on the CPU, where known
    finer_moments: Tensor | None = None  # of the colors that were folded


def coarsen(
    colors: Tensor,  # [M, D] uint8, or int16: steps; in Z-order
    counts: Tensor,  # [M] int64
    cell_bits: Sequence[int],  # bits of a level that are kept, descending: cells have side 2^(8 - bits)
) -> list[CoarseColors]:
    """Fold counted colors to coarser and coarser cells; the color of a cell is the rounded mean of its pixels."""
    kept, n_columns = cell_bits[0], colors.shape[1]
    unit = 1.0 if colors.dtype == torch.uint8 else 0.25**STEP_BITS  # of squared distances
    cells, sums = _folded_parts(colors, counts, kept)
    folded: list[CoarseColors] = []
    for bits in cell_bits:
        cells, sums = _fold(cells >> (n_columns * (kept - bits)), sums)
        kept = bits
        totals, linear, squares = sums[0], sums[1:-1], sums[-1]
        means = (2 * linear + totals) // (2 * totals)
        error = squares.sum() - (means * (2 * linear - means * totals)).sum()
        folded.append(CoarseColors(means.t().to(colors.dtype), totals, float(error) / float(totals.sum()) * unit))
    return folded


def _folded_parts(colors: Tensor, counts: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Parts of the colors, each folded: a cell whose colors lie in two parts is there twice."""
    found: list[tuple[Tensor, Tensor]] = []
    for part, weights in zip(colors.split(COLORS_AT_ONCE), counts.split(COLORS_AT_ONCE), strict=True):
        levels = part.t().to(torch.int64)
        squares = levels.square().sum(dim=0) * weights
        sums = torch.cat([weights[None], levels * weights, squares[None]])
        found.append(_fold(z_order(whole_levels(part)) >> (part.shape[1] * (8 - bits)), sums))
    return torch.cat([cells for cells, _ in found]), torch.cat([sums for _, sums in found], dim=1)


def _fold(
    cells: Tensor,  # [M], ascending
    sums: Tensor,  # [D + 2, M] int64: pixels, and of these the levels of each column and all squares, summed
) -> tuple[Tensor, Tensor]:
    """Add up equal cells, so that each is there once."""
    ends = torch.cat([cells[1:] != cells[:-1], cells.new_ones(1, dtype=torch.bool)]).nonzero()[:, 0]
    return cells[ends], sums.cumsum(dim=1)[:, ends].diff(dim=1, prepend=sums.new_zeros(len(sums), 1))
