"""Lloyd's algorithm on a grid of a quarter level, as compiled loops; `reference_grid` has the twin.

Points lie in Z-order, so that few centers are near a group of neighbors: those that are not farther from its box than
two others are from the box's farthest corner. They are found among those that are near a block of groups.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import z_order
from gpuquant.ops.compiled import compiled
from gpuquant.ops.lloyd.grid_state import GRID, GridState

GROUP = 64  # points: measured on cells of photos beside 16 and 32, which take longer for every number of centers
SPAN = 16  # groups in a block: 8 and 4 are no faster
FAR = 1 << 30  # above every squared distance in steps of the grid

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class _Points(NamedTuple):
    """Points in steps of the grid, the last group filled up with the last one, and the boxes that hold them."""

    levels: Array  # [D, n_groups * GROUP] int32; D is 3 or 4
    weights: Array  # [n_groups * GROUP] int64; 0 for what fills up
    boxes: Array  # [n_groups, 8] int32: the lowest level of each column, and the highest
    block_boxes: Array  # [n_blocks, 8] int32


class GridPoints:
    """Points with weights, rounded to the grid."""

    def __init__(
        self,
        points: Tensor,  # [N, 3] or [N, 4] uint8, or float64 with numbers of about that size
        weights: Tensor,  # [N], whole numbers
    ) -> None:
        n_points, n_columns = points.shape
        order = z_order(points[:, :3].double().clamp(0, 255).to(torch.uint8)).argsort().numpy()
        n_groups = -(-n_points // GROUP)
        levels = np.empty((n_columns, n_groups * GROUP), np.int32)
        levels[:, :n_points] = np.rint(points.double().numpy()[order] * GRID).T
        levels[:, n_points:] = levels[:, n_points - 1 : n_points]
        padded = np.zeros(n_groups * GROUP, np.int64)
        padded[:n_points] = weights.numpy()[order]
        boxes, block_boxes = np.zeros((n_groups, 8), np.int32), np.zeros((-(-n_groups // SPAN), 8), np.int32)
        _fill_boxes(levels, boxes, block_boxes)
        self._points = _Points(levels, padded, boxes, block_boxes)
        self._low, self._high = levels.min(axis=1) / GRID, levels.max(axis=1) / GRID
        self._apart = np.empty((2, n_groups * GROUP), np.int32)  # squared distances to the nearest two centers

    def settled(
        self,
        centers: Tensor,  # [K, D] float64, on the grid
        iterations: int,  # at most: they end when no label changes
        relaxation: float,  # times as far as to the mean, but not out of the points' range
    ) -> GridState:
        """Repeat Lloyd steps, and find out how much each center is worth."""
        moved, labels = centers.numpy(), np.empty(0, np.int32)
        for _ in range(iterations):
            previous, labels = labels, self._labels(moved, 1)
            if np.array_equal(labels, previous):
                break
            sums = np.zeros((len(moved), 1 + moved.shape[1]), np.int64)
            _add_up(self._points, labels, sums)
            moved = moved + relaxation * (_means(sums, moved) - moved)
            moved = np.rint(moved.clip(self._low, self._high) * GRID) / GRID
        labels, worth = self._labels(moved, 2), np.zeros((2, len(moved)), np.int64)
        _measure(self._points, labels, self._apart, worth)
        errors, uses = worth / GRID**2
        if len(moved) == 1:
            uses = np.full(1, np.inf)
        tensors = [torch.from_numpy(values) for values in (moved, labels, errors, uses)]
        return GridState(tensors[0], tensors[1], tensors[2], tensors[3], float(errors.sum()))

    def halves(self, state: GridState) -> Tensor:  # [K, D] float64, on the grid
        """The mean of the upper part of each cluster, cut at its center across its longest side."""
        centers = state.centers.numpy()
        spread = np.zeros(centers.shape, np.int64)
        _spread(self._points, _steps(centers), state.labels.numpy(), spread)
        sums = np.zeros((len(centers), 1 + centers.shape[1]), np.int64)
        _add_up_upper(self._points, _steps(centers), state.labels.numpy(), spread.argmax(axis=1), sums)
        return torch.from_numpy(np.rint(_means(sums, centers) * GRID) / GRID)

    def _labels(self, centers: Floats, n_nearest: int) -> Array:  # [K, D] -> [n_groups * GROUP] int32
        n_centers, n_columns = centers.shape
        labels, lists = np.empty(len(self._points.weights), np.int32), np.empty((3, n_columns + 1, n_centers), np.int32)
        lists[0, :n_columns], lists[0, n_columns] = _steps(centers), np.arange(n_centers)
        _assign(self._points, lists, n_nearest, np.empty((2, n_centers), np.int32), labels, self._apart)
        return labels


def _steps(centers: Floats) -> Array:  # [K, D] -> [D, K] int32
    return np.ascontiguousarray((centers * GRID).T.astype(np.int32))


def _means(
    sums: Integers,  # [K, D + 1]: of weighted points, in steps of the grid, and of weights
    centers: Floats,  # [K, D], for clusters without points
) -> Floats:  # [K, D]
    weights = sums[:, -1:]
    return np.where(weights > 0, sums[:, :-1] / GRID / np.maximum(weights, 1), centers)


def nearest_distances(
    centers: Tensor,  # [K, D] float64, on the grid
) -> Tensor:  # [K] float64; infinite if there is one
    """The distance of each center to the nearest other one."""
    nearest = np.empty(len(centers), np.int32)
    _find_nearest(_steps(centers.numpy()), nearest)
    distances = np.sqrt(nearest) / GRID
    return torch.from_numpy(distances if len(centers) > 1 else np.full(1, np.inf))


@compiled
def _find_nearest(centers: Array, nearest: Array) -> None:
    for row in range(len(nearest)):
        least = np.int32(FAR)
        for part in range(2):
            start, stop = (0, row) if part == 0 else (row + 1, len(nearest))
            for one in range(start, stop):
                place = np.uintp(one)
                x = np.int32(centers[0, place] - centers[0, row])
                y = np.int32(centers[1, place] - centers[1, row])
                z = np.int32(centers[2, place] - centers[2, row])
                distance = np.int32(np.int32(np.int32(x * x) + np.int32(y * y)) + np.int32(z * z))
                if len(centers) > 3:
                    x = np.int32(centers[3, place] - centers[3, row])
                    distance = np.int32(distance + np.int32(x * x))
                least = distance if distance < least else least
        nearest[row] = least


@compiled
def _fill_boxes(levels: Array, boxes: Array, block_boxes: Array) -> None:
    for column in range(len(levels)):
        for group in range(len(boxes)):
            low = high = levels[column, group * GROUP]
            for place in range(group * GROUP, group * GROUP + GROUP):
                level = levels[column, place]
                low, high = level if level < low else low, level if level > high else high
            boxes[group, column], boxes[group, 4 + column] = low, high
        for group in range(len(boxes)):
            block, low, high = group // SPAN, boxes[group, column], boxes[group, 4 + column]
            if group % SPAN == 0 or low < block_boxes[block, column]:
                block_boxes[block, column] = low
            if group % SPAN == 0 or high > block_boxes[block, 4 + column]:
                block_boxes[block, 4 + column] = high


@compiled
def _assign(
    points: _Points,
    lists: Array,  # [3, D + 1, K] int32: centers and their numbers; of those near a block, and near a group: scratch
    n_nearest: int,  # 1 or 2: whether only the nearest center is asked for
    distances: Array,  # [2, K] int32: scratch
    labels: Array,  # [n_groups * GROUP] int32, written
    apart: Array,  # [2, n_groups * GROUP] int32, written: squared distances to the nearest center and the second one
) -> None:
    """Find the nearest two centers of every point, the first one on a tie."""
    levels, _, boxes, block_boxes = points
    centers, near_block, near = lists[0], lists[1], lists[2]
    first, second = apart[0], apart[1]
    n_block = 0
    for group in range(len(boxes)):
        if group % SPAN == 0:
            n_block = _near(block_boxes, group // SPAN, n_nearest, centers, lists.shape[2], near_block, distances)
        n_near = _near(boxes, group, n_nearest, near_block, n_block, near, distances)
        _compare(levels, group * GROUP, near, n_near, labels, first, second)


@compiled
def _near(
    boxes: Array,
    row: int,
    n_nearest: int,
    centers: Array,  # [D + 1, K]: and their numbers
    n_centers: int,
    near: Array,  # [D + 1, K], written: those that may be among the nearest of a point in the box
    distances: Array,  # [2, K]: scratch
) -> Any:  # how many they are
    """Find the centers that are not farther from a box than n others are from its farthest corner."""
    for one in range(n_centers):
        place = np.uintp(one)
        closest, farthest = np.int32(0), np.int32(0)
        for column in range(3):
            off, across = _beside(boxes[row, column], boxes[row, 4 + column], centers[column, place])
            closest, farthest = np.int32(closest + off * off), np.int32(farthest + across * across)
        if len(centers) > 4:
            off, across = _beside(boxes[row, 3], boxes[row, 7], centers[3, place])
            closest, farthest = np.int32(closest + off * off), np.int32(farthest + across * across)
        distances[0, place], distances[1, place] = closest, farthest
    least, limit = FAR, FAR
    for one in range(n_centers):
        if distances[1, one] < limit:
            limit = distances[1, one]
            if limit < least:
                least, limit = limit, least
    if n_nearest == 1:
        limit = least
    n_near = np.uintp(0)
    for one in range(n_centers):
        place = np.uintp(one)
        for row_of in range(len(centers)):  # written anyway: a branch would often be guessed wrong
            near[row_of, n_near] = centers[row_of, place]
        n_near += np.uintp(distances[0, place] <= limit)
    return np.int64(n_near)


@compiled
def _beside(low: int, high: int, level: int) -> Any:
    """Tell how far a level is out of a range, and how far from its farther end."""
    below, above = np.int32(low - level), np.int32(level - high)
    outer, inner = (below, above) if below > above else (above, below)
    return outer if outer > 0 else np.int32(0), inner


@compiled
def _compare(levels: Array, start: int, near: Array, n_near: int, labels: Array, first: Array, second: Array) -> None:
    """Compare some centers for each point of a group."""
    here = np.uintp(start)
    for one in range(GROUP):
        place = here + np.uintp(one)
        first[place], second[place] = FAR, FAR
    for candidate in range(n_near):
        label = near[len(levels), candidate]
        for one in range(GROUP):  # in 32 bits, of which a vector holds twice as many
            place = here + np.uintp(one)
            x = np.int32(levels[0, place] - near[0, candidate])
            y = np.int32(levels[1, place] - near[1, candidate])
            z = np.int32(levels[2, place] - near[2, candidate])
            distance = np.int32(np.int32(np.int32(x * x) + np.int32(y * y)) + np.int32(z * z))
            if len(levels) > 3:
                x = np.int32(levels[3, place] - near[3, candidate])
                distance = np.int32(distance + np.int32(x * x))
            before = first[place]
            nearer, other = (distance, before) if distance < before else (before, distance)
            second[place] = other if other < second[place] else second[place]
            labels[place] = label if distance < before else labels[place]
            first[place] = nearer


@compiled
def _add_up(points: _Points, labels: Array, sums: Integers) -> None:
    levels, weights, _, _ = points
    n_columns = len(levels)
    for place in range(len(labels)):
        label, weight = labels[place], weights[place]
        for column in range(n_columns):
            sums[label, column] += weight * levels[column, place]
        sums[label, n_columns] += weight


@compiled
def _measure(points: _Points, labels: Array, apart: Array, worth: Integers) -> None:
    """Add up the error of each cluster, and by how much it would rise with the second nearest centers."""
    weights = points.weights
    for place in range(len(labels)):
        label, weight, first = labels[place], weights[place], np.int64(apart[0, place])
        worth[0, label] += weight * first
        worth[1, label] += weight * (apart[1, place] - first)


@compiled
def _spread(points: _Points, centers: Array, labels: Array, spread: Integers) -> None:
    levels, weights, _, _ = points
    for place in range(len(labels)):
        label, weight = labels[place], weights[place]
        for column in range(len(levels)):
            off = np.int64(levels[column, place]) - centers[column, label]
            spread[label, column] += weight * off * off


@compiled
def _add_up_upper(points: _Points, centers: Array, labels: Array, longest: Integers, sums: Integers) -> None:
    """Add up the points of each cluster that are above its center in one column."""
    levels, weights, _, _ = points
    n_columns = len(levels)
    for place in range(len(labels)):
        label, weight = labels[place], weights[place]
        if levels[longest[label], place] <= centers[longest[label], label]:
            continue
        for column in range(n_columns):
            sums[label, column] += weight * levels[column, place]
        sums[label, n_columns] += weight
