"""Greedy k-means++ over floating-point points as compiled loops over tiles of points; `reference_dense` has the twin.

Sums are made tile by tile and added in the order of the tiles, so their bits do not depend on threads.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.threads import share_out, worker_threads

TILE = 1 << 13  # points: some tenths of a millisecond
BATCH = 256  # points whose distances are computed together: they stay in the innermost cache
SHARED = 1 << 21  # columns of points, times candidates, from which threads share a center: it takes some milliseconds
PAIRS_AT_ONCE = 1 << 28  # of a column and a candidate in one call: some tenths of a second

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class _Problem(NamedTuple):
    points: npt.NDArray[np.floating]  # [N, D] float32 or float64
    weights: Floats  # [N]


class _Run(NamedTuple):
    """One run, and what is looked up while a center is chosen."""

    closest: Floats  # [N]: squared distances to the closest center so far; ones before the first one
    totals: Floats  # [n_tiles]: sums of weight times closest distance
    reached: Floats  # [n_tiles, L]: what these would be with each candidate
    candidates: Integers  # [L]


def choose_points(
    points: Tensor,  # [N, D] float32 or float64
    weights: Tensor,  # [N] float64
    uniforms: Floats,  # [n_runs, 1 + L (K - 1)] in [0, 1)
    n_candidates: int,  # L
    n_clusters: int,  # K
    least: float = 0.0,  # a run adds no more centers once its potential is below it
) -> tuple[Integers, list[float]]:  # [n_runs, K], or as many as the shortest run has; [n_runs]
    """Choose the points that become centers, run by run; and the potentials that the runs reach."""
    problem = _Problem(points.contiguous().numpy(), weights.contiguous().numpy())
    chosen = np.zeros((len(uniforms), n_clusters), np.int64)
    n_tiles = -(-len(points) // TILE)
    effort = points.numel() * n_candidates
    n_threads = worker_threads() if effort >= SHARED and n_tiles > 1 else 1
    lengths, potentials = [], []
    for row, centers in zip(uniforms, chosen, strict=True):
        reached, candidates = np.zeros((n_tiles, n_candidates)), np.zeros(n_candidates, np.int64)
        run = _Run(np.ones(len(points)), np.zeros(n_tiles), reached, candidates)
        lengths.append(_choose(problem, run, row, centers, least, n_threads, max(1, PAIRS_AT_ONCE // effort)))
        potentials.append(float(run.totals.cumsum()[-1]))
    return chosen[:, : min(lengths)], potentials


def _choose(
    problem: _Problem, run: _Run, uniforms: Floats, centers: Integers, least: float, n_threads: int, n_steps: int
) -> int:  # centers
    """Choose the centers of one run: several in one call, or each one in threads."""
    if n_threads == 1:
        for start in range(0, len(centers), n_steps):
            stop = min(start + n_steps, len(centers))
            length = choose_some(problem, run, uniforms, centers, start, stop, least)
            if length < stop:
                return length
        return len(centers)
    tiles = range(len(run.totals))
    for step in range(len(centers)):
        if step > 0 and run.totals.cumsum()[-1] < least:
            return step
        n_tried = draw(problem, run, uniforms, step)
        if step > 0:
            share_out(tiles, partial(try_candidates, problem, run), n_threads)
        centers[step] = best_candidate(run, n_tried)
        share_out(tiles, partial(add_center, problem, run, int(centers[step]), step == 0), n_threads)
    return len(centers)


@compiled
def choose_some(
    problem: _Problem,
    run: _Run,
    uniforms: Floats,  # [1 + L (K - 1)]
    centers: Integers,  # [K], written
    start: int,
    stop: int,
    least: float,
) -> int:  # centers now
    """Choose centers until there are `stop` of them, or the potential is below the least."""
    for step in range(start, stop):
        if step > 0 and _sum_of(run.totals) < least:
            return step
        n_tried = draw(problem, run, uniforms, step)
        for tile in range(len(run.totals)):
            if step > 0:
                try_candidates(problem, run, tile)
        centers[step] = best_candidate(run, n_tried)
        for tile in range(len(run.totals)):
            add_center(problem, run, centers[step], step == 0, tile)
    return stop


@compiled
def _sum_of(values: Floats) -> float:
    total = 0.0
    for value in values:
        total += value
    return total


@compiled
def draw(problem: _Problem, run: _Run, uniforms: Floats, step: int) -> int:  # how many are drawn
    """Draw points with probability proportional to their weight times their closest squared distance.

    As in scikit-learn the first draw searches to the right, the others to the left.
    """
    weights, closest = problem.weights, run.closest
    n_candidates, n_points = len(run.candidates), len(weights)
    if step == 0:
        for tile in range(len(run.totals)):
            run.totals[tile] = 0.0
            for place in range(tile * TILE, min(tile * TILE + TILE, n_points)):
                run.totals[tile] += weights[place]
    total, n_tried = _sum_of(run.totals), 1 if step == 0 else n_candidates
    for one in range(n_tried):
        goal = uniforms[0 if step == 0 else 1 + (step - 1) * n_candidates + one] * total
        tile, reached = 0, 0.0
        while tile < len(run.totals) - 1 and _is_below(reached + run.totals[tile], goal, step):
            reached += run.totals[tile]
            tile += 1
        place, stop = tile * TILE, min(tile * TILE + TILE, n_points)
        reached_here = 0.0
        while place < stop:
            reached_here += weights[place] * closest[place]
            if not _is_below(reached + reached_here, goal, step):
                break
            place += 1
        run.candidates[one] = min(place, n_points - 1)
    return n_tried


@compiled
def _is_below(value: float, goal: float, step: int) -> bool:
    return value <= goal if step == 0 else value < goal


@compiled
def try_candidates(problem: _Problem, run: _Run, tile: int) -> None:
    """Sum up weight times closest squared distance of a tile, were each candidate added."""
    points, weights = problem
    n_columns, n_candidates = points.shape[1], len(run.candidates)
    columns, apart, sums = np.zeros((n_columns, BATCH)), np.zeros(BATCH), np.zeros((n_candidates, BATCH))
    stop = min(tile * TILE + TILE, len(points))
    for first in range(tile * TILE, stop, BATCH):
        n = min(BATCH, stop - first)
        for j in range(n):
            for d in range(n_columns):
                columns[d, j] = points[first + j, d]
        for one in range(n_candidates):
            for j in range(n):
                apart[j] = 0.0
            for d in range(n_columns):
                value = np.float64(points[run.candidates[one], d])
                for j in range(n):
                    apart[j] += (columns[d, j] - value) * (columns[d, j] - value)
            for j in range(n):
                before = run.closest[first + j]
                sums[one, j] += weights[first + j] * (apart[j] if apart[j] < before else before)
    for one in range(n_candidates):
        run.reached[tile, one] = _sum_of(sums[one])


@compiled
def best_candidate(run: _Run, n_tried: int) -> int:  # a point
    """The candidate with which the potential is lowest, the first one on a tie."""
    best, lowest = 0, np.inf
    for one in range(n_tried):
        potential = 0.0
        for tile in range(len(run.totals)):
            potential += run.reached[tile, one]
        if potential < lowest:
            best, lowest = one, potential
    return int(run.candidates[best])


@compiled
def add_center(problem: _Problem, run: _Run, center: int, is_first: bool, tile: int) -> None:
    """Lower the closest distances of a tile to those to one more center, and sum them up."""
    points, weights = problem
    total = 0.0
    for place in range(tile * TILE, min(tile * TILE + TILE, len(points))):
        square = 0.0
        for d in range(points.shape[1]):
            apart = np.float64(points[place, d]) - np.float64(points[center, d])
            square += apart * apart
        if is_first or square < run.closest[place]:
            run.closest[place] = square
        total += weights[place] * run.closest[place]
    run.totals[tile] = total
