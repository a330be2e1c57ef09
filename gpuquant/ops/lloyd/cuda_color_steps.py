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

TILE = 256  # colors that a program works on at a time, neighbors: their box is small
NEAR = 128  # clusters that are looked at together, whether they can be the nearest ones
FEW = 16  # clusters whose sums a program keeps by itself, and of which it looks at all together
CLUSTERS = 32  # that are moved together
PER_PROCESSOR = 10  # programs of a warp that work side by side: 192 of 65,536 registers for each of 32 threads
LABELING = 8  # is added to the status of a run whose colors have to be labeled before it rests
OPTIONS = {
    "num_warps": 1,
    "maxnreg": 192,
    "enable_fp_fusion": False,
}  # with 168 one chip spills; centers move as on the host


def constants_for(n_clusters: int) -> dict[str, int]:
    """Choose the constants of the kernel."""
    if n_clusters <= FEW:
        return {"TILE": TILE, "NEAR": 32, "CLUSTERS": FEW, "LANES": 4 * FEW}
    return {"TILE": TILE, "NEAR": NEAR, "CLUSTERS": CLUSTERS, "LANES": 4}


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
NOWHERE = tl.constexpr(1 << 24)  # steps from the origin: where there is no center
LIGHT = tl.constexpr(0x40E00000)  # how 2^15 begins as float64: below it sums of a tile fit 32 bits, times levels, too
LAST = tl.constexpr(2147483647)


