"""A cycle of breathing k-means on a grid of a quarter level, as one compiled call.

Points lie in Z-order, so that few centers are near a group of neighbors. One is not if another is nearer all over the
group's box, and as |x - k|^2 - |x - p|^2 is linear in x, that is one comparison (Pelleg and Moore 1999, "Accelerating
exact k-means algorithms with geometric reasoning"). It looks at centers near a span of groups.
Beside added centers only these are looked at. Sums of clusters follow the labels that change, and are all that is
needed to merge some (`cpu_grid_merging`).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.lloyd.cpu_moves import HALF_EVEN
from gpuquant.ops.points.cpu_groups import GROUP, SPAN

SLOT_BITS = 7  # of the place in a list of centers, below a score: 24 bits are left for squared distances and a sign
SLOTS = 1 << SLOT_BITS
FACTOR = -2 * SLOTS  # of products of points and centers
PLACE_BITS = 13  # of the place of a center among all: twice those of MAX_CLUSTERS, as some are added
COLUMNS = 4  # of levels; the last one is 0 where points have three
SQUARE, INDEX = 4, 5  # rows below those of the levels, of centers and, without the index, of points
WEIGHT = 4  # column of sums
LARGEST = (1 << 31) - 1  # number of 32 bits
MOST = (1 << 63) - 1  # number of 64 bits

Array = npt.NDArray[Any]


class Points(NamedTuple):
    """Points in steps of the grid, the last group filled up with the last one, and the boxes that hold them."""

    levels: Array  # [5, n_groups * GROUP] int32, and their squares
    weights: Array  # [n_groups * GROUP] int64; 0 for what fills up
    boxes: Array  # [n_spans + n_groups, 8] int32: twice the middle, and the sides; of each span before its groups
    limits: Array  # [2, 4] float64: the lowest and the highest level of each column
    n_columns: int  # 3 or 4
    entry: int  # what the levels of an entry are whole numbers of


class State(NamedTuple):
    """Centers, and what is known of the points beside them."""

    centers: Array  # [6, most] int32: levels, their squares, and the index of each center
    labels: Array  # [n_groups * GROUP] int32
    apart: Array  # [n_groups * GROUP] int32: squared distances to the nearest center
    sums: Array  # [most + 1, 5] int64: of weighted points, and of weights; the last one is a cluster of none
    errors: Array  # [most] int64: of clusters, with their means rounded to entries as centers


class Scratch(NamedTuple):
    """Centers near a group, and keys of its points, while points are labeled."""

    near_span: Array  # [6, most] int32: centers near a span
    near: Array  # [6, most] int32: and near a group
    places: Array  # [2, most] int32
    fresh: Array  # [3, GROUP] int32: keys and what they say: squared distances and labels


@compiled
def settle(
    points: Points,
    state: State,  # changed
    first: int,  # if not 0, the centers before this one are the nearest known ones at first
    n_centers: int,
    scratch: Scratch,
    moves_first: bool,
    n_times: int,
    relaxation: float,
) -> None:
    """Label points so many times, or until no label changes, and move centers in between."""
    while n_times > 0:
        if moves_first:
            _move(points.limits, state.centers, state.sums, n_centers, relaxation)
        n_changed = _assign(points, state, first, n_centers, scratch)
        n_times = 0 if n_changed == 0 and first == 0 else n_times - 1
        moves_first, first = True, 0


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
def as_entry(level: float, entry: int) -> float:
    """The nearest level that an entry can have, half to even."""
    return ((level / entry + HALF_EVEN) - HALF_EVEN) * entry


@compiled
def add_errors(points: Points, state: State, n_centers: int) -> None:
    """Add up the errors of clusters, first with their centers, then with their means rounded to entries."""
    centers, sums, errors, entry = state.centers, state.sums, state.errors, points.entry
    for one in range(n_centers):
        errors[one] = 0
    for place in range(len(state.labels)):
        errors[state.labels[place]] += points.weights[place] * state.apart[place]
    for one in range(n_centers):
        weight = sums[one, WEIGHT]
        if weight > 0:
            for column in range(COLUMNS):
                level = np.int64(centers[column, one])
                rounded = np.int64(as_entry(sums[one, column] / weight, entry))
                errors[one] += (rounded - level) * (weight * (rounded + level) - 2 * sums[one, column])


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
def _assign(points: Points, state: State, first: int, n_centers: int, scratch: Scratch) -> int:
    """Find the nearest center of every point, the first one on a tie; return how many labels changed.

    Before a first center, if it is not 0, the nearest ones are known.
    """
    levels, weights, boxes, n_columns = points.levels, points.weights, points.boxes, points.n_columns
    centers, labels, apart, sums = state.centers, state.labels, state.apart, state.sums
    fresh, near, near_span = scratch.fresh, scratch.near, scratch.near_span
    n_changed, n_span = 0, n_centers - first
    for row in range(len(boxes)):
        is_span = row % (SPAN + 1) == 0
        given, found = centers if is_span else near_span, near_span if is_span else near
        start, stop = first if is_span else 0, n_centers if is_span else n_span
        n_near = _near(boxes, row, given, start, stop, found, scratch.places)
        if is_span:
            n_span = n_near
            continue
        start = (row - row // (SPAN + 1) - 1) * GROUP
        for slot in range(0, n_near, SLOTS):
            _compare(levels, n_columns, start, near, slot, slot + SLOTS if slot + SLOTS < n_near else n_near, fresh)
        for one in range(GROUP):
            place, label, distance = start + one, int(fresh[2, one]), fresh[1, one]
            if first > 0 and distance >= apart[place]:
                continue
            if label != labels[place]:
                n_changed += 1
                _relabel(levels, weights, labels, sums, place, label)
            apart[place] = distance
    return n_changed


@written_out
def _near(boxes: Array, row: int, centers: Array, start: int, stop: int, near: Array, places: Array) -> Any:
    """Write those of some centers than which the nearest to the middle of a box is not nearer all over it; count them.

    With m the middle of the box and s its sides, p is nearer than k in all of it if
    |m - k|^2 - |m - p|^2 > sum(s |k - p|).
    """
    scores, kept, least = places[0], places[1], np.int64(MOST)
    x, y, z, v = boxes[row, 0], boxes[row, 1], boxes[row, 2], boxes[row, 3]
    for one in range(start, stop):
        place = np.uintp(one)
        score = x * centers[0, place] + y * centers[1, place] + z * centers[2, place] + v * centers[3, place]
        scores[place] = centers[SQUARE, place] - score
    for one in range(start, stop):
        key = np.int64(scores[np.uintp(one)]) << PLACE_BITS | one
        least = key if key < least else least
    pivot = least & ((1 << PLACE_BITS) - 1)
    x, y, z, v = centers[0, pivot], centers[1, pivot], centers[2, pivot], centers[3, pivot]
    a, b, c, d, score = boxes[row, 4], boxes[row, 5], boxes[row, 6], boxes[row, 7], scores[pivot]
    for one in range(start, stop):
        place = np.uintp(one)
        apart = a * abs(np.int32(centers[0, place] - x)) + b * abs(np.int32(centers[1, place] - y))
        apart += c * abs(np.int32(centers[2, place] - z)) + d * abs(np.int32(centers[3, place] - v))
        scores[place] = np.int32(scores[place] - score - apart)
    n_near = np.uintp(0)
    for one in range(start, stop):
        kept[n_near] = one  # written anyway: a branch would often be guessed wrong
        n_near += np.uintp(scores[np.uintp(one)] <= 0)
    for line in range(INDEX + 1):
        for one in range(n_near):
            near[line, one] = centers[line, np.uintp(kept[one])]
    return np.int64(n_near)


@written_out
def _compare(levels: Array, n_columns: int, start: int, near: Array, first: int, stop: int, fresh: Array) -> None:
    """Compare some centers with each point of a group.

    |k|^2 - 2 x.k with the place of k in its low bits tells the nearest one, and the first of equal ones, at once.
    """
    here, keys = np.uintp(start), fresh[0]
    for one in range(GROUP):
        keys[one] = LARGEST
    for candidate in range(first, stop):
        a, b, c = near[0, candidate] * FACTOR, near[1, candidate] * FACTOR, near[2, candidate] * FACTOR
        e, f = near[3, candidate] * FACTOR, (near[SQUARE, candidate] << SLOT_BITS) + candidate - first
        for one in range(GROUP):
            place = here + np.uintp(one)
            key = np.int32(a * levels[0, place] + b * levels[1, place] + c * levels[2, place] + f)
            if n_columns > 3:
                key = np.int32(key + e * levels[3, place])
            keys[one] = key if key < keys[one] else keys[one]
    for one in range(GROUP):
        distance = (keys[one] >> SLOT_BITS) + levels[SQUARE, here + np.uintp(one)]
        if first == 0 or distance < fresh[1, one]:
            fresh[1, one], fresh[2, one] = distance, near[INDEX, first + (keys[one] & (SLOTS - 1))]


@compiled
def split(points: Points, state: State, n_kept: int, chosen: Array, scratch: Scratch) -> None:
    """Add a center to some clusters: the mean of the upper part, cut at the center across the longest side."""
    levels, weights, labels, sums, centers = points.levels, points.weights, state.labels, state.sums, state.centers
    halves, longest = scratch.places[0], scratch.places[1]
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
