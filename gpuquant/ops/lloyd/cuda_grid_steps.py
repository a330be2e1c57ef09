"""Parts of a cycle of breathing k-means as Triton code: labels, moves of centers, and errors.

All programs work the same out for all clusters, each in arrays of its own: only sums over points come from all of them.
A cluster is a lane: there are no more than LANES.
"""

import triton
import triton.language as tl

from gpuquant.ops.lloyd.grid_state import RELAXATION

PACE = tl.constexpr(RELAXATION)
LAST = tl.constexpr(2147483647)
ENTRY = tl.constexpr(4)  # steps of the grid in a level, and entries are whole levels
TOP = tl.constexpr(255 * 4)  # the highest level in steps
HALF_EVEN = tl.constexpr(6755399441055744.0)  # 1.5 * 2^52: adding it rounds to an integer, half to even


@triton.jit
def rounded(steps):
    """Steps of the grid as whole ones, half to even."""
    return (steps + HALF_EVEN) - HALF_EVEN


@triton.jit
def as_entry(steps):
    """The nearest level that an entry can have."""
    return rounded(steps * (1 / ENTRY)) * ENTRY


@triton.jit
def mean_of(total, weight, level):
    """The mean of clusters, or a level where there is no weight."""
    return tl.where(weight > 0, total.to(tl.float64) / tl.where(weight > 0, weight, 1).to(tl.float64), level)


@triton.jit
def add_errors(weights, labels, apart, errors, n_points, TILE: tl.constexpr):
    """Add up the weighted squared distances of the points of a program to their centers."""
    tl.debug_barrier()  # all threads read what all have written
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        label = tl.load(labels + offsets, mask=inside, other=0).to(tl.int32)
        weight = tl.load(weights + offsets, mask=inside, other=0)
        distance = tl.load(apart + offsets, mask=inside, other=0)
        tl.atomic_add(errors + label, weight * distance, mask=inside, sem="relaxed")


@triton.jit
def errors_of(centers, sums, apart, lane, LANES: tl.constexpr):
    """The errors of clusters with means rounded to entries, by those with centers."""
    error = tl.load(apart + lane, cache_modifier=".cg")
    weight = tl.load(sums + 3 * LANES + lane)
    for column in tl.static_range(3):
        level = tl.load(centers + column * LANES + lane).to(tl.int64)
        total = tl.load(sums + column * LANES + lane)
        entry = as_entry(mean_of(total, weight, level.to(tl.float64))).to(tl.int64)
        error += tl.where(weight > 0, (entry - level) * (weight * (entry + level) - 2 * total), 0)
    return error


@triton.jit
def move(centers, sums, limits, n_centers, lane, LANES: tl.constexpr):
    """Move centers beyond the means of their clusters, as far as points go; and write their squares."""
    inside = lane < n_centers
    weight = tl.load(sums + 3 * LANES + lane)
    square = tl.zeros([LANES], tl.int32)
    for column in tl.static_range(3):
        place = centers + column * LANES + lane
        level = tl.load(place).to(tl.float64)
        mean = mean_of(tl.load(sums + column * LANES + lane), weight, level)
        level += PACE * (mean - level)
        below_top = tl.load(limits + column, cache_modifier=".cg")
        level = tl.maximum(level, -(below_top - TOP).to(tl.float64))
        level = tl.minimum(level, tl.load(limits + 3 + column, cache_modifier=".cg").to(tl.float64))
        steps = rounded(level).to(tl.int32)
        tl.store(place, steps, mask=inside)
        square += steps * steps
    tl.store(centers + 3 * LANES + lane, square, mask=inside)
    tl.debug_barrier()


@triton.jit
def take(sums, found, lane, LANES: tl.constexpr):
    """Add to sums of clusters what all programs have found."""
    for column in tl.static_range(4):
        place = column * LANES + lane
        tl.store(sums + place, tl.load(sums + place) + tl.load(found + place, cache_modifier=".cg"))
    tl.debug_barrier()


