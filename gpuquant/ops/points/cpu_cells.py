"""Trees of cells over colors in Z-order, built by compiled loops."""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.points.colors import ORIGIN, STEP_BITS, STEPS, ColorPoints
from gpuquant.ops.points.cpu_order import is_in_z_order

LEAF = 192  # colors of a cell that is not divided: from 64 to 512 within a fifth of the same time (K = 16 to 4096)
DEPTHS = 9  # of cells: one for each of eight bits of a level, and that of all colors

START, NEXT, DEPTH = 0, 1, 2  # columns of `cells`

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


class ColorTree(NamedTuple):
    """The cells of one problem: cubes of the color cube, boxes of neighbors, each before the cells in it.

    A cell holds the colors from its START to that of its NEXT, the first cell that is not in it. Sums over its colors
    are those of shifted levels, of weights, and of the squares of shifted levels.
    """

    axes: tuple[int, ...]  # one for each column: how many there are, D, is a constant to the compiler
    levels: Array  # [D, M]
    unit: float  # of a level, and what is then taken away from it: it is shifted
    origin: float
    weights: Floats  # [M]
    cells: Places  # [n + 1, 3]; the last one begins after the last color
    middles: Floats  # [n, D]: of the boxes
    halves: Floats  # [n, D]: of their sides
    sums: Floats  # [n, D + 2]
    n_positive: Places  # [n]: weights


class ColorCells(ColorPoints):
    """The colors of B problems on the CPU, with a tree for each."""

    @cached_property
    def trees(self) -> list[ColorTree]:
        return [color_tree(*problem) for problem in zip(self.colors.numpy(), self.weights.numpy(), strict=True)]

    @cached_property
    def moments(self) -> Tensor:  # [B, D + 2] float64
        columns = [self.n_columns, *range(self.n_columns), self.n_columns + 1]
        return torch.from_numpy(np.stack([tree.sums[0, columns] for tree in self.trees]))

    def _are_in_order(self, colors: Tensor) -> bool:
        below = 0 if colors.dtype == torch.uint8 else STEP_BITS
        return all(is_in_z_order(some, below) for some in colors.numpy())


def color_tree(
    colors: Array,  # [M, D] uint8, or int16: steps; in Z-order, C-contiguous
    weights: Floats,  # [M]
) -> ColorTree:
    """Divide colors into cells, down to cells of few colors."""
    most = 24 * len(colors) // LEAF + 64  # two neighbors in a cell hold more than LEAF together: bounds 8 depths
    n_columns, is_whole = colors.shape[1], colors.dtype == np.uint8
    n_parts, cells = 1 << n_columns, np.empty((most, 3), np.int32)
    waiting, bounds = np.empty((8 * n_parts, 3), np.int64), np.empty(n_parts + 1, np.int64)
    n_cells = _divide(colors, 0 if is_whole else STEP_BITS, LEAF, cells, waiting, bounds)
    tree = ColorTree(
        tuple(range(n_columns)),
        np.empty((n_columns, len(colors)), colors.dtype),
        1.0 if is_whole else 1 / STEPS,
        ORIGIN if is_whole else 0.0,
        weights,
        cells[: n_cells + 1].copy(),
        np.empty((n_cells, n_columns)),
        np.empty((n_cells, n_columns)),
        np.zeros((n_cells, n_columns + 2)),
        np.zeros(n_cells, np.int32),
    )
    _describe(colors, tree)
    return tree


@compiled
def _divide(
    colors: Array,  # [M, D]
    below: int,  # how many bits there are below those of a level, which then begins at -128
    leaf: int,
    cells: Places,  # [more than enough, 3]: written
    waiting: Integers,  # [8 * 2^D, 3], scratch: start, end and depth of cells to come: 2^D - 1 at each depth, and one
    bounds: Integers,  # [2^D + 1], scratch: of the parts of a cell
) -> int:  # how many cells there are
    """Cut the colors of a cell at the highest bit in which they differ; small neighboring parts stay one."""
    lowest = 128 if below else 0
    waiting[0, 0], waiting[0, 1], waiting[0, 2] = 0, len(colors), 0
    n_waiting, n_cells = 1, 0
    while n_waiting:
        n_waiting -= 1
        start, end, depth = waiting[n_waiting, 0], waiting[n_waiting, 1], waiting[n_waiting, 2]
        cells[n_cells, START], cells[n_cells, DEPTH] = start, depth
        n_cells += 1
        differing = 0
        for axis in range(colors.shape[1]):
            differing |= (colors[start, axis] >> below) ^ (colors[end - 1, axis] >> below)
        differing &= 255
        if end - start <= leaf or differing == 0:
            continue
        bit = 0
        while differing >> bit > 1:
            bit += 1
        bounds[0] = first = start
        n_bounds = 1
        for part in range(1, len(bounds)):  # the first color of each, searched by halves
            stop = end
            while first < stop:
                middle = (first + stop) // 2
                own = 0
                for axis in range(colors.shape[1]):
                    own |= ((colors[middle, axis] >> below) + lowest >> bit & 1) << axis
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
    colors: Array,  # [M, D]
    tree: ColorTree,  # whose levels, boxes and sums are written
) -> None:
    """Write levels column by column, and what a cell holds, those of the colors first."""
    cells, lowest, highest, sums, weights = tree.cells, tree.middles, tree.halves, tree.sums, tree.weights
    n_axes, n_cells, levels = len(tree.axes), len(cells) - 1, tree.levels
    for cell in range(n_cells - 1, -1, -1):
        after = cells[cell, NEXT]
        for axis in range(n_axes):
            lowest[cell, axis], highest[cell, axis] = ORIGIN, -ORIGIN
        if after == cell + 1:
            start, end = cells[cell, START], cells[after, START]
            for axis in range(n_axes):
                low, high, total, square = colors[start, axis], colors[start, axis], 0.0, 0.0
                for place in range(start, end):
                    given = colors[place, axis]
                    levels[axis, place] = given
                    low, high = given if given < low else low, given if given > high else high
                    level = given * tree.unit - tree.origin
                    part = weights[place] * level
                    total += part
                    square += part * level
                lowest[cell, axis] = low * tree.unit - tree.origin
                highest[cell, axis] = high * tree.unit - tree.origin
                sums[cell, axis] = total
                sums[cell, n_axes + 1] += square
            for place in range(start, end):
                sums[cell, n_axes] += weights[place]
                tree.n_positive[cell] += weights[place] > 0
        child = cell + 1
        while child < after and after > cell + 1:
            for axis in range(n_axes):
                if lowest[child, axis] < lowest[cell, axis]:
                    lowest[cell, axis] = lowest[child, axis]
                if highest[child, axis] > highest[cell, axis]:
                    highest[cell, axis] = highest[child, axis]
            for column in range(n_axes + 2):
                sums[cell, column] += sums[child, column]
            tree.n_positive[cell] += tree.n_positive[child]
            child = cells[child, NEXT]
    for cell in range(n_cells):
        for axis in range(n_axes):
            low, high = lowest[cell, axis], highest[cell, axis]
            tree.middles[cell, axis], tree.halves[cell, axis] = (low + high) / 2, (high - low) / 2
