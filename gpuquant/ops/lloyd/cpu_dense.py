"""Lloyd steps over floating-point points as compiled loops over tiles of points.

Points are scored in chunks, column by column, in single precision, and again in double precision where that leaves a
doubt. A point remembers by how much the second nearest center is farther than its own, and keeps its label, unseen,
until both may have moved by as much (Hamerly, "Making k-means even faster", 2010). Tiles have a size of their own, and
their sums are added in their order: bits depend on nothing else.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled
from gpuquant.ops.lloyd.cpu_moves import EMPTY, GOING, Floats, move_centers
from gpuquant.ops.lloyd.cpu_scores import CENTERS, CHUNK, EPS, EPS_SINGLE, LEAST, LEAST_SINGLE, with_score

LANES = 16  # to whose multiple a chunk is filled up, so that no loop over it ends in single steps
LOWEST, SECOND, FOUND, SQUARE = 4, 5, 6, 7  # rows of scores, after those of four centers: of all of them; and |x|^2
GAP = 0  # at last: how much farther the second nearest center is; positive where no rounding matters
COLUMNS = 4  # that are multiplied at once; missing ones are zeros

Singles = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]


class Problem(NamedTuple):
    """Points with weights."""

    points: npt.NDArray[np.floating]  # [N, D] float32 or float64
    origin: Floats  # [D]: what points are relative to
    weights: Floats  # [N]
    n_rows: int  # of a tile
    kind: int  # of number that a level of a center is: SINGLE or DOUBLE
    count_weightless: bool  # whether points of weight 0 count among those whose label changed


class Run(NamedTuple):
    """The labels, sums and bounds of one run."""

    labels: Labels  # [N]; -1 where there is none yet
    bounds: Floats  # [N]: the way of its label until which a point keeps it
    way: Floats  # [K + 1]: how much nearer a center may have come to another one's points; the last one is that of none
    before: Floats  # [K, D]: the centers of the last step
    factors: Floats  # [K, D + 1]: -2 c and |c|^2
    singles: Singles  # [K and missing, columns filled up + 2]: the same, and the center's number
    is_stale: npt.NDArray[np.bool_]  # [n_tiles]: whether labels have changed since the sums of a tile were made
    tiles: Floats  # [n_tiles, K, D + 1]: weighted sums of each cluster and, last, its weight
    totals: Floats  # [K, D + 1]


@compiled
def prepare(run: Run, centers: Floats) -> None:  # [K, D], relative to the origin
    """Write the factors of the scores, and note how far the centers have moved since the last step."""
    n_clusters, n_columns = centers.shape
    is_first = run.labels[0] < 0
    farthest, second, own = 0.0, 0.0, 0
    for k in range(n_clusters):
        square, moved = 0.0, 0.0
        for column in range(n_columns):
            value = centers[k, column]
            apart = 0.0 if is_first else value - run.before[k, column]
            square += value * value
            moved += apart * apart
            run.before[k, column] = value
            run.factors[k, column] = -2 * value
            run.singles[k, column] = -2 * value
        run.factors[k, -1] = square
        run.singles[k, -2] = square
        moved = np.sqrt(moved) * (1 + 1e-9)
        run.way[k] += moved
        if moved > farthest:
            farthest, second, own = moved, farthest, k
        elif moved > second:
            second = moved
    for k in range(n_clusters):
        others = second if k == own else farthest
        run.way[k] = (run.way[k] + others) * (1 + 4 * EPS)


@compiled
def _score(columns: Singles, factors: Singles, n: int, scores: Singles) -> None:
    """Find the lowest score |c|^2 - 2 x.c of points, the second lowest, and the first center that has the lowest."""
    n_columns = columns.shape[0]
    for j in range(n):
        scores[LOWEST, j] = np.inf
        scores[SECOND, j] = np.inf
        scores[FOUND, j] = 0
    for k in range(0, factors.shape[0], CENTERS):
        for d in range(0, n_columns, COLUMNS):
            a0, a1, a2, a3 = factors[k, d], factors[k, d + 1], factors[k, d + 2], factors[k, d + 3]
            b0, b1, b2, b3 = factors[k + 1, d], factors[k + 1, d + 1], factors[k + 1, d + 2], factors[k + 1, d + 3]
            c0, c1, c2, c3 = factors[k + 2, d], factors[k + 2, d + 1], factors[k + 2, d + 2], factors[k + 2, d + 3]
            e0, e1, e2, e3 = factors[k + 3, d], factors[k + 3, d + 1], factors[k + 3, d + 2], factors[k + 3, d + 3]
            if d == 0:
                a, b = factors[k, n_columns], factors[k + 1, n_columns]
                c, e = factors[k + 2, n_columns], factors[k + 3, n_columns]
                for j in range(n):
                    x, y, z, t = columns[d, j], columns[d + 1, j], columns[d + 2, j], columns[d + 3, j]
                    scores[0, j] = a + x * a0 + y * a1 + z * a2 + t * a3
                    scores[1, j] = b + x * b0 + y * b1 + z * b2 + t * b3
                    scores[2, j] = c + x * c0 + y * c1 + z * c2 + t * c3
                    scores[3, j] = e + x * e0 + y * e1 + z * e2 + t * e3
            else:
                for j in range(n):
                    x, y, z, t = columns[d, j], columns[d + 1, j], columns[d + 2, j], columns[d + 3, j]
                    scores[0, j] = scores[0, j] + x * a0 + y * a1 + z * a2 + t * a3
                    scores[1, j] = scores[1, j] + x * b0 + y * b1 + z * b2 + t * b3
                    scores[2, j] = scores[2, j] + x * c0 + y * c1 + z * c2 + t * c3
                    scores[3, j] = scores[3, j] + x * e0 + y * e1 + z * e2 + t * e3
        number_0, number_1 = factors[k, n_columns + 1], factors[k + 1, n_columns + 1]
        number_2, number_3 = factors[k + 2, n_columns + 1], factors[k + 3, n_columns + 1]
        for j in range(n):
            lowest, second, found = scores[LOWEST, j], scores[SECOND, j], scores[FOUND, j]
            lowest, second, found = with_score(scores[0, j], number_0, lowest, second, found)
            lowest, second, found = with_score(scores[1, j], number_1, lowest, second, found)
            lowest, second, found = with_score(scores[2, j], number_2, lowest, second, found)
            lowest, second, found = with_score(scores[3, j], number_3, lowest, second, found)
            scores[LOWEST, j], scores[SECOND, j], scores[FOUND, j] = lowest, second, found


@compiled
def _score_exactly(
    problem: Problem, row: int, factors: Floats
) -> tuple[float, float, int, float]:  # as `_score` writes them
    """Score one point in double precision."""
    points, origin, n_columns = problem.points, problem.origin, problem.points.shape[1]
    lowest, second, found, square = np.inf, np.inf, 0, 0.0
    for d in range(n_columns):
        square += (points[row, d] - origin[d]) * (points[row, d] - origin[d])
    for k in range(len(factors)):
        score = factors[k, n_columns]
        for d in range(n_columns):
            score += factors[k, d] * (points[row, d] - origin[d])
        if score < lowest:
            lowest, second, found = score, lowest, k
        elif score < second:
            second = score
    return lowest, second, found, square


@compiled
def label_points(
    problem: Problem,
    run: Run,
    start: int,
    stop: int,
    unsure: Index,  # [stop - start], written: points that are left alone, as rounding decides; or [0]: they are not
) -> tuple[int, int]:  # how many labels changed, and how many points are unsure
    """Give points that need it their nearest centers, the lowest among equal scores.

    Where single precision leaves a doubt, double precision decides. A score is off by at most D + 4 roundings by
    eps / 2 of |c|^2 + 2 |x| |c| <= 2 (|x|^2 + |c|^2), and |c|^2 <= 2 (|x|^2 + |x - c|^2). Bounds allow for three times
    as much, so that no rounding tells otherwise before the gap is used up.
    """
    points, origin = problem.points, problem.origin
    n_columns = points.shape[1]
    share, share_single = 3 * (n_columns + 4) * EPS, 3 * (n_columns + 4) * EPS_SINGLE
    less, more = np.float32(1 - 2 * share_single), np.float32(1 + 2 * share_single)  # of the scores' type: faster
    own, least = np.float32(3 * share_single), np.float32(3 * (n_columns + 4) * LEAST_SINGLE)
    seen, scores = np.empty(CHUNK, np.int64), np.zeros((8, CHUNK), np.float32)
    columns = np.zeros((run.singles.shape[1] - 2, CHUNK), np.float32)
    n_changed, n_unsure, place = 0, 0, start
    while place < stop:
        n = 0
        while place < stop and n < CHUNK:
            if not run.bounds[place] > run.way[run.labels[place]]:
                seen[n] = place
                n += 1
            place += 1
        filled = (n + LANES - 1) // LANES * LANES
        if n > 0 and seen[n - 1] - seen[0] == n - 1:  # a loop over neighbors takes half the time
            first = np.uintp(seen[0])
            for j in range(np.uintp(n)):
                for d in range(n_columns):
                    columns[d, j] = points[first + j, d] - origin[d]
        else:
            for j in range(n):
                for d in range(n_columns):
                    columns[d, j] = points[np.uintp(seen[j]), d] - origin[d]
        for j in range(filled):
            scores[SQUARE, j] = 0.0
        for d in range(n_columns):
            for j in range(filled):
                scores[SQUARE, j] += columns[d, j] * columns[d, j]
        _score(columns, run.singles, filled, scores)
        for j in range(filled):
            square = scores[SQUARE, j]
            off = own * square + least
            upper = (square + scores[LOWEST, j]) * more + off
            scores[GAP, j] = np.sqrt((square + scores[SECOND, j]) * less - off) - np.sqrt(upper)
        for j in range(n):
            row, label, gap = seen[j], int(scores[FOUND, j]), np.float64(scores[GAP, j])
            if not gap > 0:
                lowest, second, label, exact = _score_exactly(problem, row, run.factors)
                doubt = 3 * share * exact + 3 * (n_columns + 4) * LEAST
                upper_exact = (exact + lowest) * (1 + 2 * share) + doubt
                gap = np.sqrt((exact + second) * (1 - 2 * share) - doubt) - np.sqrt(upper_exact)
            run.bounds[row] = gap + run.way[label] * (1 - 4 * EPS) if gap > 0 else -np.inf
            if not gap > 0 and len(unsure) > 0:
                unsure[n_unsure] = row
                n_unsure += 1
            elif run.labels[row] != label:
                run.labels[row] = label
                run.is_stale[row // problem.n_rows] = True
                n_changed += problem.count_weightless or problem.weights[row] > 0
    return n_changed, n_unsure


@compiled
def sum_tile(problem: Problem, run: Run, tile: int) -> None:
    """Sum up the clusters of a tile, point after point, if labels have changed."""
    if not run.is_stale[tile]:
        return
    points, origin, weights, n_rows = problem.points, problem.origin, problem.weights, problem.n_rows
    n_columns = points.shape[1]
    sums = run.tiles[tile]
    for k in range(sums.shape[0]):
        for d in range(n_columns + 1):
            sums[k, d] = 0.0
    for place in range(tile * n_rows, min(tile * n_rows + n_rows, len(points))):
        label, weight = run.labels[place], weights[place]
        for d in range(n_columns):
            sums[label, d] += (points[place, d] - origin[d]) * weight
        sums[label, n_columns] += weight
    run.is_stale[tile] = False


@compiled
def add_tiles(run: Run) -> None:
    """Add up the sums of all tiles, in their order."""
    n_tiles, n_clusters, n_sums = run.tiles.shape
    for k in range(n_clusters):
        for d in range(n_sums):
            run.totals[k, d] = run.tiles[0, k, d]
    for tile in range(1, n_tiles):
        for k in range(n_clusters):
            for d in range(n_sums):
                run.totals[k, d] += run.tiles[tile, k, d]


@compiled
def tile_inertia(problem: Problem, labels: Labels, centers: Floats, start: int, stop: int) -> float:
    """Sum of weight times squared distance to the labeled center, over some points."""
    total = 0.0
    for place in range(start, stop):
        square = 0.0
        for d in range(centers.shape[1]):
            apart = (problem.points[place, d] - problem.origin[d]) - centers[labels[place], d]
            square += apart * apart
        total += square * problem.weights[place]
    return total


@compiled
def iterate(
    problem: Problem,
    run: Run,
    centers: Floats,  # [K, D]: moved
    moves: Floats,  # [K, D]
    n_left: int,  # before the last iteration of the run
    n_steps: int,  # to be done here at most
    limit: float,
    relaxation: float,
    momentum: float,
) -> tuple[int, int, int]:  # the `RunStatus`, the iterations that were ended, and the labels that the last changed
    """Label points and move centers in turn, on all tiles of a small problem."""
    status, n_ended, n_changed, unsure = GOING, 0, 0, np.empty(0, np.int64)
    for _ in range(n_steps):
        prepare(run, centers)
        n_changed, _ = label_points(problem, run, 0, len(run.labels), unsure)
        for tile in range(len(run.tiles)):
            sum_tile(problem, run, tile)
        add_tiles(run)
        is_last = n_ended + 1 >= n_left
        given = problem.kind, n_changed, is_last, limit, relaxation, momentum
        status = move_centers(run.totals, centers, moves, *given)
        n_ended += status != EMPTY
        if status != GOING:
            break
    return status, n_ended, n_changed
