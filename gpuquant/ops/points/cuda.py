"""Coarser cells of counted colors, as Triton kernels.

Colors in Z-order are sorted by cell, for cells of every size, and a cell is as many adjacent smaller ones. So the cells
come from one pass over the colors, and two over the sums of the smallest cells; all sums are integers.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.ops.points.color_cells import CoarseColors

TILE = 1024  # colors, or cells, of a program
SUMS = 5  # of a cell: pixels, their levels column by column, and the squares of these
NUMBERS = 7  # of all cells of a size: how many are not empty, the error; and of these as points, shifted, the moments
CELL_OPTIONS = {"num_warps": 8}  # divisions take many registers


@triton.jit
def spread(levels):
    """Move bit b of a level to bit 3 b, as `colors.codes` does."""
    levels = (levels | (levels << 8)) & 0x00F00F
    levels = (levels | (levels << 4)) & 0x0C30C3
    return (levels | (levels << 2)) & 0x249249


@triton.jit
def key_of(red, green, blue):
    """The places of colors in Z-order."""
    return spread(red) | (spread(green) << 1) | (spread(blue) << 2)


@triton.jit
def _levels(colors, offsets, mask):
    place = colors + offsets.to(tl.int64) * 3
    red = tl.load(place, mask=mask, other=0).to(tl.int32)
    green = tl.load(place + 1, mask=mask, other=0).to(tl.int32)
    return red, green, tl.load(place + 2, mask=mask, other=0).to(tl.int32)


@triton.jit(do_not_specialize=["n_colors", "bits"])
def sum_cells_kernel(colors, counts, sums, n_colors, bits, TILE: tl.constexpr):
    """sums[cell] = the SUMS of each cell of so many bits: two additions where a cell ends and another one begins.

    What is added to the one is the running sum of the tile, which is taken off the other.
    """
    offsets = tl.program_id(0) * TILE + tl.arange(0, TILE)
    mask = offsets < n_colors
    red, green, blue = _levels(colors, offsets, mask)
    cell = _cell(red, green, blue, bits)
    red_after, green_after, blue_after = _levels(colors, offsets + 1, offsets + 1 < n_colors)
    after = _cell(red_after, green_after, blue_after, bits)
    is_last = offsets == tl.minimum(tl.program_id(0) * TILE + TILE, n_colors) - 1
    ends = mask & (is_last | (cell != after))
    count = tl.load(counts + offsets, mask=mask, other=0)
    _add(sums, cell, after, count, ends, is_last, 0)
    _add(sums, cell, after, count * red, ends, is_last, 1)
    _add(sums, cell, after, count * green, ends, is_last, 2)
    _add(sums, cell, after, count * blue, ends, is_last, 3)
    _add(sums, cell, after, count * (red * red + green * green + blue * blue), ends, is_last, 4)


@triton.jit
def _cell(red, green, blue, bits):
    return key_of(red, green, blue) >> (3 * (8 - bits))


@triton.jit
def _add(sums, cell, after, values, ends, is_last, column: tl.constexpr):
    running = tl.cumsum(values, axis=0)
    tl.atomic_add(sums + cell * 5 + column, running, mask=ends, sem="relaxed")
    tl.atomic_add(sums + after * 5 + column, -running, mask=ends & (is_last == 0), sem="relaxed")


@triton.jit
def _cell_sums(sums, cells, mask, n_adjacent, column: tl.constexpr):
    """Of some cells, each of which is so many adjacent ones of the smallest."""
    total = tl.zeros(cells.shape, tl.int64)
    for one in range(n_adjacent):
        total += tl.load(sums + (cells * n_adjacent + one) * 5 + column, mask=mask, other=0)
    return total


@triton.jit
def _mean(linear, total):
    """The mean level, half rounded up; 0 of none."""
    return (2 * linear + total) // tl.maximum(2 * total, 1)


@triton.jit(do_not_specialize=["finest", "packed"])
def measure_cells_kernel(sums, numbers, occupied, finest, packed, TILE: tl.constexpr):
    """numbers = the NUMBERS of each size of cells, then those of the colors; occupied = how many cells tiles have."""
    level, tile = tl.program_id(1), tl.program_id(0)
    bits = (packed >> (4 * level)) & 15
    n_adjacent = tl.full([], 1, tl.int32) << (3 * (finest - bits))
    cells = tile * TILE + tl.arange(0, TILE)
    n_cells = tl.full([], 1, tl.int32) << (3 * bits)
    mask = cells < n_cells
    if tile * TILE < n_cells:
        total = _cell_sums(sums, cells, mask, n_adjacent, 0)
        error = _cell_sums(sums, cells, mask, n_adjacent, 4)
        own, fine = numbers + level * 7, numbers + tl.num_programs(1) * 7
        if level == 0:
            tl.atomic_add(fine + 2, tl.sum(total), sem="relaxed")
            tl.atomic_add(fine + 6, tl.sum(error + 3 * 128 * 128 * total), sem="relaxed")
        squares = tl.zeros(cells.shape, tl.int64)
        for column in tl.static_range(3):
            linear = _cell_sums(sums, cells, mask, n_adjacent, column + 1)
            mean = _mean(linear, total)
            error -= mean * (2 * linear - mean * total)
            shifted = mean - 128
            squares += total * shifted * shifted
            tl.atomic_add(own + 3 + column, tl.sum(total * shifted), sem="relaxed")
            if level == 0:
                tl.atomic_add(fine + 3 + column, tl.sum(linear - 128 * total), sem="relaxed")
                tl.atomic_add(fine + 6, -256 * tl.sum(linear), sem="relaxed")
        n_occupied = tl.sum((total > 0).to(tl.int64))
        tl.store(occupied + level * tl.num_programs(0) + tile, n_occupied)
        tl.atomic_add(own, n_occupied, sem="relaxed")
        tl.atomic_add(own + 1, tl.sum(error), sem="relaxed")
        tl.atomic_add(own + 2, tl.sum(total), sem="relaxed")
        tl.atomic_add(own + 6, tl.sum(squares), sem="relaxed")


@triton.jit(do_not_specialize=["finest", "packed", "n_places"])
def list_cells_kernel(sums, occupied, colors, counts, finest, packed, n_places, TILE: tl.constexpr):
    """colors, counts = means and pixels of the cells that are not empty, size by size, each from `n_places` on."""
    level, tile = tl.program_id(1), tl.program_id(0)
    bits = (packed >> (4 * level)) & 15
    n_adjacent = tl.full([], 1, tl.int32) << (3 * (finest - bits))
    cells = tile * TILE + tl.arange(0, TILE)
    n_cells = tl.full([], 1, tl.int32) << (3 * bits)
    mask = cells < n_cells
    if tile * TILE < n_cells:
        first = tl.zeros([], tl.int64)
        for start in range(0, tile, TILE):
            rows = start + tl.arange(0, TILE)
            first += tl.sum(tl.load(occupied + level * tl.num_programs(0) + rows, mask=rows < tile, other=0))
        total = _cell_sums(sums, cells, mask, n_adjacent, 0)
        is_there = total > 0
        place = level * n_places.to(tl.int64) + first + tl.cumsum(is_there.to(tl.int32), axis=0) - 1
        tl.store(counts + place, total, mask=is_there)
        for column in tl.static_range(3):
            mean = _mean(_cell_sums(sums, cells, mask, n_adjacent, column + 1), total)
            tl.store(colors + place * 3 + column, mean.to(tl.uint8), mask=is_there)


def coarsen(
    colors: Tensor,  # [M, 3] uint8, in Z-order
    counts: Tensor,  # [M] int64
    cell_bits: Sequence[int],  # bits of a level that are kept, descending: cells have side 2^(8 - bits)
) -> list[CoarseColors]:
    """Fold counted colors to coarser and coarser cells; the color of a cell is the rounded mean of its pixels."""
    finest, n_levels, n_colors, device = cell_bits[0], len(cell_bits), len(colors), colors.device
    packed = sum(bits << 4 * level for level, bits in enumerate(cell_bits))
    n_cells = 1 << 3 * finest
    n_tiles, n_places = triton.cdiv(n_cells, TILE), -(-min(n_colors, n_cells) // 16) * 16  # so that all are aligned
    shapes = (n_cells, SUMS), (n_levels, n_tiles + n_tiles % 2), (n_levels + 1, NUMBERS)  # so that all are aligned
    zeros = torch.zeros(sum(map(math.prod, shapes)), dtype=torch.int64, device=device)
    sums, occupied, numbers = zeros.split([math.prod(shape) for shape in shapes])
    means = torch.empty(n_levels * n_places, 3, dtype=torch.uint8, device=device)
    totals = torch.empty(n_levels * n_places, dtype=torch.int64, device=device)
    with torch.cuda.device_of(sums):
        sum_cells_kernel[(triton.cdiv(n_colors, TILE),)](colors.contiguous(), counts, sums, n_colors, finest, TILE=TILE)
        grid = n_tiles, n_levels
        measure_cells_kernel[grid](sums, numbers, occupied, finest, packed, TILE=TILE, **CELL_OPTIONS)
        list_cells_kernel[grid](sums, occupied, means, totals, finest, packed, n_places, TILE=TILE, **CELL_OPTIONS)
    found = numbers.cpu().numpy().reshape(n_levels + 1, NUMBERS)
    folded: list[CoarseColors] = []
    moments = found[:, 2:].astype(np.float64)
    for level, (n_found, error, n_pixels, *_) in enumerate(found[:-1].tolist()):
        place = slice(level * n_places, level * n_places + n_found)
        own = torch.from_numpy(moments[level]), torch.from_numpy(moments[-1])
        folded.append(CoarseColors(means[place], totals[place], float(error) / float(n_pixels), *own))
    return folded
