"""Merging of clusters in breathing k-means as Triton code: two by two, those by which the error rises least."""

import triton
import triton.language as tl

from gpuquant.ops.lloyd.cuda_grid_steps import LAST, as_entry, mean_of, rounded


@triton.jit
def find_partners(sums, costs, partners, n_centers, lane, LANES: tl.constexpr):
    """Find the cluster to merge each one with, of those that are a program's turn."""
    red, green, blue, weight = _sums_of(sums, lane, LANES)
    for one in range(tl.program_id(0), n_centers, tl.num_programs(0)):
        cost = _costs(sums, one, red, green, blue, weight, LANES)
        least, partner = _lowest(tl.where((lane < n_centers) & (lane != one), cost, float("inf")), lane)
        tl.store(costs + one, least)
        tl.store(partners + one, partner)


@triton.jit
def merge(
    sums,  # [4, LANES] int64: of the clusters of this program, changed
    centers,  # [3, LANES] int32, of this program
    costs,  # [LANES] float64: of all programs
    partners,  # [LANES] int32: of all programs
    places,  # [LANES] int32: of this program
    merged_sums,  # [4, LANES] int64: for all programs
    merged_centers,  # [4, LANES] int32: for all programs, and at last the places to which clusters have gone
    n_centers,
    n_kept,
    lane,
    LANES: tl.constexpr,
):
    """Merge the two clusters by which the error rises least, the first ones on a tie, until so many are left."""
    alive = lane < n_centers
    cost = tl.load(costs + lane, mask=alive, other=float("inf"), cache_modifier=".cg")
    partner = tl.load(partners + lane, mask=alive, other=0, cache_modifier=".cg")
    red, green, blue, weight = _sums_of(sums, lane, LANES)
    own_red = tl.load(centers + lane)
    own_green = tl.load(centers + LANES + lane)
    own_blue = tl.load(centers + 2 * LANES + lane)
    into = lane
    n_left = n_centers
    while n_left > n_kept:
        _, kept = _lowest(cost, lane)
        gone = tl.sum(tl.where(lane == kept, partner, 0))
        is_kept = lane == kept
        total_red = tl.load(sums + kept) + tl.load(sums + gone)
        total_green = tl.load(sums + LANES + kept) + tl.load(sums + LANES + gone)
        total_blue = tl.load(sums + 2 * LANES + kept) + tl.load(sums + 2 * LANES + gone)
        total = tl.load(sums + 3 * LANES + kept) + tl.load(sums + 3 * LANES + gone)
        tl.debug_barrier()  # all threads have read what is written now
        tl.store(sums + kept, total_red)
        tl.store(sums + LANES + kept, total_green)
        tl.store(sums + 2 * LANES + kept, total_blue)
        tl.store(sums + 3 * LANES + kept, total)
        tl.debug_barrier()
        own_red = _mean_at(own_red, is_kept, total_red, total)
        own_green = _mean_at(own_green, is_kept, total_green, total)
        own_blue = _mean_at(own_blue, is_kept, total_blue, total)
        red, green = tl.where(is_kept, total_red, red), tl.where(is_kept, total_green, green)
        blue, weight = tl.where(is_kept, total_blue, blue), tl.where(is_kept, total, weight)
        alive = alive & (lane != gone)
        into = tl.where(into == gone, kept, into)
        cost = tl.where(lane == gone, float("inf"), cost)
        n_left -= 1
        if n_left > n_kept:
            stale = alive & ((partner == kept) | (partner == gone)) & (lane != kept)
            with_kept = _costs(sums, kept, red, green, blue, weight, LANES)
            least, mate = _lowest(tl.where(alive & (lane != kept), with_kept, float("inf")), lane)
            better = (with_kept < cost) | ((with_kept == cost) & (kept < partner))
            better = better & alive & (lane != kept) & (stale == 0)
            cost = tl.where(is_kept, least, tl.where(better, with_kept, cost))
            partner = tl.where(is_kept, mate, tl.where(better, kept, partner))
            one = tl.min(tl.where(stale, lane, LAST))
            while one < LAST:
                found = _costs(sums, one, red, green, blue, weight, LANES)
                least, mate = _lowest(tl.where(alive & (lane != one), found, float("inf")), lane)
                cost = tl.where(lane == one, least, cost)
                partner = tl.where(lane == one, mate, partner)
                stale = stale & (lane != one)
                one = tl.min(tl.where(stale, lane, LAST))
    place = tl.cumsum(alive.to(tl.int32), axis=0) - 1
    tl.store(places + lane, place)
    tl.debug_barrier()
    tl.store(merged_centers + 3 * LANES + lane, tl.load(places + into))
    tl.store(merged_centers + place, own_red, mask=alive)
    tl.store(merged_centers + LANES + place, own_green, mask=alive)
    tl.store(merged_centers + 2 * LANES + place, own_blue, mask=alive)
    tl.store(merged_sums + place, red, mask=alive)
    tl.store(merged_sums + LANES + place, green, mask=alive)
    tl.store(merged_sums + 2 * LANES + place, blue, mask=alive)
    tl.store(merged_sums + 3 * LANES + place, weight, mask=alive)


