"""Greedy k-means++ on distinct colors with counts, as compiled loops; `reference` has the twin.

Colors in Z-order lie close together, so a new center changes few groups of neighbors: those to whose box it is nearer
than their farthest color is to its closest center so far. Blocks of groups are tested first in the same way.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.points.cpu_groups import GROUP, SPAN, boxes_of, filled_up
from gpuquant.threads import share_out, worker_threads

FAR = 1 << 23  # above every squared distance of four channels of 10 bits; a group's add up to less than 2^31
MOST_WEIGHT = 1 << 38  # times a squared distance it is below 2^61, which leaves room in an int64
PAIRS_AT_ONCE = 1 << 27  # of color and candidate in a call: 0.2 s if all are looked at
PAIRS_WORTH_THREADS = 1 << 20  # a run of fewer takes less time than starting a thread, about 0.1 ms

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class _Groups(NamedTuple):
    """The colors of one problem in groups, the last one filled up with its last color, and the boxes that hold them."""

    levels: Array  # [3 or 4, n_groups * GROUP] uint8 or int16
    weights: Array  # [n_groups * GROUP] int64, or float64 where they are no whole numbers; 0 for what fills up
    boxes: Array  # [n_groups, 8] int32: the lowest level of each channel, and the highest
    span_boxes: Array  # [n_spans, 8] int32


class _Run(NamedTuple):
    """One run: squared distances to the closest center so far, and what is looked up while a center is chosen."""

    closest: Array  # [n_groups * GROUP] int32
    potentials: Array  # [n_groups]: sums of weight times closest distance; before the first center, of weight
    farthest: Array  # [n_groups] int32: the largest of the closest distances
    span_potentials: Array  # [n_spans]
    span_farthest: Array  # [n_spans] int32
    found: Array  # [2, n_groups] int64: the groups that a candidate changes; of the best so far, and of one more
    found_potentials: Array  # [2, n_groups]: what their potentials become
    lowered: Array  # [2, n_groups * GROUP] int32: what their closest distances become
    color: Array  # [4] int32: the levels of the candidate


def choose_colors(
    colors: Tensor,  # [M, D] uint8, or int16 of 10 bits, neighbors close together, as in Z-order; D up to 4
    weights: Tensor,  # [M] float64, whole numbers; 0 is allowed
    uniforms: Floats,  # [n_runs, 1 + L (K - 1)] in [0, 1)
    n_candidates: int,  # L
    n_clusters: int,  # K
    least: float = 0.0,  # a run adds no more centers once its potential is below it
) -> tuple[Integers, list[float]]:  # [n_runs, K], or as many as the shortest run has; [n_runs]
    """Choose the colors that become centers, run by run; and the potentials that the runs reach."""
    groups = _grouped(colors, weights)
    chosen = np.zeros((len(uniforms), n_clusters), np.int64)
    lengths, potentials = [0] * len(uniforms), [0.0] * len(uniforms)
    pairs = n_candidates * len(colors)  # of a center
    n_steps = max(1, PAIRS_AT_ONCE // pairs)

    def choose(run: int) -> None:
        state, candidates = _begun(groups), np.empty(n_candidates, np.int64)
        for start in range(0, n_clusters, n_steps):
            stop = min(start + n_steps, n_clusters)
            lengths[run] = _choose(groups, state, uniforms[run], start, stop, least, candidates, chosen[run])
            if lengths[run] < stop:
                break
        potentials[run] = float(state.span_potentials.sum())

    n_workers = worker_threads() if pairs * len(uniforms) * n_clusters.bit_length() > PAIRS_WORTH_THREADS else 1
    share_out(range(len(uniforms)), choose, n_workers)
    # where all weights are 0, the last place is drawn, which fills up
    return chosen[:, : min(lengths)].clip(max=len(colors) - 1), potentials


class ColorSeeding:
    """One run of k-means++ whose candidates are drawn elsewhere."""

    def __init__(
        self,
        colors: Tensor,  # [M, D] uint8, or int16 of 10 bits, neighbors close together; D up to 4
        weights: Tensor,  # [M] float64
    ) -> None:
        self._n_colors = len(colors)
        self._groups = _grouped(colors, weights)
        self._run = _begun(self._groups)

    def add_best(
        self,
        candidates: list[int],  # [L]: indices of colors
    ) -> int:
        """Add the candidate that lowers the potential most (the first one on a tie) to the centers; return it."""
        return candidates[_add_best(self._groups, self._run, np.array(candidates))]

    def closest(self) -> Tensor:  # [M] int32
        """The squared distance of every color to the closest center so far."""
        return torch.from_numpy(self._run.closest[: self._n_colors])


def _exact(weights: Floats) -> Array:  # [M] -> [M] int64 or float64
    """Weights as integers where they are whole numbers whose sums with distances are integers, too."""
    if weights.sum() > MOST_WEIGHT:
        return weights
    whole = weights.astype(np.int64)
    return whole if (whole == weights).all() else weights


def _grouped(colors: Tensor, weights: Tensor) -> _Groups:
    levels = filled_up(colors.cpu().numpy(), 3)
    exact = _exact(weights.cpu().numpy())
    padded = np.zeros(levels.shape[1], exact.dtype)
    padded[: len(exact)] = exact
    return _Groups(levels, padded, *boxes_of(levels))


def _begun(groups: _Groups) -> _Run:
    n_places, n_groups, n_spans = len(groups.weights), len(groups.boxes), len(groups.span_boxes)
    potentials = groups.weights.reshape(n_groups, GROUP).sum(axis=1)
    return _Run(
        np.full(n_places, FAR, np.int32),
        potentials,
        np.full(n_groups, FAR, np.int32),
        np.add.reduceat(potentials, np.arange(0, n_groups, SPAN)),
        np.full(n_spans, FAR, np.int32),
        np.empty((2, n_groups), np.int64),
        np.empty((2, n_groups), potentials.dtype),
        np.empty((2, n_places), np.int32),
        np.zeros(4, np.int32),
    )


@compiled
def _choose(
    groups: _Groups,
    run: _Run,
    uniforms: Floats,  # [1 + L (K - 1)]
    start: int,  # centers so far
    stop: int,
    least: float,
    candidates: Integers,  # [L]: scratch
    chosen: Integers,  # [K], written
) -> int:  # centers now
    """Choose centers until there are `stop` of them, or the potential is below the least."""
    for step in range(start, stop):
        total = run.span_potentials[0]
        for span in range(1, len(run.span_potentials)):
            total += run.span_potentials[span]
        if step > 0 and total < least:
            return step
        n_tried = len(candidates) if step > 0 else 1
        for one in range(n_tried):
            target = uniforms[1 + (step - 1) * len(candidates) + one if step > 0 else 0] * total
            # as scikit-learn: the first draw searches to the right, the others to the left; sums are whole numbers
            run.found_potentials[0, 0] = np.ceil(target) if step > 0 else np.floor(target) + 1  # in their type
            candidates[one] = _drawn(groups, run, run.found_potentials[0, 0], step == 0)
        chosen[step] = candidates[_add_best(groups, run, candidates[:n_tried])]
    return stop


@compiled
def _drawn(groups: _Groups, run: _Run, goal: Any, is_first: bool) -> int:
    """Find the first color at which the running sum of potentials reaches the goal, or else the last one."""
    span = 0
    while span < len(run.span_potentials) - 1 and run.span_potentials[span] < goal:
        goal -= run.span_potentials[span]
        span += 1
    group = span * SPAN
    while group < len(run.potentials) - 1 and run.potentials[group] < goal:
        goal -= run.potentials[group]
        group += 1
    color = group * GROUP
    while color < len(groups.weights) - 1:
        goal -= groups.weights[color] * (1 if is_first else run.closest[color])
        if goal <= 0:
            break
        color += 1
    return color


@written_out
def _add_best(groups: _Groups, run: _Run, candidates: Integers) -> int:
    """Add the candidate that lowers the potential most, the first one on a tie, and tell which it is."""
    levels, weights, boxes, span_boxes = groups
    closest, potentials, farthest, _, span_farthest, _, _, _, color = run
    n_groups = len(boxes)
    best, most, n_best, side = -1, potentials[0], 0, 0
    for one in range(len(candidates)):
        for channel in range(len(levels)):
            color[channel] = levels[channel, candidates[one]]
        found, found_potentials, lowered = run.found[side], run.found_potentials[side], run.lowered[side]
        gain, n_found = potentials[0] - potentials[0], 0
        for span in range(len(span_boxes)):
            if _apart(span_boxes, span, color) >= span_farthest[span]:
                continue
            for group in range(span * SPAN, min(span * SPAN + SPAN, n_groups)):
                if _apart(boxes, group, color) >= farthest[group]:
                    continue
                if _lower(levels, closest, color, group * GROUP, lowered, n_found * GROUP) == 0:
                    continue
                potential = _potential(weights, group * GROUP, lowered, n_found * GROUP)
                gain += potentials[group] - potential
                found[n_found], found_potentials[n_found] = group, potential
                n_found += 1
        if best < 0 or gain > most:
            best, most, n_best, side = one, gain, n_found, 1 - side
    _add(run, np.int64(1 - side), np.int64(n_best))
    return best


@compiled
def _apart(boxes: Array, row: int, color: Array) -> Any:
    """The squared distance of a color to a box."""
    total = np.int32(0)
    for channel in range(4):
        below, above = boxes[row, channel] - color[channel], color[channel] - boxes[row, 4 + channel]
        off = below if below > above else above
        total += off * off if off > 0 else 0
    return total


@compiled
def _lower(levels: Array, closest: Array, color: Array, first: int, lowered: Array, at: int) -> Any:
    """Write a group's closest distances with one more center, and tell by how much less they are in sum."""
    red, green, blue, here, there = color[0], color[1], color[2], np.uintp(first), np.uintp(at)
    less = np.int32(0)  # all in 32 bits, of which a vector holds twice as many
    for one in range(GROUP):
        place, to = here + np.uintp(one), there + np.uintp(one)
        x = np.int32(np.int32(levels[0, place]) - red)
        y = np.int32(np.int32(levels[1, place]) - green)
        z = np.int32(np.int32(levels[2, place]) - blue)
        distance = np.int32(np.int32(np.int32(x * x) + np.int32(y * y)) + np.int32(z * z))
        if len(levels) > 3:
            x = np.int32(np.int32(levels[3, place]) - color[3])
            distance = np.int32(distance + np.int32(x * x))
        before = closest[place]
        after = distance if distance < before else before
        lowered[to] = after
        less += np.int32(before - after)
    return less


