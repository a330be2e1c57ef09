"""All cycles of breathing k-means as one Triton kernel, by the rules of `cpu_grid_kernels` and of `breathing.breathe`.

Programs share out the points, and meet between two passes over them. In a pass each adds what it finds to sums that all
share, of integers; after it all of them work out the same: which centers move where, which clusters are split, whether
the error fell. So there is nothing to hand out but which clusters were merged, which one program finds alone.
Shared sums are those of one cycle; those of the next one are set to 0 meanwhile.
"""

import triton
import triton.language as tl

from gpuquant.ops.cuda_meeting import meet
from gpuquant.ops.lloyd.cuda_grid_merging import find_partners, merge
from gpuquant.ops.lloyd.cuda_grid_steps import (
    TOP,
    add_weighted,
    assign,
    draw_clusters,
    errors_of,
    levels_at,
    mean_of,
    move,
    rounded,
    take,
)

HEAD = 16  # numbers before the rows of shared sums: how many programs have arrived, and limits of levels
CYCLE_ROWS = 28  # of shared sums: of four passes, five each, then errors, spreads, and sums of upper halves
SHARED_ROWS = 2 * CYCLE_ROWS + 8  # of two cycles, and what is known of merged clusters
OWN_ROWS = 16  # of each program
ARRIVED, LIMITS, ROWS = tl.constexpr(0), tl.constexpr(8), tl.constexpr(HEAD)
CYCLE = tl.constexpr(CYCLE_ROWS)
PASS = tl.constexpr(5)  # rows: sums of clusters, and behind them how many labels changed
ERRORS, SPREADS, UPPER = tl.constexpr(20), tl.constexpr(21), tl.constexpr(24)


@triton.jit(do_not_specialize=["n_points", "n_clusters", "n_cycles", "n_uniforms"])
def breathe_kernel(
    points,  # [N, 3] uint8
    weights,  # [N] int64
    given,  # [3 K + n_cycles + n_uniforms] float64: centers in steps, how many to add in each cycle, uniform numbers
    shared,  # [HEAD + SHARED_ROWS * LANES] int64, all 0
    own,  # [programs, OWN_ROWS, LANES] int64
    kept,  # [3, N] int32: of the best state and of another, squared distances, then labels as int16
    found,  # [3 K + 2] float64: centers in steps, the error, and how many uniform numbers were used, -1 if too few
    n_points,
    n_clusters,
    n_cycles,
    n_uniforms,
    TILE: tl.constexpr,
    LANES: tl.constexpr,
    OWN_ROWS: tl.constexpr,
):
    """Settle the centers, then split and merge clusters, cycle by cycle, and keep what lowers the error."""
    lane = tl.arange(0, LANES)
    sums = own + tl.program_id(0).to(tl.int64) * (OWN_ROWS * LANES)
    centers = (sums + 9 * LANES).to(tl.pointer_type(tl.int32))
    labels = (kept + 2 * n_points).to(tl.pointer_type(tl.int16))
    n_met = tl.zeros([], tl.int32)
    n_met = _begin(points, weights, labels, kept, given, sums, centers, shared, n_met, n_clusters, n_points, lane,
                   TILE, LANES)  # fmt: skip
    best_errors = errors_of(centers, sums, shared + ROWS + ERRORS * LANES, lane, LANES)
    best = tl.zeros([], tl.int32)
    used = tl.zeros([], tl.int32)
    cycle = tl.zeros([], tl.int32)
    while cycle < n_cycles:
        most = tl.load(given + 3 * n_clusters + cycle).to(tl.int32)
        n_added = tl.minimum(most, tl.sum((best_errors > 0).to(tl.int32)))
        if n_added > 0:
            used = draw_clusters(
                best_errors,
                n_added,
                given + 3 * n_clusters + n_cycles,
                used,
                n_uniforms,
                (sums + 8 * LANES).to(tl.pointer_type(tl.float64)),
                centers + 8 * LANES,
                centers + 9 * LANES,
                lane,
                LANES,
            )
        if (n_added > 0) & (used >= 0):
            errors, n_met = _cycle(
                points, weights, labels, kept, sums, centers, shared, n_met, best, (cycle + 1) % 2, n_added,
                n_clusters, n_points, lane, TILE, LANES,
            )  # fmt: skip
            better = tl.sum(errors) < tl.sum(best_errors)
            best_errors = tl.where(better, errors, best_errors)
            best = tl.where(better, 1 - best, best)
            cycle += 1
        else:
            cycle = cycle * 0 + n_cycles
    if tl.program_id(0) == 0:
        for column in tl.static_range(3):
            steps = tl.load(centers + (best * 4 + column) * LANES + lane).to(tl.float64)
            tl.store(found + 3 * lane + column, steps, mask=lane < n_clusters)
        tl.store(found + 3 * n_clusters, tl.sum(best_errors).to(tl.float64))
        tl.store(found + 3 * n_clusters + 1, used.to(tl.float64))