@triton.jit(do_not_specialize=["n_colors", "n_clusters", "n_runs", "max_iter", "n_steps"])
def color_step_kernel(
    colors,  # [B, M, 3] uint8
    weights,  # [B, M] float64, whole numbers
    labels,  # [P, M] int16
    state,  # [P, 10 K + 6] float64: of each run centers [K, 3], moves [K, 3], totals [K, 4], and each `Number`
    own,  # int64, all 0 at first: room for the kernel
    n_colors,
    n_clusters,
    n_runs,
    max_iter,
    n_steps,
    TILE: tl.constexpr,
    NEAR: tl.constexpr,
    CLUSTERS: tl.constexpr,
    LANES: tl.constexpr,
):
    """Label the colors of all runs that go on, sum up their clusters, and move their centers.

    The room is that of a table for each program, [P, programs, 6, K rounded up to a multiple of NEAR] int32, and then
    of sums [P, 4 K + 2], which are 0 before and after: totals, labels that changed, and programs that have ended.
    LANES are 4 for each cluster if there are few: then every program keeps its sums to the end. There is more than one
    step only where a run has one program.
    """
    run = tl.program_id(1).to(tl.int64)
    problem = run // n_runs
    colors += problem * n_colors * 3
    weights += problem * n_colors
    labels += run * n_colors
    centers = state + run * (10 * n_clusters + 6)
    numbers = centers + 10 * n_clusters
    width = tl.cdiv(n_clusters, NEAR) * NEAR
    table = own.to(tl.pointer_type(tl.int32)) + (run * tl.num_programs(0) + tl.program_id(0)) * (6 * width)
    n_tables = tl.num_programs(1).to(tl.int64) * tl.num_programs(0)
    sums = own + n_tables * (3 * width) + run * (4 * n_clusters + 2)
    left = n_steps
    while left > 0:
        left -= 1
        stand = tl.load(numbers + STAND).to(tl.int32)
        if (stand == GOING) | (stand >= UNLABELED):
            n_changed = _label(
                colors, weights, labels, centers, sums, table, width, n_colors, n_clusters, TILE, NEAR, LANES
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
    colors, weights, labels, centers, sums, table, width, n_colors, n_clusters,
    TILE: tl.constexpr, NEAR: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Label the colors of a program, add up their clusters, and tell how many labels changed."""
    near = table + 5 * width
    for start in range(0, width, NEAR):
        _write_table(table, width, centers, start + tl.arange(0, NEAR), n_clusters)
    lane = tl.arange(0, LANES)
    kept = tl.zeros([LANES], tl.int64)
    n_changed = tl.zeros([], tl.int64)
    for start in range(tl.program_id(0).to(tl.int64) * TILE, n_colors, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        mask = offsets < n_colors
        place = tl.minimum(offsets, n_colors - 1) * 3  # beyond the end the last color, of no weight
        red = tl.load(colors + place).to(tl.int32) - 128
        green = tl.load(colors + place + 1).to(tl.int32) - 128
        blue = tl.load(colors + place + 2).to(tl.int32) - 128
        weight = tl.load(weights + offsets, mask=mask, other=0)
        tl.debug_barrier()  # the table is written, and nobody reads the list of the tile before
        n_near = _list_near(near, table, width, red, green, blue, NEAR)
        tl.debug_barrier()
        lowest = tl.full([TILE], LAST, tl.int32)
        lower = tl.full([TILE], LAST, tl.int32)
        nearest = tl.zeros([TILE], tl.int32)
        for one in range(n_near):
            k = tl.load(near + one)
            own = table + k
            score = tl.load(own + 3 * width) + red * tl.load(own)
            score += green * tl.load(own + width)
            score += blue * tl.load(own + 2 * width)
            rest = tl.load(own + 4 * width)
            nearer = (score < lowest) | ((score == lowest) & (rest < lower))
            lowest = tl.where(nearer, score, lowest)
            lower = tl.where(nearer, rest, lower)
            nearest = tl.where(nearer, k, nearest)
        before = tl.load(labels + offsets, mask=mask, other=0).to(tl.int32)
        tl.store(labels + offsets, nearest.to(tl.int16), mask=mask)
        begins = (weight.to(tl.int64, bitcast=True) >> 32).to(tl.int32)  # compared as the weights are: none is negative
        n_changed += tl.sum(((nearest != before) & (begins > 0)).to(tl.int32))
        left = tl.where(begins > 0, nearest, LAST)
        if tl.max(begins) < LIGHT:
            kept = _add_up(sums, kept, lane, left, weight.to(tl.int32), red, green, blue, LANES)
        else:
            kept = _add_up(sums, kept, lane, left, weight.to(tl.int64), red, green, blue, LANES)
    if LANES > 4:
        tl.atomic_add(sums + lane, kept, mask=(lane < 4 * n_clusters) & (kept != 0), sem="relaxed")
    return n_changed


@triton.jit
def _add_up(sums, kept, lane, left, weight, red, green, blue, LANES: tl.constexpr):
    """Add up the weights of a tile, and its levels times these, for each cluster that has some of it."""
    red *= weight
    green *= weight
    blue *= weight
    k = tl.min(left)
    while k < LAST:
        member = left == k
        found = tl.where(lane % 4 == 0, tl.sum(tl.where(member, red, 0)), tl.sum(tl.where(member, weight, 0)))
        found = tl.where(lane % 4 == 1, tl.sum(tl.where(member, green, 0)), found)
        found = tl.where(lane % 4 == 2, tl.sum(tl.where(member, blue, 0)), found)
        if LANES == 4:
            tl.atomic_add(sums + 4 * k + lane, found.to(tl.int64), sem="relaxed")
        else:
            kept += tl.where(lane // 4 == k, found, 0)
        left = tl.where(member, LAST, left)
        k = tl.min(left)
    return kept


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
def _write_table(table, width, centers, clusters, n_clusters):
    """Write some centers as integers below 0 and above, turned about, and what else makes up their scores."""
    inside = clusters < n_clusters
    own = table + clusters
    square = tl.zeros(clusters.shape, tl.int64)
    for column in tl.static_range(3):
        steps = (tl.load(centers + 3 * clusters + column, mask=inside, other=0) * 1024).to(tl.int32)
        tl.store(own + column * width, tl.where(inside, -steps, NOWHERE))
        square += steps.to(tl.int64) * steps
    tl.store(own + 3 * width, (square >> 11).to(tl.int32))
    tl.store(own + 4 * width, (square & 2047).to(tl.int32))


@triton.jit
def _list_near(near, table, width, red, green, blue, NEAR: tl.constexpr):
    """List the centers that are not farther from the box around a tile than all of it is from another one."""
    mid_red, half_red = _extent(red)
    mid_green, half_green = _extent(green)
    mid_blue, half_blue = _extent(blue)
    farthest = tl.full([NEAR], float("inf"), tl.float32)
    for start in range(0, width, NEAR):
        own = table + start + tl.arange(0, NEAR)
        far = _squared(_apart(own, mid_red) + half_red)
        far += _squared(_apart(own + width, mid_green) + half_green)
        far += _squared(_apart(own + 2 * width, mid_blue) + half_blue)
        farthest = tl.minimum(farthest, far)
    limit = tl.min(farthest) * TOO_FAR
    n_near = 0
    for start in range(0, width, NEAR):
        clusters = start + tl.arange(0, NEAR)
        own = table + clusters
        close = _squared(tl.maximum(_apart(own, mid_red) - half_red, 0.0))
        close += _squared(tl.maximum(_apart(own + width, mid_green) - half_green, 0.0))
        close += _squared(tl.maximum(_apart(own + 2 * width, mid_blue) - half_blue, 0.0))
        stays = (close <= limit).to(tl.int32)
        tl.store(near + (n_near + tl.cumsum(stays) - 1), clusters, mask=stays > 0)
        n_near += tl.sum(stays)
    return n_near


@triton.jit
def _extent(levels):
    """The middle of some levels, and half of what they extend over, in steps of centers."""
    low, high = tl.min(levels), tl.max(levels)
    return ((high + low) * 512).to(tl.float32), ((high - low) * 512).to(tl.float32)


@triton.jit
def _apart(steps, middle):
    """How far some centers, which the table has turned about, are from the middle of a box in one column."""
    return tl.abs(tl.load(steps).to(tl.float32) + middle)


@triton.jit
def _squared(steps):
    return steps * steps


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
