"""All cycles of breathing k-means as one Triton kernel, by the rules of `cpu_grid` and of `breathing.breathe`.

Programs share out the points, and meet between two passes over them. In a pass each adds what it finds to sums that all
share, of integers; after it all of them work out the same: which centers move where, which clusters are split, whether
the error fell. So there is nothing to hand out but which clusters were merged, which one program finds alone.
Shared sums are those of one cycle; those of the next one are set to 0 meanwhile.
"""

import triton
import triton.language as tl

from gpuquant.ops.cuda_meeting import meet
from gpuquant.ops.lloyd.cuda_grid_merging import find_partners, merge, take_merged
from gpuquant.ops.lloyd.cuda_grid_splitting import (
    add_upper,
    copy_and_spread,
    copy_state,
    draw_clusters,
    find_longest,
    place_halves,
)
from gpuquant.ops.lloyd.cuda_grid_steps import TOP, add_errors, assign, errors_of, levels_at, move, take

HEAD = 16  # numbers before the rows of shared sums: how many programs have arrived, and limits of levels
CYCLE_ROWS = 28  # of shared sums: of four passes, five each, then errors, spreads, and sums of upper halves
SHARED_ROWS = 2 * CYCLE_ROWS + 8  # of two cycles, and what is known of merged clusters
RESULTS_FIRST = 2  # numbers before the centers: the error, and how many uniform numbers were used, -1 if too few
OWN_ROWS = 20  # of each program: 13 of 64 bits, and 13 of int32, which take seven
ARRIVED, LIMITS, ROWS = tl.constexpr(0), tl.constexpr(8), tl.constexpr(HEAD)
RESULTS = tl.constexpr(RESULTS_FIRST)
CYCLE = tl.constexpr(CYCLE_ROWS)
PASS = tl.constexpr(5)  # rows: sums of clusters, and behind them how many labels changed
ERRORS, SPREADS, UPPER = tl.constexpr(20), tl.constexpr(21), tl.constexpr(24)
COSTS, MERGED_CENTERS = tl.constexpr(4), tl.constexpr(5)  # rows behind the sums of merged clusters
PARTNERS = tl.constexpr(4)  # row of int32 behind the centers of merged clusters, and their places
STATE = tl.constexpr(4)  # rows of sums, and of centers, of each of the two states
RUNNING, MEANS, INTS = tl.constexpr(8), tl.constexpr(9), tl.constexpr(13)  # rows of a program behind its sums
RANKS, SCRATCH, NEAR, PLACES = tl.constexpr(8), tl.constexpr(10), tl.constexpr(11), tl.constexpr(12)  # of its int32