@triton.jit
def _begin(
    points, weights, labels, apart, given, sums, centers, shared, n_met, n_clusters, n_points, lane,
    TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Settle the given centers; find how far the points go."""
    inside = lane < n_clusters
    square = tl.zeros([LANES], tl.int32)
    for column in tl.static_range(3):
        steps = tl.load(given + 3 * lane + column, mask=inside, other=0).to(tl.int32)
        tl.store(centers + column * LANES + lane, steps)
        square += steps * steps
    tl.store(centers + 3 * LANES + lane, square)
    for row in tl.static_range(4):
        tl.store(sums + row * LANES + lane, tl.zeros([LANES], tl.int64))
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        tl.store(labels + offsets, tl.full([TILE], -1, tl.int16), mask=offsets < n_points)
        red, green, blue = levels_at(points, offsets, n_points)
        for column in tl.static_range(3):
            levels = red if column == 0 else green if column == 1 else blue
            tl.atomic_max(shared + LIMITS + column, -(tl.min(levels) - TOP).to(tl.int64), sem="relaxed")
            tl.atomic_max(shared + LIMITS + 3 + column, tl.max(levels).to(tl.int64), sem="relaxed")
    tl.debug_barrier()
    rows = shared + ROWS
    near = centers + 11 * LANES
    assign(points, weights, labels, apart, centers, near, rows, 0, n_clusters, n_points, lane, TILE, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))
    take(sums, rows, lane, LANES)
    return _settle(points, weights, labels, apart, sums, centers, near, shared, rows + PASS * LANES,
                   rows + ERRORS * LANES, n_met, n_clusters, n_points, lane, TILE, LANES)  # fmt: skip


@triton.jit
def _settle(
    points, weights, labels, apart, sums, centers, near, shared, found, errors, n_met, n_clusters, n_points, lane,
    TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Move centers and label points, twice or until no label changes; then add up the errors."""
    move(centers, sums, shared + LIMITS, n_clusters, lane, LANES)
    assign(points, weights, labels, apart, centers, near, found, 0, n_clusters, n_points, lane, TILE, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))
    take(sums, found, lane, LANES)
    again = found + PASS * LANES
    if tl.load(found + 4 * LANES, cache_modifier=".cg") > 0:
        move(centers, sums, shared + LIMITS, n_clusters, lane, LANES)
        assign(points, weights, labels, apart, centers, near, again, 0, n_clusters, n_points, lane, TILE, LANES)
        tl.debug_barrier()  # all threads read what all have written
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(labels + offsets, mask=inside, other=0).to(tl.int32)
        distance = tl.load(apart + offsets, mask=inside, other=0)
        weight = tl.load(weights + offsets, mask=inside, other=0)
        tl.atomic_add(errors + label, weight * distance, mask=inside, sem="relaxed")
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))
    take(sums, again, lane, LANES)
    return n_met


