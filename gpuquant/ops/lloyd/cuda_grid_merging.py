"""Merging of clusters in breathing k-means as Triton code: two by two, those by which the error rises least."""

import triton
import triton.language as tl

from gpuquant.ops.lloyd.cuda_grid_steps import as_entry, mean_of, rounded

STALE = tl.constexpr(-1)  # in place of a partner that has to be found


@triton.jit
def find_partners(sums, means, costs, partners, n_centers, lane, LANES: tl.constexpr):
    """Find the cluster to merge each one with, of those that are a program's turn; and write means and losses."""
    red, green, blue, weight = _sums_of(sums, lane, LANES)
    mean_red, mean_green, mean_blue = mean_of(red, weight, 0.0), mean_of(green, weight, 0.0), mean_of(blue, weight, 0.0)
    lost = _lost(mean_red, mean_green, mean_blue, weight)
    _write(means, lane, mean_red, mean_green, mean_blue, lost, LANES)
    for one in range(tl.program_id(0), n_centers, tl.num_programs(0)):
        cost = _costs(sums, means, one, red, green, blue, weight, mean_red, mean_green, mean_blue, lost, LANES)
        least, partner = tl.min(
            tl.where((lane < n_centers) & (lane != one), cost, float("inf")), axis=0, return_indices=True
        )
        tl.store(costs + one, least)
        tl.store(partners + one, partner)


@triton.jit
def merge(
    sums,  # [4, LANES] int64: of the clusters of this program, changed
    means,  # [4, LANES] float64: of this program, and what each cluster loses by rounding, changed
    centers,  # [3, LANES] int32: of this program
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
    """Merge the two clusters by which the error rises least, the first ones on a tie, until so many are left.

    A cluster whose partner has changed has none for now, and as cost the lowest that it can have: that of the others is
    no lower than it was. Another partner is looked for only if that is the lowest of all.
    """
    alive = lane < n_centers
    cost = tl.load(costs + lane, mask=alive, other=float("inf"), cache_modifier=".cg")
    partner = tl.load(partners + lane, mask=alive, other=0, cache_modifier=".cg")
    red, green, blue, weight = _sums_of(sums, lane, LANES)
    mean_red, mean_green, mean_blue, lost = _sums_of(means, lane, LANES)
    own_red, own_green = tl.load(centers + lane), tl.load(centers + LANES + lane)
    own_blue = tl.load(centers + 2 * LANES + lane)
    into = lane
    n_left = n_centers
    while n_left > n_kept:
        _, kept = tl.min(cost, axis=0, return_indices=True)
        gone = tl.sum(tl.where(lane == kept, partner, 0))
        is_kept = lane == kept
        if gone >= 0:
            kept_red, kept_green, kept_blue, kept_weight = _sums_of(sums, kept, LANES)
            gone_red, gone_green, gone_blue, gone_weight = _sums_of(sums, gone, LANES)
            tl.debug_barrier()  # all threads have read what is written now
            kept_red, kept_green, kept_blue = kept_red + gone_red, kept_green + gone_green, kept_blue + gone_blue
            kept_weight += gone_weight
            new_red, new_green = mean_of(kept_red, kept_weight, 0.0), mean_of(kept_green, kept_weight, 0.0)
            new_blue = mean_of(kept_blue, kept_weight, 0.0)
            new_lost = _lost(new_red, new_green, new_blue, kept_weight)
            _write(sums, kept, kept_red, kept_green, kept_blue, kept_weight, LANES)
            _write(means, kept, new_red, new_green, new_blue, new_lost, LANES)
            red, green = tl.where(is_kept, kept_red, red), tl.where(is_kept, kept_green, green)
            blue, weight = tl.where(is_kept, kept_blue, blue), tl.where(is_kept, kept_weight, weight)
            mean_red, mean_green = tl.where(is_kept, new_red, mean_red), tl.where(is_kept, new_green, mean_green)
            mean_blue, lost = tl.where(is_kept, new_blue, mean_blue), tl.where(is_kept, new_lost, lost)
            moves = is_kept & (weight > 0)
            own_red = tl.where(moves, rounded(new_red).to(tl.int32), own_red)
            own_green = tl.where(moves, rounded(new_green).to(tl.int32), own_green)
            own_blue = tl.where(moves, rounded(new_blue).to(tl.int32), own_blue)
            alive = alive & (lane != gone)
            into = tl.where(into == gone, kept, into)
            cost = tl.where(lane == gone, float("inf"), cost)
            n_left -= 1
        found = _costs(sums, means, kept, red, green, blue, weight, mean_red, mean_green, mean_blue, lost, LANES)
        found = tl.where(alive & (lane != kept), found, float("inf"))
        if gone >= 0:
            partner = tl.where((partner == kept) | (partner == gone), STALE, partner)
            better = (found < cost) | ((found == cost) & (kept < partner))
            partner = tl.where(better & (partner >= 0), kept, partner)
            cost = tl.minimum(found, cost)
        least, mate = tl.min(found, axis=0, return_indices=True)
        cost = tl.where(is_kept, least, cost)
        partner = tl.where(is_kept, mate, partner)
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
def _sums_of(rows, place, LANES: tl.constexpr):
    """Read four numbers of one cluster, or of all."""
    red, green = tl.load(rows + place), tl.load(rows + LANES + place)
    return red, green, tl.load(rows + 2 * LANES + place), tl.load(rows + 3 * LANES + place)


@triton.jit
def _write(rows, place, red, green, blue, last, LANES: tl.constexpr):
    """Write four numbers of one cluster, or of all; then all threads can read them."""
    tl.store(rows + place, red)
    tl.store(rows + LANES + place, green)
    tl.store(rows + 2 * LANES + place, blue)
    tl.store(rows + 3 * LANES + place, last)
    tl.debug_barrier()


@triton.jit
def _costs(
    sums, means, one, red, green, blue, weight, mean_red, mean_green, mean_blue, lost, LANES: tl.constexpr
):  # fmt: skip
    """By how much the error rises if each cluster shares a center with one, all of them rounded to entries.

    With a cluster of no weight it is 0.
    """
    one_red, one_green, one_blue, one_weight = _sums_of(sums, one, LANES)
    at_red, at_green, at_blue, one_lost = _sums_of(means, one, LANES)
    mass, one_mass = weight.to(tl.float64), one_weight.to(tl.float64)
    both = mass + one_mass
    shared = tl.where(both > 0, both, 1.0)
    red_apart, green_apart, blue_apart = mean_red - at_red, mean_green - at_green, mean_blue - at_blue
    distance = red_apart * red_apart + green_apart * green_apart + blue_apart * blue_apart
    off = _off((red + one_red).to(tl.float64) / shared)
    off += _off((green + one_green).to(tl.float64) / shared)
    off += _off((blue + one_blue).to(tl.float64) / shared)
    cost = distance * (mass * one_mass / shared) + (both * off - (one_lost + lost))
    return tl.where(mass * one_mass > 0, cost, 0.0)


@triton.jit
def _lost(red, green, blue, weight):
    """By how much the error rises as means are rounded to entries."""
    off = _off(red)
    off += _off(green)
    off += _off(blue)
    return weight.to(tl.float64) * off


@triton.jit
def _off(mean):
    """The square of how far a mean is from an entry."""
    off = mean - as_entry(mean)
    return off * off
