"""Drawing items by the running sum of their shares, as Triton code.

Shares are summed chunk by chunk and part by part, a part being the chunks of one program, and a draw looks for the
part, then the chunk, then the item.
"""

import triton
import triton.language as tl

CHUNK = 1024
WIDTH = 128  # items that a draw looks at together, or fewer for many candidates


@triton.jit
def _passed(running, targets, valid, RIGHT: tl.constexpr):
    """Which running sums [1, n] or [L, n] lie before the target of each candidate."""
    before = (running <= targets[:, None]) if RIGHT else (running < targets[:, None])
    return before & valid


@triton.jit
def draw_items(
    uniforms, weights, closest, ranks, part_sums, chunk_sums, n_items, n_parts, per_part, lane, n_candidates,
    RIGHT: tl.constexpr, RANKED: tl.constexpr, WEIGHTED: tl.constexpr, CHUNK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """For each candidate the first item whose running sum of shares reaches its uniform number times the total.

    Items before the first draw have their weight as share, and pass it if the sum is equal (RIGHT), as in scikit-learn.
    """
    n_chunks = (n_items + CHUNK - 1) // CHUNK
    column = tl.arange(0, WIDTH)
    total = tl.zeros([], tl.float64)
    for start in range(0, n_parts, WIDTH):
        total += tl.sum(tl.load(part_sums + start + column, mask=start + column < n_parts, other=0))
    targets = tl.load(uniforms + lane, mask=lane < n_candidates, other=0) * total
    part = tl.zeros_like(lane)
    before = tl.zeros_like(targets)  # the sum of all that was passed
    carried = tl.zeros([], tl.float64)
    for start in range(0, n_parts, WIDTH):
        valid = start + column < n_parts
        sums = tl.load(part_sums + start + column, mask=valid, other=0)
        running = carried + tl.cumsum(sums, axis=0)
        passed = _passed(running[None, :], targets, valid[None, :], RIGHT)
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
        sums = tl.load(chunk_sums + number, mask=valid, other=0)
        running = carry[:, None] + tl.cumsum(sums, axis=1)
        passed = _passed(running, targets, valid, RIGHT)
        chunk += tl.sum(passed.to(tl.int32), axis=1)
        reached = tl.maximum(reached, tl.max(tl.where(passed, running, 0.0), axis=1))
        carry += tl.sum(sums, axis=1)
    chunk = tl.minimum(tl.minimum(chunk, part * per_part + per_part - 1), n_chunks - 1)
    item = chunk.to(tl.int64) * CHUNK
    carry = reached
    for start in range(0, CHUNK, WIDTH):
        place = chunk[:, None].to(tl.int64) * CHUNK + start + column[None, :]
        valid = place < n_items
        shares = shares_of(weights, closest, ranks, place, valid, RIGHT, RANKED, WEIGHTED)
        running = carry[:, None] + tl.cumsum(shares, axis=1)
        item += tl.sum(_passed(running, targets, valid, RIGHT).to(tl.int64), axis=1)
        carry += tl.sum(shares, axis=1)
    return tl.minimum(tl.minimum(item, chunk.to(tl.int64) * CHUNK + CHUNK - 1), n_items - 1)


@triton.jit
def shares_of(
    weights, closest, ranks, place, valid, FIRST: tl.constexpr, RANKED: tl.constexpr, WEIGHTED: tl.constexpr
):  # fmt: skip
    """The shares of items in the running sum: weight times the closest squared distance of the point."""
    shares = tl.load(weights + place, mask=valid, other=0) if WEIGHTED else valid.to(tl.float64)
    if not FIRST:
        point = tl.load(ranks + place, mask=valid, other=0) if RANKED else place
        shares = tl.where(valid, shares * tl.load(closest + point, mask=valid, other=0), 0.0)
    return shares


@triton.jit(do_not_specialize=["n_items"])
def sum_shares_kernel(
    item_weights, ranks, closest, part_sums, chunk_sums, n_items, WEIGHTED: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    """Sum up the shares of pixels that have the ranks of their colors, chunk by chunk and part by part."""
    n_chunks = (n_items + CHUNK - 1) // CHUNK
    per_part = (n_chunks + tl.num_programs(0) - 1) // tl.num_programs(0)
    first = tl.program_id(0) * per_part
    total = tl.zeros([], tl.float64)
    for chunk in range(first, tl.minimum(first + per_part, n_chunks)):
        place = chunk * CHUNK + tl.arange(0, CHUNK)
        in_chunk = tl.sum(shares_of(item_weights, ranks=ranks, closest=closest, place=place, valid=place < n_items,
                                  FIRST=False, RANKED=True, WEIGHTED=WEIGHTED))  # fmt: skip
        tl.store(chunk_sums + chunk, in_chunk)
        total += in_chunk
    tl.store(part_sums + tl.program_id(0), total)
