"""Lloyd iterations over a tree of colors as compiled loops.

A center cannot be nearest in a box if another one is nearer all over it, and as |x - k|^2 - |x - p|^2 is linear in x,
that is one comparison (Pelleg and Moore 1999, "Accelerating exact k-means algorithms with geometric reasoning"). A
cell looks only at centers that are left over from the cell around it. One that is left alone owns the cell, whose
colors need no look if it owned them before.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.lloyd.colors import MAX_CLUSTERS, SCALE
from gpuquant.ops.lloyd.cpu_moves import EMPTY, GOING, HALF_EVEN, ON_GRID, Floats, move_centers
from gpuquant.ops.points.cpu_cells import DEPTH, NEXT, START, ColorTree

CHUNK = 128  # colors that are scored together: their 4 KiB stay in the innermost cache
LANES = 16  # to whose multiple they are filled up, so that no loop over them ends in single steps
MIXED = -1  # the owner of a cell that is not known to have one
INDEX_MASK = MAX_CLUSTERS - 1  # of the index of a center in its score

Short = npt.NDArray[np.int16]


class Labels(NamedTuple):
    """The labels of one run: before its first step all are K, a cluster of none."""

    of_colors: Short  # [M]
    of_cells: Short  # [n]: their owner, or MIXED


class Scratch(NamedTuple):
    """The memory of one thread that looks at cells."""

    factors: Floats  # [D + 1, K], of the scores
    lists: Floats  # [1 + depths, D + 1, K]: the factors of the centers that are left in the cell of each depth
    lengths: npt.NDArray[np.int64]  # [1 + depths]
    scores: Floats  # [K]
    chunk: Floats  # [D + 1, CHUNK]: levels, and their lowest scores


@written_out
def _write_factors(
    centers: Floats,  # [K, D]
    factors: Floats,  # [D + 1, K]: written
) -> None:
    """|c|^2 - 2 x.c, scaled and with the index of c in its low bits, as factors of x and of 1."""
    for k in range(len(centers)):
        square = 0.0
        for axis in range(centers.shape[1]):
            factors[axis, k] = centers[k, axis] * (-2 * SCALE)
            square += centers[k, axis] * centers[k, axis]
        factors[-1, k] = square * SCALE + k


@compiled
def _keep_survivors(tree: ColorTree, cell: int, depth: int, scratch: Scratch) -> int:
    """Write the centers that can be nearest in the box of a cell to the next list, and return how many they are.

    With p the nearest one to the middle m, and h half the sides, k is nearer somewhere in the box, or as near with a
    lower index, if |m - k|^2 - |m - p|^2 <= 2 sum(h |k - p|).
    """
    lists, scores, factors, n = scratch.lists, scratch.scores, scratch.factors, scratch.lengths[depth]
    n_axes = len(tree.axes)
    x, y, z, w = tree.middles[cell, 0], tree.middles[cell, 1], tree.middles[cell, 2], tree.middles[cell, n_axes - 1]
    for i in range(n):
        score = lists[depth, 0, i] * x + lists[depth, 1, i] * y + lists[depth, 2, i] * z + lists[depth, n_axes, i]
        if n_axes > 3:
            score += lists[depth, 3, i] * w
        scores[i] = score
    lowest = scores[0]
    for i in range(1, n):
        lowest = min(lowest, scores[i])
    pivot = np.int64(lowest) & INDEX_MASK
    px, py, pz, pw = factors[0, pivot], factors[1, pivot], factors[2, pivot], factors[n_axes - 1, pivot]
    half_x, half_y, half_z = tree.halves[cell, 0], tree.halves[cell, 1], tree.halves[cell, 2]
    half_w = tree.halves[cell, n_axes - 1]
    for i in range(n):
        apart = half_x * abs(lists[depth, 0, i] - px) + half_y * abs(lists[depth, 1, i] - py)
        apart += half_z * abs(lists[depth, 2, i] - pz)
        if n_axes > 3:
            apart += half_w * abs(lists[depth, 3, i] - pw)
        scores[i] -= lowest + apart
    n_kept = 0
    for i in range(n):
        if scores[i] <= 0:
            for row in range(n_axes + 1):
                lists[depth + 1, row, n_kept] = lists[depth, row, i]
            n_kept += 1
    scratch.lengths[depth + 1] = n_kept
    return n_kept


@compiled
def _label_colors(
    tree: ColorTree, cell: int, depth: int, labels: Labels, totals: Floats, scratch: Scratch
) -> int:  # how many labels of colors with a positive weight changed
    """Give each color of a cell the nearest of the centers in the list of a depth."""
    lists, chunk, of_colors, n_axes = scratch.lists, scratch.chunk, labels.of_colors, len(tree.axes)
    n_changed = 0
    end = tree.cells[tree.cells[cell, NEXT], START]
    for first in range(tree.cells[cell, START], end, CHUNK):
        n = min(CHUNK, end - first)
        filled = (n + LANES - 1) // LANES * LANES
        for axis in range(n_axes):
            for j in range(n):
                chunk[axis, j] = tree.levels[axis, first + j] * tree.unit - tree.origin
        for j in range(filled):
            chunk[n_axes, j] = np.inf
        for i in range(scratch.lengths[depth]):
            a, b, c, d = lists[depth, 0, i], lists[depth, 1, i], lists[depth, 2, i], lists[depth, n_axes, i]
            e = lists[depth, n_axes - 1, i]
            for j in range(filled):
                score = a * chunk[0, j] + b * chunk[1, j] + c * chunk[2, j] + d
                if n_axes > 3:
                    score += e * chunk[3, j]
                chunk[n_axes, j] = score if score < chunk[n_axes, j] else chunk[n_axes, j]
        for j in range(n):
            label, before = np.int64(chunk[n_axes, j]) & INDEX_MASK, of_colors[first + j]
            if label != before:
                weight = tree.weights[first + j]
                for axis in range(n_axes):
                    part = weight * chunk[axis, j]
                    totals[before, axis] -= part
                    totals[label, axis] += part
                totals[before, n_axes] -= weight
                totals[label, n_axes] += weight
                of_colors[first + j] = label
                n_changed += weight > 0
    return n_changed


@written_out
def _label_part(
    tree: ColorTree,
    root: int,  # the cell whose colors are labeled
    labels: Labels,
    totals: Floats,  # [K + 1, D + 1]: what leaves or joins a cluster is taken away or added
    scratch: Scratch,  # with the factors of the centers
) -> int:  # how many labels of colors with a positive weight changed
    """Label all colors in a cell, and in the cells in it from the largest to the smallest."""
    cells, owners, n_changed, n_axes = tree.cells, labels.of_cells, 0, len(tree.axes)
    depth = cells[root, DEPTH]
    scratch.lengths[depth] = scratch.factors.shape[1]
    for row in range(n_axes + 1):  # an array assigned to a slice would bring all of Numba's strings along, for errors
        for k in range(scratch.factors.shape[1]):
            scratch.lists[depth, row, k] = scratch.factors[row, k]
    cell, stop = root, cells[root, NEXT]
    while cell < stop:
        depth, after, before = cells[cell, DEPTH], cells[cell, NEXT], owners[cell]
        n_kept = _keep_survivors(tree, cell, depth, scratch)
        owner = int(scratch.lists[depth + 1, n_axes, 0]) & INDEX_MASK if n_kept == 1 else MIXED
        owners[cell] = owner
        if owner != MIXED and owner == before:
            cell = after
        elif owner != MIXED and before != MIXED:  # all of its colors change together
            for column in range(n_axes + 1):
                part = tree.sums[cell, column]
                totals[before, column] -= part
                totals[owner, column] += part
            for place in range(cells[cell, START], cells[after, START]):
                labels.of_colors[place] = owner
            n_changed += int(tree.n_positive[cell])
            cell = after
        elif after == cell + 1:
            n_changed += _label_colors(tree, cell, depth + 1, labels, totals, scratch)
            cell = after
        else:
            child = cell + 1
            while child < after and before != MIXED:  # what the cells in it were not told
                owners[child] = before
                child = cells[child, NEXT]
            cell += 1
    return n_changed


@compiled
def iterate(
    tree: ColorTree,
    root: int,  # the cell whose colors are labeled: that of all of them, if centers move
    labels: Labels,
    totals: Floats,  # [K + 1, D + 1]
    scratch: Scratch,
    centers: Floats,  # [K, D]: moved
    moves: Floats,  # [K, D]
    n_left: int,  # before the last iteration of the run
    n_steps: int,  # to be done here at most; 0: colors are labeled once, and no center moves
    limit: float,
    relaxation: float,
    momentum: float,
) -> tuple[int, int, int]:  # the `RunStatus`, the iterations that were ended, and the labels that the last changed
    """Label colors and move centers in turn."""
    status, n_ended, n_changed = GOING, 0, 0
    for _ in range(max(n_steps, 1)):
        _write_factors(centers, scratch.factors)
        n_changed = _label_part(tree, root, labels, totals, scratch)
        if n_steps == 0:
            break
        is_last = n_ended + 1 >= n_left
        status = move_centers(totals, centers, moves, ON_GRID, n_changed, is_last, limit, relaxation, momentum)
        n_ended += status != EMPTY
        if status != GOING:
            break
    return status, n_ended, n_changed


@compiled
def write_inertia(
    tree: ColorTree,
    totals: Floats,  # [K + 1, D + 1]
    centers: Floats,  # [K, D]
    parts: Floats,  # [1 + D K]: written
) -> None:
    """Numbers whose sum is the weighted sum of squared distances to the labeled centers; see `ColorLloyd.inertia`."""
    n_axes = centers.shape[1]
    parts[0] = tree.sums[0, n_axes + 1]
    for k in range(len(centers)):
        weight = totals[k, n_axes]
        for axis in range(n_axes):
            total, center = totals[k, axis], centers[k, axis]
            nearby = (center + HALF_EVEN) - HALF_EVEN
            step = center - nearby
            parts[0] -= nearby * (2 * total - weight * nearby)
            parts[1 + n_axes * k + axis] = step * (weight * (step + 2 * nearby) - 2 * total)
