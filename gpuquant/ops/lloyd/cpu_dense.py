"""Lloyd steps over floating-point points as compiled loops over tiles of points.

Points are scored in batches, column by column, in single precision, and again in double precision where that leaves a
doubt. A point remembers by how much the second nearest center is farther than its own, and keeps its label, unseen,
until both may have moved by as much (Hamerly, "Making k-means even faster", 2010). Tiles have a size of their own, and
their sums are added in their order: bits depend on nothing else.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled

BATCH = 256  # points that are scored together: they stay in the innermost cache (measured beside 128 and 512)
LANES = 16  # to whose multiple a batch is filled up, so that no loop over it ends in single steps
LOWEST, SECOND, FOUND, SQUARE = 4, 5, 6, 7  # rows of scores, after those of four centers: of all of them; and |x|^2
GAP, MARGIN = 0, 1  # at last: how much farther the second nearest center is; positive where no rounding matters
CENTERS = 4  # that are scored at once; missing ones are never the nearest
BLOCK = 4  # columns that are multiplied at once; missing ones are zeros
EPS, LEAST = 2.0**-52, 2.0**-1022  # of double precision
EPS_SINGLE, LEAST_SINGLE = 2.0**-23, 2.0**-126

GOING, STILL, CLOSE, OUT_OF_TIME, EMPTY = 0, 1, 2, 3, 4  # as in `run_status`: Numba's cache looks at no other file

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]


class Problem(NamedTuple):
    """Points with weights."""

    points: npt.NDArray[np.floating]  # [N, D] float32 or float64
    origin: Floats  # [D]: what points are relative to
    weights: Floats  # [N]
    n_rows: int  # of a tile
    to_single: bool  # whether centers are single precision
    count_weightless: bool  # whether points of weight 0 count among those whose label changed


class Run(NamedTuple):
    """The labels, sums and bounds of one run."""

    labels: Labels  # [N]; -1 where there is none yet
    bounds: Floats  # [N]: the way of its label until which a point keeps it
    way: Floats  # [K + 1]: how much nearer a center may have come to another one's points; the last one is that of none
    before: Floats  # [K, D]: the centers of the last step
    factors: Floats  # [K and missing, columns in blocks + 2]: -2 c, |c|^2, and the number of every center
    singles: npt.NDArray[np.float32]  # the same
    largest: Floats  # [1]: |c|^2 of all centers
    is_stale: npt.NDArray[np.bool_]  # [n_tiles]: whether labels have changed since the sums of a tile were made
    tiles: Floats  # [n_tiles, K, D + 1]: weighted sums of each cluster and, last, its weight
    totals: Floats  # [K, D + 1]


@compiled
def prepare(run: Run, centers: Floats) -> None:  # [K, D], relative to the origin
    """Write the factors of the scores, and note how far the centers have moved since the last step."""
    n_clusters, n_columns = centers.shape
    is_first = run.labels[0] < 0
    farthest, second, own, largest = 0.0, 0.0, 0, 0.0
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
        run.factors[k, -2] = square
        run.singles[k, -2] = square
        largest = max(largest, square)
        moved = np.sqrt(moved) * (1 + 1e-9)
        run.way[k] += moved
        if moved > farthest:
            farthest, second, own = moved, farthest, k
        elif moved > second:
            second = moved
    for k in range(n_clusters):
        others = second if k == own else farthest
        run.way[k] = (run.way[k] + others) * (1 + 4 * EPS)
    run.largest[0] = largest


@compiled
def _score(columns: Any, factors: Any, n: int, scores: Any) -> None:
    """Find the lowest score |c|^2 - 2 x.c of every point, the second lowest, and the first center that has the lowest.

    A center is a number of the scores' type: loops over types of one width are twice as fast.
    """
    n_columns = columns.shape[0]
    for j in range(n):
        scores[LOWEST, j] = np.inf
        scores[SECOND, j] = np.inf
        scores[FOUND, j] = 0
    for k in range(0, factors.shape[0], CENTERS):
        for d in range(0, n_columns, BLOCK):
            a0, a1, a2, a3 = factors[k, d], factors[k, d + 1], factors[k, d + 2], factors[k, d + 3]
            b0, b1, b2, b3 = factors[k + 1, d], factors[k + 1, d + 1], factors[k + 1, d + 2], factors[k + 1, d + 3]
            c0, c1, c2, c3 = factors[k + 2, d], factors[k + 2, d + 1], factors[k + 2, d + 2], factors[k + 2, d + 3]
            e0, e1, e2, e3 = factors[k + 3, d], factors[k + 3, d + 1], factors[k + 3, d + 2], factors[k + 3, d + 3]
            if d == 0:
                a, b, c, e = (
                    factors[k, n_columns],
                    factors[k + 1, n_columns],
                    factors[k + 2, n_columns],
                    factors[k + 3, n_columns],
                )
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
            score = scores[0, j]
            higher = score if score > lowest else lowest
            second = higher if higher < second else second
            found = number_0 if score < lowest else found
            lowest = score if score < lowest else lowest
            score = scores[1, j]
            higher = score if score > lowest else lowest
            second = higher if higher < second else second
            found = number_1 if score < lowest else found
            lowest = score if score < lowest else lowest
            score = scores[2, j]
            higher = score if score > lowest else lowest
            second = higher if higher < second else second
            found = number_2 if score < lowest else found
            lowest = score if score < lowest else lowest
            score = scores[3, j]
            higher = score if score > lowest else lowest
            second = higher if higher < second else second
            found = number_3 if score < lowest else found
            lowest = score if score < lowest else lowest
            scores[LOWEST, j], scores[SECOND, j], scores[FOUND, j] = lowest, second, found


@compiled
def label_points(
    problem: Problem,
    run: Run,
    start: int,
    stop: int,
    unsure: Index,  # [stop - start], written: points that are left alone, as rounding decides; or [0]: they are not
) -> tuple[int, int]:  # how many labels changed, and how many points are unsure
    """Give some points their nearest centers, the lowest among equal scores.

    Where single precision leaves a doubt, double precision decides: at first these points stay as they were.
    """
    nothing = np.empty(0, np.int64)
    n_changed, n_left = _label(problem, run, run.singles, EPS_SINGLE, LEAST_SINGLE, start, stop, True, nothing)
    if n_left == 0:
        return n_changed, 0
    leave = len(unsure) > 0
    n_more, n_left = _label(problem, run, run.factors, EPS, LEAST, start, stop, leave, unsure)
    return n_changed + n_more, n_left if leave else 0


@compiled
def _label(
    problem: Problem,
    run: Run,
    factors: Any,  # single or double precision, whose errors follow
    eps: float,
    least: float,
    start: int,
    stop: int,
    leave: bool,  # what is in doubt as it was
    unsure: Index,  # which that is; or [0]
) -> tuple[int, int]:  # how many labels changed, and how many are in doubt
    """Label the points that need it.

    A score is off by at most D + 4 roundings by eps / 2 of |c|^2 + 2 |x| |c| <= 2 (|x|^2 + |c|^2), and two scores by
    twice as much. The doubt is three times that, so that no rounding tells otherwise before the gap is used up.
    """
    points, origin, weights = problem.points, problem.origin, problem.weights
    n_columns = points.shape[1]
    error = np.empty(3, factors.dtype)  # of the scores' type, as loops over several types are slower
    error[0], error[1] = 6.0 * (n_columns + 4) * eps, 6.0 * (n_columns + 4) * least
    error[2] = run.largest[0]
    share, smallest, largest = error[0], error[1], error[2]
    seen, scores = np.empty(BATCH, np.int64), np.zeros((8, BATCH), factors.dtype)
    columns = np.zeros((factors.shape[1] - 2, BATCH), factors.dtype)
    n_changed, n_unsure, place = 0, 0, start
    while place < stop:
        n = 0
        while place < stop and n < BATCH:
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
                row = np.uintp(seen[j])
                for d in range(n_columns):
                    columns[d, j] = points[row, d] - origin[d]
        for j in range(filled):
            scores[SQUARE, j] = 0.0
        for d in range(n_columns):
            for j in range(filled):
                scores[SQUARE, j] += columns[d, j] * columns[d, j]
        _score(columns, factors, filled, scores)
        for j in range(filled):
            lowest, second, square = scores[LOWEST, j], scores[SECOND, j], scores[SQUARE, j]
            doubt = share * (square + largest) + smallest
            scores[GAP, j] = np.sqrt((square + second) - doubt) - np.sqrt((square + lowest) + doubt)
            scores[MARGIN, j] = (second - lowest) - doubt
        for j in range(n):
            row, label, is_sure = seen[j], np.int64(scores[FOUND, j]), scores[MARGIN, j] > 0
            run.bounds[row] = scores[GAP, j] + run.way[label] * (1 - 4 * EPS) if is_sure else -np.inf
            if not is_sure:
                if len(unsure) > 0:
                    unsure[n_unsure] = row
                n_unsure += 1
                if leave:
                    continue
            if run.labels[row] != label:
                run.labels[row] = label
                run.is_stale[row // problem.n_rows] = True
                n_changed += problem.count_weightless or weights[row] > 0
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
def _snapped(value: float, to_single: bool) -> float:
    return np.float64(np.float32(value)) if to_single else value


@compiled
def move_centers(
    problem: Problem,
    totals: Floats,  # [K, D + 1]: sums and weights of the clusters
    centers: Floats,  # [K, D]: moved, unless a cluster is empty
    moves: Floats,  # [K, D]: the last moves, which become these
    n_changed: int,
    limit: float,
    is_last: bool,
    relaxation: float,
    momentum: float,
) -> int:  # the `RunStatus` of the run
    """End an iteration of one run: the rules by which its centers move and it ends."""
    n_clusters, n_columns = centers.shape
    squared, single = 0.0, problem.to_single
    for k in range(n_clusters):
        if not totals[k, n_columns] > 0:
            return EMPTY
        for d in range(n_columns):
            shift = _snapped(totals[k, d] * (1 / totals[k, n_columns]), single) - centers[k, d]
            squared += shift * shift
    is_close = squared <= limit or (n_changed == 0 and relaxation == 1)
    straight = is_close or is_last or n_changed == 0
    for k in range(n_clusters):
        onward = 0.0
        for d in range(n_columns):
            onward += (_snapped(totals[k, d] * (1 / totals[k, n_columns]), single) - centers[k, d]) * moves[k, d]
        for d in range(n_columns):
            old, new = centers[k, d], _snapped(totals[k, d] * (1 / totals[k, n_columns]), single)
            if not straight:
                further = (old + relaxation * (new - old)) + (momentum * moves[k, d] if onward > 0 else 0.0)
                new = _snapped(further, single)
            moves[k, d] = new - old
            centers[k, d] = new
    if n_changed == 0 and squared == 0:
        return STILL
    if is_close:
        return CLOSE
    return OUT_OF_TIME if is_last else GOING


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
        status = move_centers(problem, run.totals, centers, moves, n_changed, limit, is_last, relaxation, momentum)
        n_ended += status != EMPTY
        if status != GOING:
            break
    return status, n_ended, n_changed