@triton.jit
def _cycle(
    points, weights, labels, apart, sums, centers, shared, n_met, best, parity, n_added, n_clusters, n_points, lane,
    TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Split clusters of the best state, merge as many pairs, and settle after each; return the errors.

    What is found stands beside the best state.
    """
    ranks, chosen, places, near = centers + 9 * LANES, centers + 10 * LANES, centers + 12 * LANES, centers + 11 * LANES
    best_labels, best_apart, best_centers = labels + best * n_points, apart + best * n_points, centers + best * 4 * LANES
    best_sums = sums + best * 4 * LANES
    labels += (1 - best) * n_points
    apart += (1 - best) * n_points
    sums += (1 - best) * 4 * LANES
    longest = centers + 8 * LANES
    centers += (1 - best) * 4 * LANES
    rows = shared + ROWS + parity * (CYCLE * LANES)
    n_all = n_clusters + n_added
    for row in tl.static_range(4):
        place = row * LANES + lane
        tl.store(centers + place, tl.load(best_centers + place))
        tl.store(sums + place, tl.where(lane < n_clusters, tl.load(best_sums + place), 0))
    rank = tl.load(ranks + lane)
    tl.store(chosen + rank, lane, mask=rank >= 0)

    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(best_labels + offsets, mask=inside, other=0).to(tl.int32)
        tl.store(labels + offsets, label.to(tl.int16), mask=inside)
        tl.store(apart + offsets, tl.load(best_apart + offsets, mask=inside, other=0), mask=inside)
        rank = tl.load(ranks + label)
        splits = inside & (rank >= 0)
        weight = tl.load(weights + offsets, mask=splits, other=0)
        red, green, blue = levels_at(points, offsets, n_points)
        for column in tl.static_range(3):
            levels = red if column == 0 else green if column == 1 else blue
            off = (levels - tl.load(best_centers + column * LANES + label)).to(tl.int64)
            tl.atomic_add(rows + (SPREADS + column) * LANES + rank, weight * off * off, mask=splits, sem="relaxed")
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))

    across = tl.load(rows + SPREADS * LANES + lane, cache_modifier=".cg")
    next_one = tl.load(rows + (SPREADS + 1) * LANES + lane, cache_modifier=".cg")
    last_one = tl.load(rows + (SPREADS + 2) * LANES + lane, cache_modifier=".cg")
    side = tl.where(next_one > across, 1, 0)
    side = tl.where(last_one > tl.maximum(across, next_one), 2, side)
    tl.store(longest + lane, side)
    tl.debug_barrier()
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(best_labels + offsets, mask=inside, other=0).to(tl.int32)
        rank = tl.load(ranks + label)
        side = tl.load(longest + rank, mask=rank >= 0, other=0)
        red, green, blue = levels_at(points, offsets, n_points)
        level = tl.where(side == 0, red, tl.where(side == 1, green, blue))
        upper = inside & (rank >= 0) & (level > tl.load(best_centers + side * LANES + label))
        weight = tl.load(weights + offsets, mask=upper, other=0)
        add_weighted(rows + UPPER * LANES, rank, red, green, blue, weight, upper, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))

    is_new = (lane >= n_clusters) & (lane < n_all)
    half = rows + UPPER * LANES + lane - n_clusters
    weight = tl.load(half + 3 * LANES, mask=is_new, other=0, cache_modifier=".cg")
    parent = tl.load(chosen + lane - n_clusters, mask=is_new, other=0)
    square = tl.zeros([LANES], tl.int32)
    for column in tl.static_range(3):
        total = tl.load(half + column * LANES, mask=is_new, other=0, cache_modifier=".cg")
        level = tl.load(best_centers + column * LANES + parent).to(tl.float64)
        steps = rounded(mean_of(total, weight, level)).to(tl.int32)
        tl.store(centers + column * LANES + lane, steps, mask=is_new)
        square += steps * steps
    tl.store(centers + 3 * LANES + lane, square, mask=is_new)
    tl.debug_barrier()
    assign(points, weights, labels, apart, centers, near, rows, n_clusters, n_all, n_points, lane, TILE, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))

    take(sums, rows, lane, LANES)
    move(centers, sums, shared + LIMITS, n_all, lane, LANES)
    for row in range(tl.program_id(0), CYCLE, tl.num_programs(0)):
        tl.store(shared + ROWS + ((1 - parity) * CYCLE + row) * LANES + lane, tl.zeros([LANES], tl.int64))
    found = rows + PASS * LANES
    assign(points, weights, labels, apart, centers, near, found, 0, n_all, n_points, lane, TILE, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))

    take(sums, found, lane, LANES)
    merged_sums = shared + ROWS + 2 * CYCLE * LANES
    costs = (merged_sums + 4 * LANES).to(tl.pointer_type(tl.float64))
    merged_centers = (merged_sums + 5 * LANES).to(tl.pointer_type(tl.int32))
    partners = merged_centers + 4 * LANES
    find_partners(sums, costs, partners, n_all, lane, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))
    if tl.program_id(0) == 0:
        merge(sums, centers, costs, partners, places, merged_sums, merged_centers, n_all, n_clusters, lane, LANES)
    n_met += 1
    meet(shared + ARRIVED, n_met * tl.num_programs(0))

    for row in tl.static_range(4):
        place = row * LANES + lane
        total = tl.load(merged_sums + place, cache_modifier=".cg")
        tl.store(sums + place, tl.where(lane < n_clusters, total, 0))
        steps = tl.load(merged_centers + place, cache_modifier=".cg")
        if row < 3:
            tl.store(centers + place, steps)
        else:
            tl.store(places + lane, steps)
    tl.debug_barrier()
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(labels + offsets, mask=inside, other=0).to(tl.int32)
        tl.store(labels + offsets, tl.load(places + label).to(tl.int16), mask=inside)
    n_met = _settle(points, weights, labels, apart, sums, centers, near, shared, rows + 2 * PASS * LANES,
                    rows + ERRORS * LANES, n_met, n_clusters, n_points, lane, TILE, LANES)  # fmt: skip
    return errors_of(centers, sums, rows + ERRORS * LANES, lane, LANES), n_met