@compiled
def _potential(weights: Array, first: int, distances: Array, at: int) -> Any:
    here, there = np.uintp(first), np.uintp(at)
    total = weights[here] - weights[here]
    for one in range(GROUP):
        total += weights[here + np.uintp(one)] * distances[there + np.uintp(one)]
    return total


@compiled
def _add(run: _Run, side: Any, n_found: Any) -> None:
    """Keep what a candidate changes."""
    for one in range(n_found):
        group = run.found[side, one]
        first, at, farthest = group * GROUP, one * GROUP, np.int32(0)
        for place in range(GROUP):
            distance = run.lowered[side, at + place]
            run.closest[first + place] = distance
            farthest = distance if distance > farthest else farthest
        run.potentials[group], run.farthest[group] = run.found_potentials[side, one], farthest
    for one in range(n_found):  # groups ascend
        span = run.found[side, one] // SPAN
        if one + 1 == n_found or run.found[side, one + 1] // SPAN > span:
            largest, total = np.int32(0), run.potentials[0] - run.potentials[0]
            for group in range(span * SPAN, min(span * SPAN + SPAN, len(run.farthest))):
                largest = run.farthest[group] if run.farthest[group] > largest else largest
                total += run.potentials[group]
            run.span_farthest[span], run.span_potentials[span] = largest, total
