"""A cycle of breathing k-means on a grid of a quarter level, as one compiled call; `reference_grid` has the twin.

Points lie in Z-order, so that few centers are near a group of neighbors. One is not if two others are nearer all over
the group's box, and as |x - k|^2 - |x - p|^2 is linear in x, that is one comparison each (Pelleg and Moore 1999,
"Accelerating exact k-means algorithms with geometric reasoning"). It looks at centers near a block of groups.
Points know their two nearest centers when some are removed, and need no look for the nearest one of those that stay;
beside added centers only these are looked at. Sums of clusters follow the labels that change.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import z_order
from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.lloyd.grid_state import CLOSE, GRID, ITERATIONS, RELAXATION, GridState

GROUP = 64  # points
SPAN = 16  # groups in a block
SLOT_BITS = 7  # of the place in a list of centers, below a score: 24 bits are left for squared distances and a sign
SLOTS = 1 << SLOT_BITS
FACTOR = -2 * SLOTS  # of products of points and centers
PLACE_BITS = 13  # of the place of a center among all
COLUMNS = 4  # of levels; the last one is 0 where points have three
SQUARE, INDEX = 4, 5  # rows below those of the levels, of centers and, without the index, of points
WEIGHT = 4  # column of sums
LARGEST = (1 << 31) - 1  # number of 32 bits
FAR = 1 << 30  # above every squared distance in steps of the grid
HALF_EVEN = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, half to even

Array = npt.NDArray[Any]


class _Points(NamedTuple):
    """Points in steps of the grid, the last group filled up with the last one, and the boxes that hold them."""

    levels: Array  # [5, n_groups * GROUP] int32, and their squares
    weights: Array  # [n_groups * GROUP] int64; 0 for what fills up
    boxes: Array  # [n_blocks + n_groups, 8] int32: twice the middle, and the sides; of each block before its groups
    limits: Array  # [2, 4] float64: the lowest and the highest level of each column
    n_columns: int  # 3 or 4


class _State(NamedTuple):
    """Centers, and what is known of the points beside them."""

    centers: Array  # [6, most] int32: levels, their squares, and the index of each center
    labels: Array  # [n_groups * GROUP] int32
    apart: Array  # [n_groups * GROUP] int32: squared distances to the nearest center
    sums: Array  # [most + 1, 5] int64: of weighted points, and of weights; the last one is a cluster of none
    worth: Array  # [most] int64: errors of clusters, or by how much the error rises without each center


class _Scratch(NamedTuple):
    second: Array  # [n_groups * GROUP] int32: the second nearest center
    near_block: Array  # [6, most] int32: centers near a block
    near: Array  # [6, most] int32: and near a group
    scores: Array  # [4, most] int32
    fresh: Array  # [6, GROUP] int32: keys and what they say: distances and labels of the nearest two


class GridPoints:
    """Points with weights, rounded to the grid."""

    def __init__(
        self,
        points: Tensor,  # [N, 3] uint8, neighbors close together; or [N, 3] or [N, 4] float64 of about that size
        weights: Tensor,  # [N], whole numbers
    ) -> None:
        n_points, n_columns = points.shape
        found, added = points.numpy(), weights.numpy()
        if points.dtype != torch.uint8:
            order = z_order(points[:, :3].double().clamp(0, 255).to(torch.uint8)).argsort().numpy()
            found, added = np.rint(found[order] * GRID), added[order]
        n_groups = -(-n_points // GROUP)
        levels, padded = np.zeros((COLUMNS + 1, n_groups * GROUP), np.int32), np.zeros(n_groups * GROUP, np.int64)
        levels[:n_columns, :n_points], padded[:n_points] = found.T, added
        if points.dtype == torch.uint8:
            levels *= int(GRID)
        levels[:, n_points:] = levels[:, n_points - 1 : n_points]
        np.einsum("dn,dn->n", levels[:n_columns], levels[:n_columns], out=levels[SQUARE])
        boxes, limits = np.empty((n_groups + -(-n_groups // SPAN), 8), np.int32), np.empty((2, COLUMNS))
        _fill_boxes(levels, boxes, limits)
        self._points = _Points(levels, padded, boxes, limits, n_columns)

    def settled(
        self,
        centers: Tensor,  # [K, D] float64, on the grid
        most_added: int,  # centers, in any later cycle
    ) -> GridState:
        """Repeat Lloyd steps from given centers."""
        n_centers, n_columns = centers.shape
        most, n_points = n_centers + most_added, len(self._points.weights)
        self._states = [_state(most, n_points) for _ in range(2)]
        ints = np.zeros((16, most), np.int32)
        second, fresh = np.empty(n_points, np.int32), np.empty((6, GROUP), np.int32)
        self._scratch = _Scratch(second, ints[:6], ints[6:12], ints[12:], fresh)
        before = self._states[0]
        before.centers[:n_columns, :n_centers] = (centers.numpy() * GRID).T
        before.centers[SQUARE] = np.square(before.centers[:COLUMNS]).sum(axis=0)
        before.labels.fill(most)
        before.sums.fill(0)
        return self._run(before, n_centers, np.empty(0, np.int64))

    def breathed(
        self,
        state: GridState,  # nothing of it is lost, but other ones of these points can go on no more
        chosen: npt.NDArray[np.int64],  # [n]: clusters to split
    ) -> GridState:
        """Split clusters, remove as many centers, and repeat Lloyd steps after each change."""
        before, n_centers = state.kept
        return self._run(before, n_centers, chosen)

    def _run(self, before: _State, n_centers: int, chosen: npt.NDArray[np.int64]) -> GridState:
        (after,) = (one for one in self._states if one is not before)
        for given, taken in zip(before, after, strict=True):
            np.copyto(taken, given)
        _cycle(self._points, after, n_centers, chosen, self._scratch, ITERATIONS, RELAXATION, CLOSE)
        levels = after.centers[: self._points.n_columns, :n_centers].T / GRID
        return GridState(torch.from_numpy(levels), after.worth[:n_centers] / GRID**2, (after, n_centers))


@compiled
def _fill_boxes(
    levels: Array,  # [5, n_groups * GROUP]
    boxes: Array,  # [n_boxes, 8]: written
    limits: Array,  # [2, 4]: written
) -> None:
    """Write the boxes of each block and its groups, and the lowest and the highest levels of all."""
    for column in range(COLUMNS):
        lowest, highest = levels[column, 0], levels[column, 0]
        least, most, block = lowest, highest, 0
        for row in range(len(boxes)):
            if row % (SPAN + 1) == 0:
                block = row
                continue
            start = (row - row // (SPAN + 1) - 1) * GROUP
            low, high = levels[column, start], levels[column, start]
            for place in range(start, start + GROUP):
                level = levels[column, place]
                low, high = level if level < low else low, level if level > high else high
            boxes[row, column], boxes[row, COLUMNS + column] = low + high, high - low
            is_first = row == block + 1
            least = low if is_first or low < least else least
            most = high if is_first or high > most else most
            boxes[block, column], boxes[block, COLUMNS + column] = least + most, most - least
            lowest, highest = low if low < lowest else lowest, high if high > highest else highest
        limits[0, column], limits[1, column] = lowest, highest


def _state(most: int, n_points: int) -> _State:
    centers = np.zeros((6, most), np.int32)
    centers[INDEX] = np.arange(most)
    labels, apart = np.empty((2, n_points), np.int32)
    return _State(centers, labels, apart, np.empty((most + 1, 5), np.int64), np.empty(most, np.int64))


@compiled
def _cycle(
    points: _Points,
    state: _State,  # changed
    n_kept: int,  # centers, before and after
    chosen: npt.NDArray[np.int64],  # [n]: clusters to split; if there are none, no label is known
    scratch: _Scratch,
    iterations: int,
    relaxation: float,
    close: float,
) -> None:
    """Go through one cycle, or settle at first."""
    n_centers, step, first = n_kept + len(chosen), 0, 0
    if n_centers > n_kept:
        _split(points, state, n_kept, chosen, scratch)
        first = n_kept
    are_known = False
    while step < iterations:
        if are_known:
            _move(points.limits, state.centers, state.sums, n_centers, relaxation)
        too_many = n_centers - n_kept
        n_nearest = 2 if are_known and too_many > 0 else 1
        n_changed = _assign(points, state, first, n_centers, n_nearest, scratch)
        if not are_known:
            first, are_known = 0, True
        elif too_many > 0:  # three quarters of them at a time
            n_removed = (3 * too_many + 3) // 4
            _remove(points, state, n_centers, n_removed, close, scratch)
            n_centers -= n_removed
        else:
            step = step + 1 if n_changed > 0 else iterations


@written_out
def _move(limits: Array, centers: Array, sums: Array, n_centers: int, relaxation: float) -> None:
    """Move centers beyond the means of their clusters."""
    for one in range(n_centers):
        weight, square = sums[one, WEIGHT], 0
        for column in range(COLUMNS):
            level = float(centers[column, one])
            mean = sums[one, column] / weight if weight > 0 else level
            level += relaxation * (mean - level)
            level = limits[0, column] if level < limits[0, column] else level
            level = limits[1, column] if level > limits[1, column] else level
            centers[column, one] = int((level + HALF_EVEN) - HALF_EVEN)
            square += centers[column, one] * centers[column, one]
        centers[SQUARE, one] = square


@written_out
def _relabel(levels: Array, weights: Array, labels: Array, sums: Array, place: int, label: int) -> None:
    """Let a point join a cluster, and leave its own one."""
    before, weight = labels[place], weights[place]
    labels[place] = label
    for column in range(COLUMNS):
        part = weight * levels[column, place]
        sums[before, column] -= part
        sums[label, column] += part
    sums[before, WEIGHT] -= weight
    sums[label, WEIGHT] += weight


@written_out
def _assign(points: _Points, state: _State, first: int, n_centers: int, n_nearest: int, scratch: _Scratch) -> int:
    """Find the nearest one or two centers of every point, the first one on a tie; return how many labels changed.

    Before a first center, if it is not 0, the nearest ones are known. Adds up the errors of clusters, or, if two
    centers are looked for, by how much they would rise with the second ones.
    """
    levels, weights, boxes, n_columns = points.levels, points.weights, points.boxes, points.n_columns
    centers, labels, apart, sums, worth = state.centers, state.labels, state.apart, state.sums, state.worth
    fresh, near, near_block, second = scratch.fresh, scratch.near, scratch.near_block, scratch.second
    for one in range(n_centers):
        worth[one] = 0
    n_changed, n_block = 0, n_centers - first
    for row in range(len(boxes)):
        is_block = row % (SPAN + 1) == 0
        given, found = centers if is_block else near_block, near_block if is_block else near
        start, stop = first if is_block else 0, n_centers if is_block else n_block
        n_near = _near(boxes, row, n_nearest, given, start, stop, found, scratch.scores)
        if is_block:
            n_block = n_near
            continue
        start = (row - row // (SPAN + 1) - 1) * GROUP
        for slot in range(0, n_near, SLOTS):
            _compare(levels, n_columns, start, near, slot, slot + SLOTS if slot + SLOTS < n_near else n_near, fresh)
        for one in range(GROUP):
            place, label = start + one, int(fresh[3, one])
            distance = fresh[2, one]
            if first > 0 and distance >= apart[place]:
                continue
            if label != labels[place]:
                n_changed += 1
                _relabel(levels, weights, labels, sums, place, label)
            apart[place], second[place] = distance, fresh[5, one]
            worth[label] += weights[place] * (distance if n_nearest == 1 else fresh[4, one] - distance)
    return n_changed


@written_out
def _near(
    boxes: Array, row: int, n_nearest: int, centers: Array, start: int, stop: int, near: Array, scores: Array
) -> Any:
    """Write those of some centers than which fewer than n others are nearer all over a box; return how many they are.

    With m the middle of the box and s its sides, p is nearer than k in all of it if
    |m - k|^2 - |m - p|^2 > sum(s |k - p|).
    """
    margins, kept = scores[1], scores[2]
    x, y, z, v = boxes[row, 0], boxes[row, 1], boxes[row, 2], boxes[row, 3]
    for one in range(start, stop):
        place = np.uintp(one)
        score = x * centers[0, place] + y * centers[1, place] + z * centers[2, place] + v * centers[3, place]
        scores[0, place], margins[place] = centers[SQUARE, place] - score, FAR
    a, b, c, d = boxes[row, 4], boxes[row, 5], boxes[row, 6], boxes[row, 7]
    least = np.int64(-FAR) << PLACE_BITS
    for _ in range(n_nearest if n_nearest < stop - start else stop - start):
        before, least = least, np.int64(FAR) << PLACE_BITS
        for one in range(start, stop):
            key = np.int64(scores[0, np.uintp(one)]) << PLACE_BITS | one
            lower = key if key < least else least
            least = lower if key > before else least
        pivot = least & ((1 << PLACE_BITS) - 1)
        x, y, z, v = centers[0, pivot], centers[1, pivot], centers[2, pivot], centers[3, pivot]
        score = scores[0, pivot]
        for one in range(start, stop):
            place = np.uintp(one)
            apart = a * abs(np.int32(centers[0, place] - x)) + b * abs(np.int32(centers[1, place] - y))
            apart += c * abs(np.int32(centers[2, place] - z)) + d * abs(np.int32(centers[3, place] - v))
            margin = np.int32(scores[0, place] - score - apart)
            margins[place] = margin if margin < margins[place] else margins[place]
    n_near = np.uintp(0)
    for one in range(start, stop):
        kept[n_near] = one  # written anyway: a branch would often be guessed wrong
        n_near += np.uintp(margins[np.uintp(one)] <= 0)
    for line in range(INDEX + 1):
        for one in range(n_near):
            near[line, one] = centers[line, np.uintp(kept[one])]
    return np.int64(n_near)


@written_out
def _compare(levels: Array, n_columns: int, start: int, near: Array, first: int, stop: int, fresh: Array) -> None:
    """Compare some centers with each point of a group.

    |k|^2 - 2 x.k with the place of k in its low bits tells the nearest ones and the order of equal ones at once.
    """
    here = np.uintp(start)
    keys, others = fresh[0], fresh[1]
    for one in range(GROUP):
        keys[one] = others[one] = LARGEST
    for candidate in range(first, stop):
        a, b, c = near[0, candidate] * FACTOR, near[1, candidate] * FACTOR, near[2, candidate] * FACTOR
        e, f = near[3, candidate] * FACTOR, (near[SQUARE, candidate] << SLOT_BITS) + candidate - first
        for one in range(GROUP):
            place = here + np.uintp(one)
            key = np.int32(a * levels[0, place] + b * levels[1, place] + c * levels[2, place] + f)
            if n_columns > 3:
                key = np.int32(key + e * levels[3, place])
            least, other = keys[one], others[one]
            keys[one], more = (key, least) if key < least else (least, key)
            others[one] = more if more < other else other
    for one in range(GROUP):
        square, key, other = levels[SQUARE, here + np.uintp(one)], keys[one], others[one]
        label, distance = near[INDEX, first + (key & (SLOTS - 1))], (key >> SLOT_BITS) + square
        second, farther = np.int32(-1), np.int32(FAR)
        if stop > first + 1:
            second, farther = near[INDEX, first + (other & (SLOTS - 1))], (other >> SLOT_BITS) + square
        if first == 0 or distance < fresh[2, one]:
            if first > 0 and fresh[2, one] <= farther:
                second, farther = fresh[3, one], fresh[2, one]
            fresh[2, one], fresh[3, one], fresh[4, one], fresh[5, one] = distance, label, farther, second
        elif distance < fresh[4, one]:
            fresh[4, one], fresh[5, one] = distance, label


@written_out
def _split(points: _Points, state: _State, n_kept: int, chosen: Array, scratch: _Scratch) -> None:
    """Add a center to some clusters: the mean of the upper part, cut at the center across the longest side."""
    levels, weights, labels, sums, centers = points.levels, points.weights, state.labels, state.sums, state.centers
    halves, longest = scratch.scores[0], scratch.scores[1]
    for one in range(n_kept):
        halves[one] = -1
    for one in range(len(chosen)):
        halves[chosen[one]] = n_kept + one
        for column in range(WEIGHT + 1):
            sums[n_kept + one, column] = 0
    for place in range(len(labels)):
        half = halves[labels[place]]
        if half >= 0:
            for column in range(COLUMNS):
                off = np.int64(levels[column, place] - centers[column, labels[place]])
                sums[half, column] += weights[place] * off * off
    for half in range(n_kept, n_kept + len(chosen)):
        longest[half] = 0
        for column in range(COLUMNS):
            if sums[half, column] > sums[half, longest[half]]:
                longest[half] = column
        for column in range(COLUMNS):
            sums[half, column] = 0
    for place in range(len(labels)):
        half = halves[labels[place]]
        if half >= 0 and levels[longest[half], place] > centers[longest[half], labels[place]]:
            for column in range(COLUMNS):
                sums[half, column] += weights[place] * levels[column, place]
            sums[half, WEIGHT] += weights[place]
    for one in range(len(chosen)):
        half, square = n_kept + one, 0
        weight = sums[half, WEIGHT]
        sums[half, WEIGHT] = 0
        for column in range(COLUMNS):
            level = float(centers[column, chosen[one]])
            level = sums[half, column] / weight if weight > 0 else level
            centers[column, half] = int((level + HALF_EVEN) - HALF_EVEN)
            square += centers[column, half] * centers[column, half]
            sums[half, column] = 0
        centers[SQUARE, half] = square


@written_out
def _remove(points: _Points, state: _State, n_centers: int, n_removed: int, close: float, scratch: _Scratch) -> None:
    """Remove the least useful centers, but not the close neighbors of one that goes, and label their points anew."""
    levels, weights, labels, sums = points.levels, points.weights, state.labels, state.sums
    centers, worth, scores, second = state.centers, state.worth, scratch.scores, scratch.second
    distances, frozen, together, fresh = scores[0], scores[1], scores[2], scores[3]
    total = 0.0
    for one in range(n_centers):
        frozen[one] = fresh[one] = 0
        least = FAR
        _measure(centers, n_centers, centers, one, distances)
        distances[one] = FAR
        for other in range(n_centers):
            distance = distances[other]
            least = distance if distance < least else least
        total += math.sqrt(least)
    limit = close * (total / n_centers)
    for _ in range(n_removed):
        gone, least_worth = n_centers, np.int64(1) << 62
        for one in range(n_centers):
            if frozen[one] == 0 and fresh[one] == 0 and worth[one] < least_worth:
                gone, least_worth = one, worth[one]
        fresh[gone] = -1
        _measure(centers, n_centers, centers, gone, distances)
        n_frozen = 0
        for one in range(n_centers):
            is_close = one != gone and math.sqrt(distances[one]) < limit
            together[one] = 1 if is_close else frozen[one]
            n_frozen += together[one]
        if n_frozen + n_removed <= n_centers:
            frozen, together = together, frozen
    n_left = 0
    for one in range(n_centers):
        if fresh[one] == 0:
            fresh[one] = n_left
            for column in range(WEIGHT + 1):
                centers[column, n_left], sums[n_left, column] = centers[column, one], sums[one, column]
            n_left += 1
    for place in range(len(labels)):
        label = int(fresh[labels[place]])
        labels[place] = label
        if label < 0:
            label = int(fresh[second[place]])
            labels[place] = len(sums) - 1
            if label < 0:
                _measure(centers, n_left, levels, place, distances)
                label = 0
                for one in range(n_left):
                    if distances[one] < distances[label]:
                        label = one
            _relabel(levels, weights, labels, sums, place, label)


@compiled
def _measure(centers: Array, n_centers: int, points: Array, place: int, distances: Array) -> None:
    """Write the squared distance of each center to a point."""
    for one in range(n_centers):
        distance = np.int32(0)
        for column in range(COLUMNS):
            off = np.int32(centers[column, np.uintp(one)] - points[column, place])
            distance = np.int32(distance + off * off)
        distances[one] = distance
