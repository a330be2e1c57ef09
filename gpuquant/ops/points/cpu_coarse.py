"""Counted colors folded to coarser cells, by compiled loops."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.points.color_cells import CoarseColors
from gpuquant.ops.points.colors import STEP_BITS
from gpuquant.threads import share_out, worker_threads

MANY = 1 << 18  # colors from which threads share levels: a millisecond of work for each

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]


def coarsen(
    colors: Tensor,  # [M, D] uint8, or int16: steps; in Z-order
    counts: Tensor,  # [M] int64
    cell_bits: Sequence[int],  # bits of a level that are kept: cells have side 2^(8 - bits)
) -> list[CoarseColors]:
    """Fold counted colors to coarser cells; the color of a cell is the rounded mean of its pixels."""
    fine, numbers = colors.contiguous().numpy(), counts.contiguous().numpy()
    found: dict[int, CoarseColors] = {}
    n_columns, below = fine.shape[1], 0 if fine.dtype == np.uint8 else STEP_BITS

    def fold_to(bits: int) -> None:
        most = min(len(fine), 1 << n_columns * bits)
        means, totals = np.empty((most, n_columns), fine.dtype), np.empty(most, np.int64)
        sums = np.empty(n_columns, np.int64)
        n_cells, n_pixels, error = _fold(fine, numbers, below, bits, sums, means, totals)
        folded = torch.from_numpy(means[:n_cells].copy()), torch.from_numpy(totals[:n_cells].copy())
        found[bits] = CoarseColors(*folded, float(error) / float(n_pixels) / 4**below)

    share_out(cell_bits, fold_to, worker_threads() if len(fine) >= MANY else 1)
    return [found[bits] for bits in cell_bits]


@compiled
def _fold(
    colors: Array,  # [M, D], in Z-order
    counts: Counts,  # [M]
    below: int,  # how many bits there are below those of a level
    bits: int,
    sums: Counts,  # [D]: scratch
    means: Array,  # [more than enough, D]: written
    totals: Counts,  # [as many]: written
) -> tuple[int, int, int]:  # cells, pixels, and the sum over these of squared distances to their cell's color
    """Add up neighbors that agree in their leading bits, cell after cell."""
    n_cells, n_pixels, error, place = 0, 0, 0, 0
    while place < len(colors):
        first, total = place, 0
        for axis in range(len(sums)):
            sums[axis] = 0
        while place < len(colors):
            differing = 0
            for axis in range(len(sums)):
                differing |= (colors[place, axis] >> below) ^ (colors[first, axis] >> below)
            if (differing & 255) >> 8 - bits:
                break
            count = counts[place]
            total += count
            for axis in range(len(sums)):
                level = np.int64(colors[place, axis])
                sums[axis] += count * level
                error += count * level * level
            place += 1
        for axis in range(len(sums)):
            mean = (2 * sums[axis] + total) // (2 * total)
            means[n_cells, axis] = mean
            error -= mean * (2 * sums[axis] - mean * total)
        totals[n_cells] = total
        n_pixels += total
        n_cells += 1
    return n_cells, n_pixels, error
