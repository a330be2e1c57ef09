"""Trees of cells over 8-bit colors in Z-order, built by compiled loops."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.points.colors import ColorPoints

LEAF = 192  # colors of a cell that is not divided: from 64 to 512 within a fifth of the same time (K = 16 to 4096)
DEPTHS = 9  # of cells: one for each of eight bits of a level, and that of all colors

START, NEXT, DEPTH = 0, 1, 2  # columns of `cells`
MIDDLE, HALF, SUMS, WEIGHT, POSITIVE, SQUARES = 0, 3, 6, 9, 10, 11  # first columns of `facts`
N_FACTS = 12  # columns: three for each of the first three
ORIGIN = 128.0  # that of `points.colors`, as Numba's cache looks at no other file

Colors = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]

_SPREAD = np.array([sum((level >> bit & 1) << 3 * bit for bit in range(8)) for level in range(256)], np.int32)


class ColorTree(NamedTuple):
    """The cells of one problem: cubes of the color cube, boxes of neighbors, each before the cells in it.

    A cell holds the colors from its START to that of its NEXT, the first cell that is not in it. The facts of a cell
    are the MIDDLE of its box and HALF its sides, and summed over its colors: shifted levels (SUMS), WEIGHT, how many
    are POSITIVE weights, and the SQUARES of shifted levels.
    """

    levels: Colors  # [3, M]
    weights: Floats  # [M]
    cells: Places  # [n + 1, 3]; the last one begins after the last color
    facts: Floats  # [n, 12]


class ColorCells(ColorPoints):
    """The colors of B problems on the CPU, with a tree for each."""

    @cached_property
    def trees(self) -> list[ColorTree]:
        return [color_tree(*problem) for problem in zip(self.colors.numpy(), self.weights.numpy(), strict=True)]

    @cached_property
    def moments(self) -> Tensor:  # [B, 5] float64
        columns = [WEIGHT, SUMS, SUMS + 1, SUMS + 2, SQUARES]
        return torch.from_numpy(np.stack([tree.facts[0, columns] for tree in self.trees]))

    def _are_in_order(self, colors: Tensor) -> bool:
        return all(is_in_z_order(some) for some in colors.numpy())


def color_tree(
    colors: Colors,  # [M, 3], in Z-order, C-contiguous
    weights: Floats,  # [M]
) -> ColorTree:
    """Divide colors into cells, down to cells of few colors."""
    most = 24 * len(colors) // LEAF + 64  # two neighbors in a cell hold more than LEAF together: bounds 8 depths
    cells, facts = np.empty((most, 3), np.int32), np.empty((most, N_FACTS))
    levels = np.empty((3, len(colors)), np.uint8)
    n_cells = _divide(colors, LEAF, cells, np.empty((64, 3), np.int64), np.empty(9, np.int64))
    _describe(colors, weights, cells, n_cells, levels, facts)
    return ColorTree(levels, weights, cells[: n_cells + 1].copy(), facts[:n_cells].copy())


@compiled
def is_in_z_order(
    colors: Colors,  # [M, 3]
) -> bool:
    """Tell whether no color comes after one that it precedes in Z-order."""
    before = 0
    for place in range(len(colors)):
        key = _SPREAD[colors[place, 0]] | _SPREAD[colors[place, 1]] << 1 | _SPREAD[colors[place, 2]] << 2
        if key < before:
            return False
        before = key
    return True


@compiled
def _divide(
    colors: Colors,  # [M, 3]
    leaf: int,
    cells: Places,  # [more than enough, 3]: written
    waiting: Integers,  # [64, 3], scratch: start, end and depth of cells to come: 7 at each depth, and one
    bounds: Integers,  # [9], scratch: of the parts of a cell
) -> int:  # how many cells there are
    """Cut the colors of a cell at the highest bit in which they differ; small neighboring parts stay one."""
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = 0, len(colors), 0
    n_waiting, n_cells = 1, 0
    while n_waiting:
        n_waiting -= 1
        start, end, depth = waiting[n_waiting, 0], waiting[n_waiting, 1], waiting[n_waiting, 2]
        cells[n_cells, START], cells[n_cells, DEPTH] = start, depth
        n_cells += 1
        differing = 0
        for axis in range(3):
            differing |= colors[start, axis] ^ colors[end - 1, axis]
        if end - start <= leaf or differing == 0:
            continue
        bit = 0
        while differing >> bit > 1:
            bit += 1
        bounds[0] = first = start
        n_bounds = 1
        for part in range(1, 9):  # the first color of each, searched by halves
            stop = end
            while first < stop:
                middle = (first + stop) // 2
                own = 0
                for axis in range(3):
                    own |= (colors[middle, axis] >> bit & 1) << axis
                if own < part:
                    first = middle + 1
                else:
                    stop = middle
            if n_bounds > 1 and first - bounds[n_bounds - 2] <= leaf:
                bounds[n_bounds - 1] = first
            elif first > bounds[n_bounds - 1]:
                bounds[n_bounds] = first
                n_bounds += 1
        for child in range(n_bounds - 2, -1, -1):
            waiting[n_waiting, 0], waiting[n_waiting, 1] = bounds[child], bounds[child + 1]
            waiting[n_waiting, 2] = depth + 1
            n_waiting += 1
    cells[n_cells, START], cells[n_cells, NEXT], cells[n_cells, DEPTH] = len(colors), n_cells, 0
    for cell in range(n_cells - 1, -1, -1):
        after = cell + 1
        while cells[after, DEPTH] > cells[cell, DEPTH]:
            after = cells[after, NEXT]
        cells[cell, NEXT] = after
    return n_cells


@compiled
def _describe(
    colors: Colors,  # [M, 3]
    weights: Floats,  # [M]
    cells: Places,  # [at least n + 1, 3]
    n_cells: int,
    levels: Colors,  # [3, M]: written
    facts: Floats,  # [at least n, 12]: written
) -> None:
    """Write levels channel by channel and the facts of each cell, those of the colors first."""
    for cell in range(n_cells - 1, -1, -1):
        after = cells[cell, NEXT]
        for column in range(SUMS, N_FACTS):
            facts[cell, column] = 0.0
        for axis in range(3):
            facts[cell, MIDDLE + axis], facts[cell, HALF + axis] = 255.0, 0.0  # the lowest and the highest level
        if after == cell + 1:
            start, end = cells[cell, START], cells[after, START]
            for axis in range(3):
                low, high, total, squares = np.uint8(255), np.uint8(0), 0.0, 0.0
                for place in range(start, end):
                    level = colors[place, axis]
                    levels[axis, place] = level
                    low, high = level if level < low else low, level if level > high else high
                    shifted = level - ORIGIN
                    part = weights[place] * shifted
                    total += part
                    squares += part * shifted
                facts[cell, MIDDLE + axis], facts[cell, HALF + axis] = low, high
                facts[cell, SUMS + axis] = total
                facts[cell, SQUARES] += squares
            for place in range(start, end):
                facts[cell, WEIGHT] += weights[place]
                facts[cell, POSITIVE] += weights[place] > 0
        child = cell + 1
        while child < after and after > cell + 1:
            for axis in range(3):
                if facts[child, MIDDLE + axis] < facts[cell, MIDDLE + axis]:
                    facts[cell, MIDDLE + axis] = facts[child, MIDDLE + axis]
                if facts[child, HALF + axis] > facts[cell, HALF + axis]:
                    facts[cell, HALF + axis] = facts[child, HALF + axis]
            for column in range(SUMS, N_FACTS):
                facts[cell, column] += facts[child, column]
            child = cells[child, NEXT]
    for cell in range(n_cells):
        for axis in range(3):
            low_level, high_level = facts[cell, MIDDLE + axis], facts[cell, HALF + axis]
            facts[cell, MIDDLE + axis] = (low_level + high_level) / 2 - ORIGIN
            facts[cell, HALF + axis] = (high_level - low_level) / 2