@triton.jit(
    do_not_specialize=["n_points", "n_clusters", "n_cycles", "n_uniforms"],
    do_not_specialize_on_alignment=["points", "weights"],
)
def breathe_kernel(
    points,  # [N, 3] uint8
    weights,  # [N] int64
    numbers,  # [RESULTS + 3 K + n_cycles + n_uniforms] float64: results, centers in steps, how many to add, uniform
    shared,  # [HEAD + SHARED_ROWS * LANES] int64, all 0
    own,  # [programs * OWN_ROWS * LANES + 3 N / 2] int64: of each program, then the points' distances and labels
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
    n_programs = tl.num_programs(0)
    own_sums = own + tl.program_id(0).to(tl.int64) * (OWN_ROWS * LANES)  # of both states
    running = (own_sums + RUNNING * LANES).to(tl.pointer_type(tl.float64))
    means = (own_sums + MEANS * LANES).to(tl.pointer_type(tl.float64))
    own_centers = (own_sums + INTS * LANES).to(tl.pointer_type(tl.int32))  # of both states
    ranks, scratch = own_centers + RANKS * LANES, own_centers + SCRATCH * LANES
    near, places = own_centers + NEAR * LANES, own_centers + PLACES * LANES
    kept = (own + n_programs.to(tl.int64) * (OWN_ROWS * LANES)).to(tl.pointer_type(tl.int32))  # of both states
    all_labels = (kept + 2 * n_points).to(tl.pointer_type(tl.int16))
    limits, arrived = shared + LIMITS, shared + ARRIVED
    merged_sums = shared + ROWS + 2 * CYCLE * LANES
    costs = (merged_sums + COSTS * LANES).to(tl.pointer_type(tl.float64))
    merged_centers = (merged_sums + MERGED_CENTERS * LANES).to(tl.pointer_type(tl.int32))
    partners = merged_centers + PARTNERS * LANES
    given = numbers + RESULTS
    n_to_add = given + 3 * n_clusters
    uniforms = n_to_add + n_cycles
    _begin(points, all_labels, given, own_sums, own_centers, limits, n_clusters, n_points, lane, TILE, LANES)
    best = tl.full([], 1, tl.int32)  # the given centers are settled as the other state, which becomes the best one
    best_errors = tl.zeros([LANES], tl.int64)
    n_met = tl.zeros([], tl.int32)
    used = tl.zeros([], tl.int32)
    cycle = tl.full([], -1, tl.int32)
    while cycle < n_cycles:
        rows = shared + ROWS + ((cycle + 1) % 2) * (CYCLE * LANES)
        labels, apart = all_labels + (1 - best) * n_points, kept + (1 - best) * n_points
        centers, sums = own_centers + (1 - best) * STATE * LANES, own_sums + (1 - best) * STATE * LANES
        n_added = tl.zeros([], tl.int32)
        if cycle >= 0:
            most = tl.load(n_to_add + cycle).to(tl.int32)
            n_added = tl.minimum(most, tl.sum((best_errors > 0).to(tl.int32)))
            used = draw_clusters(best_errors, n_added, uniforms, used, n_uniforms, running, scratch, ranks, lane, LANES)
        if (cycle < 0) | ((n_added > 0) & (used >= 0)):
            if n_added > 0:
                best_centers = own_centers + best * STATE * LANES
                best_labels = all_labels + best * n_points
                copy_state(best_centers, centers, own_sums + best * STATE * LANES, sums, n_clusters, lane, LANES)
                copy_and_spread(points, weights, best_labels, labels, kept + best * n_points, apart, best_centers,
                                ranks, rows + SPREADS * LANES, n_points, TILE, LANES)  # fmt: skip
                n_met = meet(arrived, n_met)
                find_longest(rows + SPREADS * LANES, scratch, lane, LANES)
                add_upper(points, weights, best_labels, best_centers, ranks, scratch, rows + UPPER * LANES, n_points,
                          TILE, LANES)  # fmt: skip
                n_met = meet(arrived, n_met)
                place_halves(rows + UPPER * LANES, centers, best_centers, ranks + LANES, n_clusters, n_added, lane,
                             LANES)  # fmt: skip
            n_centers = n_clusters + n_added
            goes_on = n_added >= 0
            for turn in range(4):  # points join the added clusters, and others; then, some merged, others, two times
                if (turn == 2) & (n_added > 0):
                    find_partners(sums, means, costs, partners, n_centers, lane, LANES)
                    n_met = meet(arrived, n_met)
                    if tl.program_id(0) == 0:
                        merge(sums, means, centers, costs, partners, places, merged_sums, merged_centers, n_centers,
                              n_clusters, lane, LANES)  # fmt: skip
                    n_met = meet(arrived, n_met)
                    take_merged(labels, sums, centers, places, merged_sums, merged_centers, n_clusters, n_points, lane,
                                TILE, LANES)  # fmt: skip
                    n_centers = n_clusters
                found = rows + turn * (PASS * LANES)
                if goes_on & ((turn != 1) | (n_added > 0)):
                    first = tl.where((turn == 0) & (n_added > 0), n_clusters, 0)
                    if turn > 0:
                        move(centers, sums, limits, n_centers, lane, LANES)
                    assign(points, weights, labels, apart, centers, near, found, first, n_centers, n_points, lane,
                           TILE, LANES)  # fmt: skip
                if turn == 1:
                    for row in range(tl.program_id(0), CYCLE, n_programs):
                        tl.store(shared + ROWS + ((cycle + 2) % 2 * CYCLE + row) * LANES + lane, best_errors * 0)
                if turn == 3:
                    add_errors(weights, labels, apart, rows + ERRORS * LANES, n_points, TILE)
                n_met = meet(arrived, n_met)
                take(sums, found, lane, LANES)
                n_changed = tl.load(found + 4 * LANES, cache_modifier=".cg")
                goes_on = (turn != 2) | (n_changed > 0)
            errors = errors_of(centers, sums, rows + ERRORS * LANES, lane, LANES)
            better = (cycle < 0) | (tl.sum(errors) < tl.sum(best_errors))
            best_errors = tl.where(better, errors, best_errors)
            best = tl.where(better, 1 - best, best)
            cycle += 1
        else:
            cycle = cycle * 0 + n_cycles  # a variable of a loop keeps its type this way
    if tl.program_id(0) == 0:
        for column in tl.static_range(3):
            steps = tl.load(own_centers + (best * STATE + column) * LANES + lane).to(tl.float64)
            tl.store(given + 3 * lane + column, steps, mask=lane < n_clusters)
        tl.store(numbers, tl.sum(best_errors).to(tl.float64))
        tl.store(numbers + 1, used.to(tl.float64))


@triton.jit
def _begin(
    points, labels, given, sums, centers, limits, n_clusters, n_points, lane, TILE: tl.constexpr, LANES: tl.constexpr
):
    """Write the given centers, and points without a label; find how far the points go."""
    square = tl.zeros([LANES], tl.int32)
    for column in tl.static_range(3):
        steps = tl.load(given + 3 * lane + column, mask=lane < n_clusters, other=0).to(tl.int32)
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
            tl.atomic_max(limits + column, -(tl.min(levels) - TOP).to(tl.int64), sem="relaxed")
            tl.atomic_max(limits + 3 + column, tl.max(levels).to(tl.int64), sem="relaxed")
    tl.debug_barrier()
