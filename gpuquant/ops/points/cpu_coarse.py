"""A histogram folded to coarser cells of the color cube, by compiled loops."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.points.color_cells import CoarseColors
from gpuquant.threads import share_out, worker_threads

MANY = 1 << 18  # colors from which threads share levels: a millisecond of work for each

Colors = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]


def coarsen(
    colors: Tensor,  # [M, 3] uint8, in Z-order
    counts: Tensor,  # [M] int64
    cell_bits: Sequence[int],  # bits of a level that are kept: cells have side 2^(8 - bits)
) -> list[CoarseColors]:
    """Fold a histogram to coarser cells; the color of a cell is the rounded mean of its pixels."""
    fine, numbers = colors.contiguous().numpy(), counts.contiguous().numpy()
    found: dict[int, CoarseColors] = {}

    def fold_to(bits: int) -> None:
        most = min(len(fine), 1 << 3 * bits)
        means, totals = np.empty((most, 3), np.uint8), np.empty(most, np.int64)
        n_cells, n_pixels, error = _fold(fine, numbers, bits, np.empty(3, np.int64), means, totals)
        folded = torch.from_numpy(means[:n_cells].copy()), torch.from_numpy(totals[:n_cells].copy())
        found[bits] = CoarseColors(*folded, float(error) / float(n_pixels))

    share_out(cell_bits, fold_to, worker_threads() if len(fine) >= MANY else 1)
    return [found[bits] for bits in cell_bits]


@compiled
def _fold(
    colors: Colors,  # [M, 3], in Z-order
    counts: Counts,  # [M]
    bits: int,
    sums: Counts,  # [3]: scratch
    means: Colors,  # [more than enough, 3]: written
    totals: Counts,  # [as many]: written
) -> tuple[int, int, int]:  # cells, pixels, and the sum over these of squared distances to their cell's color
    """Add up neighbors that agree in their leading bits, cell after cell."""
    n_cells, n_pixels, error, place = 0, 0, 0, 0
    while place < len(colors):
        first, total = place, 0
        for axis in range(3):
            sums[axis] = 0
        while place < len(colors):
            differing = 0
            for axis in range(3):
                differing |= colors[place, axis] ^ colors[first, axis]
            if differing >> 8 - bits:
                break
            count = counts[place]
            total += count
            for axis in range(3):
                level = np.int64(colors[place, axis])
                sums[axis] += count * level
                error += count * level * level
            place += 1
        for axis in range(3):
            mean = (2 * sums[axis] + total) // (2 * total)
            means[n_cells, axis] = mean
            error -= mean * (2 * sums[axis] - mean * total)
        totals[n_cells] = total
        n_pixels += total
        n_cells += 1
    return n_cells, n_pixels, error
