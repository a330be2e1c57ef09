"""Drawing items by the running sum of their shares, as Triton code; items are points, or pixels with their points.

Shares are summed chunk by chunk and part by part, a part being the chunks of one program, and a draw looks for the
part, then the chunk, then the item. What other programs may have written in the same launch is read past the nearest
cache (`.cg`).
"""

import triton
import triton.language as tl

WIDTH = 32  # chunks, or items of one, that a draw looks at together: with more, registers are spilled
PARTS = 128  # sums of parts that are looked at together: few chips have more multiprocessors


@triton.jit
def squared_distance(points, places, valid, index, D: tl.constexpr):
    """The squared distances of some points to another one, of 8-bit colors as integers."""
    number: tl.constexpr = tl.int32 if points.dtype.element_ty == tl.uint8 else tl.float64
    distance = tl.zeros(places.shape, number)
    for column in tl.static_range(D):
        own = tl.load(points + places.to(tl.int64) * D + column, mask=valid, other=0).to(number)
        apart = own - tl.load(points + index * D + column).to(number)
        distance += apart * apart
    return distance


@triton.jit
def lowered(points, closest, places, valid, best, n_centers, D: tl.constexpr):
    """The squared distances of points to the closest of some centers, of which the best one was added last."""
    farthest: tl.constexpr = 2147483647 if points.dtype.element_ty == tl.uint8 else float("inf")
    before = tl.load(closest + places, mask=valid & (n_centers > 1), other=farthest, cache_modifier=".cg")
    distance = squared_distance(points, places, valid, best, D)
    return tl.minimum(before.to(distance.dtype), distance)


@triton.jit
def best_candidate(part_sums, candidates, n_parts, lane, PARTS: tl.constexpr, LANES: tl.constexpr):
    """The candidate with the lowest potential, the first one on a tie, its place, and that potential."""
    totals = tl.zeros([LANES], tl.float64)
    for start in range(0, n_parts, PARTS):
        rows = start + tl.arange(0, PARTS)
        places = lane[None, :] * n_parts + rows[:, None]
        sums = tl.load(part_sums + places, mask=(rows < n_parts)[:, None], other=0, cache_modifier=".cg")
        totals += tl.sum(sums, axis=0)
    place = tl.argmin(totals, axis=0)
    drawn = tl.load(candidates + lane, cache_modifier=".cg")
    return tl.sum(tl.where(lane == place, drawn, 0)), place, tl.min(totals)


@triton.jit
def _passed(running, targets, valid, n_centers):
    """Which running sums [1, n] or [L, n] lie before the target of each candidate."""
    before = tl.where(n_centers == 0, running <= targets[:, None], running < targets[:, None])
    return before & valid


@triton.jit
def draw_items(
    uniforms, weights, closest, points, best, n_centers, part_sums, chunk_sums, n_items, n_parts, lane, n_candidates,
    RANKED: tl.constexpr, WEIGHTED: tl.constexpr,
    D: tl.constexpr, CHUNK: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """For each candidate the first item whose running sum of shares reaches its uniform number times the total.

    Before there is a center, items have their weight as share, and pass it if the sum is equal, as in scikit-learn.
    RANKED items are pixels, and what is called points is the point of each.
    """
    n_chunks = (n_items - 1) // CHUNK + 1
    per_part = (n_chunks + n_parts - 1) // n_parts
    column, row = tl.arange(0, WIDTH), tl.arange(0, PARTS)
    total = tl.zeros([], tl.float64)
    for start in range(0, n_parts, PARTS):
        valid = start + row < n_parts
        total += tl.sum(tl.load(part_sums + start + row, mask=valid, other=0, cache_modifier=".cg"))
    targets = tl.load(uniforms + lane, mask=lane < n_candidates, other=0) * total
    part = tl.zeros_like(lane)
    before = tl.zeros_like(targets)  # the sum of all that was passed
    carried = tl.zeros([], tl.float64)
    for start in range(0, n_parts, PARTS):
        valid = start + row < n_parts
        sums = tl.load(part_sums + start + row, mask=valid, other=0, cache_modifier=".cg")
        running = carried + tl.cumsum(sums, axis=0)
        passed = _passed(running[None, :], targets, valid[None, :], n_centers)
        part += tl.sum(passed.to(tl.int32), axis=1)
        before = tl.maximum(before, tl.max(tl.where(passed, running[None, :], 0.0), axis=1))
        carried += tl.sum(sums)
    part = tl.minimum(part, n_parts - 1)
    chunk = part * per_part
    reached = before
    carry = before
    for start in range(0, per_part, WIDTH):
        number = part[:, None] * per_part + start + column[None, :]
        valid = (start + column < per_part)[None, :] & (number < n_chunks)
        sums = tl.load(chunk_sums + number, mask=valid, other=0, cache_modifier=".cg")
        running = carry[:, None] + tl.cumsum(sums, axis=1)
        passed = _passed(running, targets, valid, n_centers)
        chunk += tl.sum(passed.to(tl.int32), axis=1)
        reached = tl.maximum(reached, tl.max(tl.where(passed, running, 0.0), axis=1))
        carry += tl.sum(sums, axis=1)
    chunk = tl.minimum(tl.minimum(chunk, part * per_part + per_part - 1), n_chunks - 1)
    item = chunk.to(tl.int64) * CHUNK
    carry = reached
    is_whole: tl.constexpr = points.dtype.element_ty == tl.uint8
    if is_whole:  # shares are summed as integers, which pass the same targets
        carry = reached.to(tl.int64)
        targets = tl.where(n_centers == 0, tl.floor(targets), tl.ceil(targets)).to(tl.int64)
    for start in range(0, CHUNK, WIDTH):
        place = chunk[:, None].to(tl.int64) * CHUNK + start + column[None, :]
        valid = place < n_items
        if RANKED:
            shares = pixel_shares(weights, points, closest, place, valid, WEIGHTED)
        else:
            nearest = lowered(points, closest, place, valid, best, n_centers, D)
            weight = tl.load(weights + place, mask=valid, other=0).to(carry.dtype)
            shares = weight * tl.where(n_centers > 0, nearest, 1)
        running = carry[:, None] + tl.cumsum(shares, axis=1)
        item += tl.sum(_passed(running, targets, valid, n_centers).to(tl.int64), axis=1)
        carry += tl.sum(shares, axis=1)
    return tl.minimum(tl.minimum(item, chunk.to(tl.int64) * CHUNK + CHUNK - 1), n_items - 1)


@triton.jit
def pixel_shares(weights, ranks, closest, place, valid, WEIGHTED: tl.constexpr):
    """The shares of pixels: weight times the closest squared distance of their point."""
    shares = tl.load(weights + place, mask=valid, other=0) if WEIGHTED else valid.to(tl.float64)
    point = tl.load(ranks + place, mask=valid, other=0)
    return tl.where(valid, shares * tl.load(closest + point, mask=valid, other=0), 0.0)
