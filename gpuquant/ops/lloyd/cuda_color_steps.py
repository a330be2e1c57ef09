"""Lloyd's algorithm on 8-bit colors as one Triton kernel: one launch an iteration.

Every program labels its tiles of colors and adds what it finds to sums that all programs share, which are integers: the
order of such additions does not matter. The program of a run that comes last has all sums before it, and moves the
centers by the same rules as on the host.

Scores are exact in 32 bits. With centers c = C / 2^10 the score |c|^2 - 2 x.c, times 2^20, is |C|^2 - 2^11 x.C. What is
compared is |C|^2 // 2^11 - x.C, below 2^27, then |C|^2 % 2^11, then the index.

Where there are many centers only those are looked at that can be nearest in the box around a tile.
"""

from enum import IntEnum

import triton
import triton.language as tl

from gpuquant.ops.lloyd.cuda import CLOSE, EMPTY, GOING, OUT_OF_TIME, move_run

TILE = 1024  # colors that a program works on at a time, neighbors: their box is small
CLUSTERS = 64  # that are looked at or moved together
FEW = 16  # clusters whose sums a program keeps by itself
LABELING = 8  # is added to the status of a run whose colors have to be labeled before it rests
OPTIONS = {"num_warps": 8, "enable_fp_fusion": False}  # four take too many registers; centers move as on the host


class Number(IntEnum):
    """Places in the row of a run, behind its centers, moves and totals."""

    LIMIT = 0
    ITERATION = 1
    STAND = 2  # the run's status
    CHANGED = 3
    RELAXATION = 4
    MOMENTUM = 5


LIMIT, ITERATION, STAND, CHANGED, RELAXATION, MOMENTUM = (tl.constexpr(place.value) for place in Number)
UNLABELED = tl.constexpr(LABELING)
TOO_FAR = tl.constexpr(1.00001)  # times the farthest distance: more than float32 rounds off
LAST = tl.constexpr(2147483647)