@triton.jit
def take_merged(
    labels, sums, centers, places, merged_sums, merged_centers, n_kept, n_points, lane,
    TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Take over the merged clusters, and label the points of a program by them."""
    for row in tl.static_range(4):
        total = tl.load(merged_sums + row * LANES + lane, cache_modifier=".cg")
        tl.store(sums + row * LANES + lane, tl.where(lane < n_kept, total, 0))
    for column in tl.static_range(3):
        steps = tl.load(merged_centers + column * LANES + lane, cache_modifier=".cg")
        tl.store(centers + column * LANES + lane, steps)
    tl.store(places + lane, tl.load(merged_centers + 3 * LANES + lane, cache_modifier=".cg"))
    tl.debug_barrier()
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(labels + offsets, mask=inside, other=0).to(tl.int32)
        tl.store(labels + offsets, tl.load(places + label).to(tl.int16), mask=inside)
    tl.debug_barrier()


@triton.jit
def _sums_of(sums, lane, LANES: tl.constexpr):
    red, green = tl.load(sums + lane), tl.load(sums + LANES + lane)
    blue, weight = tl.load(sums + 2 * LANES + lane), tl.load(sums + 3 * LANES + lane)
    return red, green, blue, weight


@triton.jit
def _mean_at(levels, at, total, weight):
    """Levels of centers, of which one is the rounded mean of its cluster, if that has a weight."""
    mean = rounded(mean_of(total, weight, 0.0)).to(tl.int32)
    return tl.where(at & (weight > 0), mean, levels)


@triton.jit
def _lowest(cost, lane):
    """The lowest cost, and the first lane that has it."""
    least = tl.min(cost)
    return least, tl.min(tl.where(cost == least, lane, LAST))


@triton.jit
def _costs(sums, one, red, green, blue, weight, LANES: tl.constexpr):
    """By how much the error rises if each cluster shares a center with one, all of them rounded to entries.

    With a cluster of no weight it is 0.
    """
    mass, mass_one = weight.to(tl.float64), tl.load(sums + 3 * LANES + one)
    other = mass_one.to(tl.float64)
    both = tl.where(mass + other > 0, mass + other, 1.0)
    distance = tl.zeros(weight.shape, tl.float64)
    lost_both = tl.zeros(weight.shape, tl.float64)
    lost = tl.zeros(weight.shape, tl.float64)
    lost_one = tl.zeros([], tl.float64)
    for column in tl.static_range(3):
        total = red if column == 0 else green if column == 1 else blue
        total_one = tl.load(sums + column * LANES + one)
        mean, mean_one = mean_of(total, weight, 0.0), mean_of(total_one, mass_one, 0.0)
        distance += (mean - mean_one) * (mean - mean_one)
        lost += _off(mean)
        lost_one += _off(mean_one)
        lost_both += _off((total + total_one).to(tl.float64) / both)
    rise = distance * (mass * other / both)
    cost = rise + ((mass + other) * lost_both - (other * lost_one + mass * lost))
    return tl.where(mass * other > 0, cost, 0.0)


@triton.jit
def _off(mean):
    """The square of how far a mean is from an entry."""
    off = mean - as_entry(mean)
    return off * off