@triton.jit
def levels_at(points, offsets, n_points):
    """The levels of points in steps; beyond the end those of the last point."""
    place = points + tl.minimum(offsets, n_points - 1) * 3
    red = tl.load(place).to(tl.int32) * ENTRY
    green = tl.load(place + 1).to(tl.int32) * ENTRY
    blue = tl.load(place + 2).to(tl.int32) * ENTRY
    return red, green, blue


@triton.jit
def add_weighted(sums, label, red, green, blue, weight, mask, LANES: tl.constexpr):
    """Add points to clusters."""
    tl.atomic_add(sums + label, weight * red, mask=mask, sem="relaxed")
    tl.atomic_add(sums + LANES + label, weight * green, mask=mask, sem="relaxed")
    tl.atomic_add(sums + 2 * LANES + label, weight * blue, mask=mask, sem="relaxed")
    tl.atomic_add(sums + 3 * LANES + label, weight, mask=mask, sem="relaxed")


@triton.jit
def assign(
    points, weights, labels, apart, centers, near, found, first, n_centers, n_points, lane,
    TILE: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Find the nearest center of the points of a program, and add to `found` by how much sums of clusters change.

    Before a first center, if it is not 0, the nearest ones are known. How many labels changed stands behind the sums.
    """
    n_changed = tl.zeros([], tl.int64)
    for start in range(tl.program_id(0) * TILE, n_points, tl.num_programs(0) * TILE):
        offsets = start + tl.arange(0, TILE)
        inside = offsets < n_points
        red, green, blue = levels_at(points, offsets, n_points)
        tl.debug_barrier()  # nobody reads the list of the tile before
        n_near = _list_near(near, centers, red, green, blue, first, n_centers, lane, LANES)
        tl.debug_barrier()
        lowest = tl.full([TILE], LAST, tl.int32)
        nearest = tl.zeros([TILE], tl.int32)
        for one in range(n_near):
            k = tl.load(near + one)
            product = red * tl.load(centers + k) + green * tl.load(centers + LANES + k)
            product += blue * tl.load(centers + 2 * LANES + k)
            score = tl.load(centers + 3 * LANES + k) - 2 * product
            nearest = tl.where(score < lowest, k, nearest)
            lowest = tl.minimum(score, lowest)
        distance = lowest + red * red + green * green + blue * blue
        known = tl.load(apart + offsets, mask=inside & (first > 0), other=LAST)
        before = tl.load(labels + offsets, mask=inside, other=0).to(tl.int32)
        joins = inside & (distance < known)
        changed = joins & (nearest != before)
        tl.store(apart + offsets, distance, mask=joins)
        tl.store(labels + offsets, nearest.to(tl.int16), mask=changed)
        weight = tl.load(weights + offsets, mask=changed, other=0)
        add_weighted(found, nearest, red, green, blue, weight, changed, LANES)
        add_weighted(found, before, red, green, blue, -weight, changed & (before >= 0), LANES)
        n_changed += tl.sum(changed.to(tl.int32))
    tl.atomic_add(found + 4 * LANES, n_changed, sem="relaxed")


@triton.jit
def _list_near(near, centers, red, green, blue, first, n_centers, lane, LANES: tl.constexpr):
    """List the centers that are not farther from the box around a tile than all of it is from another one."""
    inside = (lane >= first) & (lane < n_centers)
    close = tl.zeros([LANES], tl.int32)
    far = tl.zeros([LANES], tl.int32)
    for column in tl.static_range(3):
        levels = red if column == 0 else green if column == 1 else blue
        low, high = tl.min(levels), tl.max(levels)
        off = tl.abs(2 * tl.load(centers + column * LANES + lane, mask=inside, other=0) - (low + high))
        beyond = tl.maximum(off - (high - low), 0)
        close += beyond * beyond
        far += (off + (high - low)) * (off + (high - low))
    stays = inside & (close <= tl.min(tl.where(inside, far, LAST)))
    tl.store(near + tl.cumsum(stays.to(tl.int32), axis=0) - 1, lane, mask=stays)
    return tl.sum(stays.to(tl.int32))
