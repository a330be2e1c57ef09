"""Splitting of clusters in breathing k-means as Triton code: those with large errors, across their longest side."""

import triton
import triton.language as tl

from gpuquant.ops.lloyd.cuda_grid_steps import LAST, add_weighted, levels_at, mean_of, rounded


@triton.jit
def draw_clusters(errors, number, uniforms, used, n_uniforms, running, first, ranks, lane, LANES: tl.constexpr):
    """Draw clusters by their errors as `clusters_to_split` does; count the uniform numbers used, or -1: too few.

    Written are the ranks of clusters, -1 of those that are not drawn, and behind them the clusters in that order.
    """
    tl.store(ranks + lane, tl.full([LANES], -1, tl.int32))
    left = errors
    n_found = tl.zeros([], tl.int32)
    while n_found < number:
        n_wanted = number - n_found
        drawn = lane < n_wanted
        if used + n_wanted > n_uniforms:
            used = used * 0 - 1  # a variable of a loop keeps its type this way
            n_found = n_found * 0 + number
        else:
            tl.store(running + lane, tl.cumsum(left, axis=0).to(tl.float64))
            tl.store(first + lane, tl.full([LANES], LAST, tl.int32))
            target = tl.load(uniforms + used + lane, mask=drawn, other=0) * tl.sum(left).to(tl.float64)
            tl.debug_barrier()
            place = tl.zeros([LANES], tl.int32)
            half = used * 0 + LANES // 2
            while half > 0:  # how many running sums are no more than the target
                passed = tl.load(running + place + half - 1) <= target
                place = tl.where(passed, place + half, place)
                half = half // 2
            tl.atomic_min(first + place, lane, mask=drawn, sem="relaxed")
            tl.debug_barrier()
            is_first = drawn & (tl.load(first + place, cache_modifier=".cg") == lane)
            rank = n_found + tl.cumsum(is_first.to(tl.int32), axis=0) - 1
            tl.store(ranks + place, rank, mask=is_first)
            tl.store(ranks + LANES + rank, place, mask=is_first)
            tl.debug_barrier()
            left = tl.where(tl.load(ranks + lane) >= 0, 0, left)
            n_found += tl.sum(is_first.to(tl.int32))
            used += n_wanted
    return used


@triton.jit
def copy_state(best_centers, centers, best_sums, sums, n_clusters, lane, LANES: tl.constexpr):
    """Copy centers and sums of clusters; those that will be added have nothing."""
    for row in tl.static_range(4):
        place = row * LANES + lane
        tl.store(centers + place, tl.load(best_centers + place))
        tl.store(sums + place, tl.where(lane < n_clusters, tl.load(best_sums + place), 0))


@triton.jit
def copy_and_spread(
    points, weights, best_labels, labels, best_apart, apart, centers, ranks, spreads, n_points,
    TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Copy what is known of the points of a program, and add up how far clusters to split extend in each column."""
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
            off = (levels - tl.load(centers + column * LANES + label)).to(tl.int64)
            tl.atomic_add(spreads + column * LANES + rank, weight * off * off, mask=splits, sem="relaxed")


@triton.jit
def find_longest(spreads, longest, lane, LANES: tl.constexpr):
    """Write across which column each cluster is split, the first one on a tie."""
    red = tl.load(spreads + lane, cache_modifier=".cg")
    green = tl.load(spreads + LANES + lane, cache_modifier=".cg")
    blue = tl.load(spreads + 2 * LANES + lane, cache_modifier=".cg")
    column = tl.where(green > red, 1, 0)
    tl.store(longest + lane, tl.where(blue > tl.maximum(red, green), 2, column))
    tl.debug_barrier()


@triton.jit
def add_upper(
    points, weights, labels, centers, ranks, longest, upper, n_points, TILE: tl.constexpr, LANES: tl.constexpr
):
    """Add up the points of a program that lie above the center of their cluster across its longest side."""
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(labels + offsets, mask=inside, other=0).to(tl.int32)
        rank = tl.load(ranks + label)
        column = tl.load(longest + rank, mask=rank >= 0, other=0)
        red, green, blue = levels_at(points, offsets, n_points)
        level = tl.where(column == 0, red, tl.where(column == 1, green, blue))
        joins = inside & (rank >= 0) & (level > tl.load(centers + column * LANES + label))
        weight = tl.load(weights + offsets, mask=joins, other=0)
        add_weighted(upper, rank, red, green, blue, weight, joins, LANES)


@triton.jit
def place_halves(upper, centers, best_centers, chosen, n_clusters, n_added, lane, LANES: tl.constexpr):
    """Write the added centers behind the others: the means of upper halves, or the old center where that is empty."""
    is_new = (lane >= n_clusters) & (lane < n_clusters + n_added)
    half = lane - n_clusters
    weight = tl.load(upper + 3 * LANES + half, mask=is_new, other=0, cache_modifier=".cg")
    cluster = tl.load(chosen + half, mask=is_new, other=0)
    square = tl.zeros([LANES], tl.int32)
    for column in tl.static_range(3):
        total = tl.load(upper + column * LANES + half, mask=is_new, other=0, cache_modifier=".cg")
        level = tl.load(best_centers + column * LANES + cluster).to(tl.float64)
        steps = rounded(mean_of(total, weight, level)).to(tl.int32)
        tl.store(centers + column * LANES + lane, steps, mask=is_new)
        square += steps * steps
    tl.store(centers + 3 * LANES + lane, square, mask=is_new)
    tl.debug_barrier()