@triton.jit(do_not_specialize=["n_colors", "n_clusters", "n_runs", "max_iter", "n_steps"])
def color_step_kernel(
    colors,  # [B, M, 3] uint8
    weights,  # [B, M] float64, whole numbers
    labels,  # [P, M] int16
    state,  # [P, 10 K + 6] float64: of each run centers [K, 3], moves [K, 3], totals [K, 4], and each `Number`
    sums,  # [P, 4 K + 2] int64, all 0: totals, labels that changed, and programs that have ended
    scratch,  # [P, programs, 6 K] int32
    n_colors,
    n_clusters,
    n_runs,
    max_iter,
    n_steps,
    TILE: tl.constexpr,
    CLUSTERS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Label the colors of all runs that go on, sum up their clusters, and move their centers.

    LANES are 4 for each cluster if there are few: then every program keeps its sums to the end. There is more than one
    step only where a run has one program.
    """
    run = tl.program_id(1).to(tl.int64)
    problem = run // n_runs
    colors += problem * n_colors * 3
    weights += problem * n_colors
    labels += run * n_colors
    sums += run * (4 * n_clusters + 2)
    centers = state + run * (10 * n_clusters + 6)
    numbers = centers + 10 * n_clusters
    table = scratch + (run * tl.num_programs(0) + tl.program_id(0)) * (6 * n_clusters)
    left = n_steps
    while left > 0:
        left -= 1
        stand = tl.load(numbers + STAND).to(tl.int32)
        if (stand == GOING) | (stand >= UNLABELED):
            n_changed = _label(
                colors, weights, labels, centers, sums, table, n_colors, n_clusters, TILE, CLUSTERS, LANES
            )
            tl.atomic_add(sums + 4 * n_clusters, n_changed, sem="relaxed")
            tl.debug_barrier()  # all threads have added what they found
            n_ended = tl.atomic_add(sums + 4 * n_clusters + 1, 1, sem="acq_rel")
            if n_ended == tl.num_programs(0) - 1:
                _end_step(centers, numbers, sums, stand, n_clusters, max_iter, CLUSTERS)
            tl.debug_barrier()  # all threads read what all have written, if there is one program
        else:
            left = left * 0


@triton.jit
def _label(
    colors, weights, labels, centers, sums, table, n_colors, n_clusters,
    TILE: tl.constexpr, CLUSTERS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Label the colors of a program, add up their clusters, and tell how many labels changed."""
    near = table + 5 * n_clusters
    for start in range(0, n_clusters, CLUSTERS):
        _write_table(table, centers, start + tl.arange(0, CLUSTERS), n_clusters)
    tl.debug_barrier()
    lane = tl.arange(0, LANES)
    column = lane % 4
    kept = tl.zeros([LANES], tl.int64)
    n_changed = tl.zeros([], tl.int64)
    for start in range(tl.program_id(0) * TILE, n_colors, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        mask = offsets < n_colors
        place = offsets.to(tl.int64) * 3
        red = tl.load(colors + place, mask=mask, other=0).to(tl.int32) - 128
        green = tl.load(colors + place + 1, mask=mask, other=0).to(tl.int32) - 128
        blue = tl.load(colors + place + 2, mask=mask, other=0).to(tl.int32) - 128
        weight = tl.load(weights + offsets, mask=mask, other=0).to(tl.int64)
        n_near = n_clusters
        if LANES == 4:
            n_near = _list_near(near, table, red, green, blue, mask, n_clusters, CLUSTERS)
            tl.debug_barrier()
        lowest = tl.full([TILE], LAST, tl.int32)
        lower = tl.full([TILE], LAST, tl.int32)
        nearest = tl.zeros([TILE], tl.int32)
        for one in range(n_near):
            k = one
            if LANES == 4:
                k = tl.load(near + one)
            own = table + k
            product = red * tl.load(own)
            product += green * tl.load(own + n_clusters)
            product += blue * tl.load(own + 2 * n_clusters)
            score = tl.load(own + 3 * n_clusters) - product
            rest = tl.load(own + 4 * n_clusters)
            nearer = (score < lowest) | ((score == lowest) & (rest < lower))
            lowest = tl.where(nearer, score, lowest)
            lower = tl.where(nearer, rest, lower)
            nearest = tl.where(nearer, k, nearest)
        before = tl.load(labels + offsets, mask=mask, other=0).to(tl.int32)
        n_changed += tl.sum(((nearest != before) & (weight > 0)).to(tl.int64))
        tl.store(labels + offsets, nearest.to(tl.int16), mask=mask)
        for one in range(n_near):
            k = one
            if LANES == 4:
                k = tl.load(near + one)
            member = tl.where(nearest == k, weight, 0)
            n_pixels = tl.sum(member)
            if n_pixels > 0:
                found = tl.where(column == 0, tl.sum(member * red), n_pixels)
                found = tl.where(column == 1, tl.sum(member * green), found)
                found = tl.where(column == 2, tl.sum(member * blue), found)
                if LANES == 4:
                    tl.atomic_add(sums + 4 * k + lane, found, sem="relaxed")
                else:
                    kept += tl.where(lane // 4 == k, found, 0)
    if LANES > 4:
        tl.atomic_add(sums + lane, kept, mask=(lane < 4 * n_clusters) & (kept != 0), sem="relaxed")
    return n_changed


@triton.jit
def _end_step(centers, numbers, sums, stand, n_clusters, max_iter, CLUSTERS: tl.constexpr):
    """Move the centers of a run by the sums of all programs; a run whose colors had to be labeled rests."""
    totals = centers + 6 * n_clusters
    changes = _take(sums, totals, n_clusters, 4 * CLUSTERS)
    ending = stand - UNLABELED
    if stand == GOING:
        iteration = tl.load(numbers + ITERATION) + 1
        ending = move_run(
            totals,
            centers,
            centers + 3 * n_clusters,
            tl.load(numbers + LIMIT),
            changes,
            iteration >= max_iter,
            n_clusters,
            tl.load(numbers + RELAXATION),
            tl.load(numbers + MOMENTUM),
            3,
            CLUSTERS,
            "grid",
        )
        tl.debug_barrier()  # all threads have read what thread 0 writes now
        if ending != EMPTY:
            tl.store(numbers + ITERATION, iteration)
        ending += tl.where((ending == CLOSE) | (ending == OUT_OF_TIME), UNLABELED, 0)
    tl.store(numbers + STAND, ending)
    tl.store(numbers + CHANGED, changes)


@triton.jit
def _write_table(table, centers, clusters, n_clusters):
    """Write some centers as integers, and what makes up their scores."""
    inside = clusters < n_clusters
    own = table + clusters
    square = tl.zeros(clusters.shape, tl.int64)
    for column in tl.static_range(3):
        steps = (tl.load(centers + 3 * clusters + column, mask=inside, other=0) * 1024).to(tl.int32)
        tl.store(own + column * n_clusters, steps, mask=inside)
        square += steps.to(tl.int64) * steps
    tl.store(own + 3 * n_clusters, (square >> 11).to(tl.int32), mask=inside)
    tl.store(own + 4 * n_clusters, (square & 2047).to(tl.int32), mask=inside)


@triton.jit
def _list_near(near, table, red, green, blue, mask, n_clusters, CLUSTERS: tl.constexpr):
    """List the centers that are not farther from the box around a tile than all of it is from another one."""
    low_red, high_red = _bounds(red, mask)
    low_green, high_green = _bounds(green, mask)
    low_blue, high_blue = _bounds(blue, mask)
    farthest = tl.full([], float("inf"), tl.float32)
    for start in range(0, n_clusters, CLUSTERS):
        clusters = start + tl.arange(0, CLUSTERS)
        inside = clusters < n_clusters
        _, red_far = _apart(table + clusters, inside, low_red, high_red)
        _, green_far = _apart(table + n_clusters + clusters, inside, low_green, high_green)
        _, blue_far = _apart(table + 2 * n_clusters + clusters, inside, low_blue, high_blue)
        far = tl.where(inside, red_far + green_far + blue_far, float("inf"))
        farthest = tl.minimum(farthest, tl.min(far))
    farthest *= TOO_FAR
    n_near = 0
    for start in range(0, n_clusters, CLUSTERS):
        clusters = start + tl.arange(0, CLUSTERS)
        inside = clusters < n_clusters
        red_close, _ = _apart(table + clusters, inside, low_red, high_red)
        green_close, _ = _apart(table + n_clusters + clusters, inside, low_green, high_green)
        blue_close, _ = _apart(table + 2 * n_clusters + clusters, inside, low_blue, high_blue)
        stays = (inside & (red_close + green_close + blue_close <= farthest)).to(tl.int32)
        tl.store(near + (n_near + tl.cumsum(stays) - 1), clusters, mask=stays > 0)
        n_near += tl.sum(stays)
    return n_near


@triton.jit
def _bounds(levels, mask):
    return tl.min(tl.where(mask, levels, 127)).to(tl.float32), tl.max(tl.where(mask, levels, -128)).to(tl.float32)


@triton.jit
def _apart(steps, inside, low, high):
    """The squared distances of some centers to a box in one column: to its nearest side, and to its farthest."""
    levels = tl.load(steps, mask=inside, other=0).to(tl.float32) / 1024
    close = tl.maximum(tl.maximum(low - levels, levels - high), 0.0)
    far = tl.maximum(levels - low, high - levels)
    return close * close, far * far


@triton.jit
def _take(sums, totals, n_clusters, SUMS: tl.constexpr):
    """Write the sums of all programs as totals, set them to 0 for the next launch, and tell how many labels changed."""
    changes = tl.load(sums + 4 * n_clusters, cache_modifier=".cg")  # not what another launch has left nearer by
    for start in range(0, 4 * n_clusters, SUMS):
        places = start + tl.arange(0, SUMS)
        mask = places < 4 * n_clusters
        found = tl.load(sums + places, mask=mask, other=0, cache_modifier=".cg")
        tl.store(totals + places, found.to(tl.float64), mask=mask)
        tl.store(sums + places, tl.zeros([SUMS], tl.int64), mask=mask)
    tl.debug_barrier()  # totals are written, and all threads have read how many changed
    tl.store(sums + 4 * n_clusters, 0)
    tl.store(sums + 4 * n_clusters + 1, 0)
    return changes
