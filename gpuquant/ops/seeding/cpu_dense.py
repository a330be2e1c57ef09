"""Greedy k-means++ over floating-point points as compiled loops over tiles of points; `reference_dense` has the twin.

Sums are made tile by tile and added in the order of the tiles, so their bits do not depend on threads.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.threads import share_out, worker_threads

TILE = 1 << 13  # points: some tenths of a millisecond
CHUNK = 256  # points whose distances are computed together: they stay in the innermost cache
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
    n_tiles = -(-len(points) // TILE)
    effort = points.numel() * n_candidates
    n_threads = worker_threads() if effort >= SHARED and n_tiles > 1 else 1
    n_calls = n_tiles if n_threads > 1 else min(n_tiles, -(-effort // PAIRS_AT_ONCE))
    chosen, potentials = [], []
    for row in uniforms:
        totals = np.add.reduceat(problem.weights, range(0, len(points), TILE))  # all are as far before the first center
        run = _Run(np.ones(len(points)), totals, np.zeros((n_tiles, n_candidates)))
        chosen.append(_choose(problem, run, row, n_clusters, least, n_threads, n_calls))
        potentials.append(float(run.totals.cumsum()[-1]))
    n_centers = min(len(centers) for centers in chosen)
    return np.array([centers[:n_centers] for centers in chosen]), potentials


def _choose(
    problem: _Problem, run: _Run, uniforms: Floats, n_clusters: int, least: float, n_threads: int, n_calls: int
) -> list[int]:
    """Choose the centers of one run; an operation on all tiles is so many calls."""
    n_tiles, n_candidates = run.reached.shape
    bounds = np.linspace(0, n_tiles, n_calls + 1).astype(int).tolist()
    spans = list(pairwise(bounds))
    centers = [int(draw(problem, run, uniforms[:1], True)[0])]
    share_out(spans, partial(add_center, problem, run, centers[0], True), n_threads)
    for start in range(1, 1 + n_candidates * (n_clusters - 1), n_candidates):
        if run.totals.cumsum()[-1] < least:
            break
        candidates = draw(problem, run, uniforms[start : start + n_candidates], False)
        share_out(spans, partial(try_candidates, problem, run, candidates), n_threads)
        potentials = run.reached.cumsum(axis=0)[-1]  # in the order of the tiles
        centers.append(int(candidates[potentials.argmin()]))  # the first one on a tie
        share_out(spans, partial(add_center, problem, run, centers[-1], False), n_threads)
    return centers


@compiled
def draw(problem: _Problem, run: _Run, uniforms: Floats, is_first: bool) -> Integers:  # [L] -> [L]: points
    """Draw points with probability proportional to their weight times their closest squared distance.

    As in scikit-learn the first draw searches to the right, the others to the left.
    """
    weights, closest, n_points = problem.weights, run.closest, len(problem.weights)
    total, drawn = 0.0, np.empty(len(uniforms), np.int64)
    for one in range(len(run.totals)):
        total += run.totals[one]
    for one in range(len(uniforms)):
        goal, tile, reached = uniforms[one] * total, 0, 0.0
        while tile < len(run.totals) - 1:
            further = reached + run.totals[tile]
            if further > goal or (further == goal and not is_first):
                break
            reached = further
            tile += 1
        place, stop, reached_here = tile * TILE, min(tile * TILE + TILE, n_points), 0.0
        while place < stop:
            reached_here += weights[place] * closest[place]
            further = reached + reached_here
            if further > goal or (further == goal and not is_first):
                break
            place += 1
        drawn[one] = min(place, n_points - 1)
    return drawn


@compiled
def try_candidates(problem: _Problem, run: _Run, candidates: Integers, span: tuple[int, int]) -> None:
    """Sum up weight times closest squared distance of some tiles, were each candidate added."""
    points, weights = problem
    n_columns, n_candidates = points.shape[1], len(candidates)
    columns, apart, sums = np.zeros((n_columns, CHUNK)), np.zeros(CHUNK), np.zeros((n_candidates, CHUNK))
    for tile in range(span[0], span[1]):
        sums[:] = 0.0
        stop = min(tile * TILE + TILE, len(points))
        for first in range(tile * TILE, stop, CHUNK):
            n = min(CHUNK, stop - first)
            for j in range(n):
                for d in range(n_columns):
                    columns[d, j] = points[first + j, d]
            for one in range(n_candidates):
                for j in range(n):
                    apart[j] = 0.0
                for d in range(n_columns):
                    value = np.float64(points[candidates[one], d])
                    for j in range(n):
                        apart[j] += (columns[d, j] - value) * (columns[d, j] - value)
                for j in range(n):
                    before = run.closest[first + j]
                    sums[one, j] += weights[first + j] * (apart[j] if apart[j] < before else before)
        for one in range(n_candidates):
            total = 0.0
            for j in range(CHUNK):
                total += sums[one, j]
            run.reached[tile, one] = total


@compiled
def add_center(problem: _Problem, run: _Run, center: int, is_first: bool, span: tuple[int, int]) -> None:
    """Lower the closest distances of some tiles to those to one more center, and sum them up."""
    points, weights = problem
    for tile in range(span[0], span[1]):
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
