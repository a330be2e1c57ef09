"""The hot operations as Triton kernels: each kernel, then its launcher, which takes CUDA tensors.

Sizes are run-time numbers: images of other sizes compile nothing anew. Nothing adds floats atomically: every program
has sums of its own, which are added up in the order of the programs, so that the same input gives the same bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.ops.color_codes import N_CODES

BLOCK = 1024  # pixels of a program
POINTS = 1024  # of a program at a time
MAX_COLUMNS = 4
PROGRAMS_PER_PROCESSOR = 4


def n_programs(n_items: int, device: torch.device) -> int:
    """As many programs as keep every multiprocessor busy; on the CPU, in Triton's interpreter, a few."""
    if device.type == "cuda":
        most = PROGRAMS_PER_PROCESSOR * torch.cuda.get_device_properties(device).multi_processor_count
    else:
        most = 3
    return min(most, -(-n_items // POINTS))


@triton.jit
def _codes(pixels, offsets, mask, GREY: tl.constexpr):
    """The 24-bit codes of pixels, red in the lowest byte."""
    if GREY:
        return tl.load(pixels + offsets, mask=mask, other=0).to(tl.int32) * 0x010101
    red = tl.load(pixels + offsets * 3, mask=mask, other=0).to(tl.int32)
    green = tl.load(pixels + offsets * 3 + 1, mask=mask, other=0).to(tl.int32)
    blue = tl.load(pixels + offsets * 3 + 2, mask=mask, other=0).to(tl.int32)
    return red | (green << 8) | (blue << 16)


@triton.jit
def _maximum(one, other):
    return tl.maximum(one, other)


@triton.jit(do_not_specialize=["n_pixels"])
def count_colors_kernel(pixels, table, n_pixels, GREY: tl.constexpr, BLOCK: tl.constexpr, N_CODES: tl.constexpr):
    """table[code] += how many pixels of the block have it: one addition for each run of equal codes after sorting.

    Without sorting, millions of pixels of a flat region would wait for each other at one bin.
    """
    place = tl.arange(0, BLOCK)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    mask = start + place < n_pixels
    codes = tl.where(mask, _codes(pixels, start + place, mask, GREY), N_CODES)
    codes = tl.sort(codes)
    first = (place == 0) | (codes != tl.gather(codes, tl.maximum(place - 1, 0), 0))
    last = (place == BLOCK - 1) | (codes != tl.gather(codes, tl.minimum(place + 1, BLOCK - 1), 0))
    run_start = tl.associative_scan(tl.where(first, place, 0), 0, _maximum)
    tl.atomic_add(table + codes, place - run_start + 1, mask=last & (codes < N_CODES), sem="relaxed")


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8, contiguous
    *,
    chunk_size: int | None = None,  # of no use here: a program takes a block at a time
) -> tuple[Tensor, Tensor]:  # codes [M] int32, ascending; counts [M] int64
    """Count every distinct colour exactly."""
    table = torch.zeros(N_CODES, dtype=torch.int32, device=pixels.device)
    grid = (triton.cdiv(len(pixels), BLOCK),)
    count_colors_kernel[grid](pixels, table, len(pixels), GREY=pixels.ndim == 1, BLOCK=BLOCK, N_CODES=N_CODES)
    codes = table.nonzero().view(-1)
    return codes.to(torch.int32), table[codes].long()


@triton.jit(do_not_specialize=["n_pixels"])
def apply_lookup_kernel(pixels, table, labels, n_pixels, GREY: tl.constexpr, BLOCK: tl.constexpr):
    """labels[i] = table[code of pixel i]."""
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n_pixels
    found = tl.load(table + _codes(pixels, offsets, mask, GREY), mask=mask)
    tl.store(labels + offsets, found, mask=mask)


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8, contiguous
    lookup_table: Tensor,  # [2^24] uint8, uint16 or int32
    *,
    chunk_size: int | None = None,  # of no use here
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up in a table with one entry per colour code."""
    table = lookup_table.view(torch.int16) if lookup_table.dtype == torch.uint16 else lookup_table
    labels = torch.empty(len(pixels), dtype=table.dtype, device=pixels.device)
    grid = (triton.cdiv(len(pixels), BLOCK),)
    apply_lookup_kernel[grid](pixels, table, labels, len(pixels), GREY=pixels.ndim == 1, BLOCK=BLOCK)
    return labels.view(lookup_table.dtype)


@triton.jit
def _point(points, origin, offsets, mask, column: tl.constexpr, D: tl.constexpr, GROUP: tl.constexpr):
    """One column of some points, relative to the origin; GROUP points lie together column by column."""
    place = (offsets // GROUP).to(tl.int64) * (GROUP * D) + column * GROUP + offsets % GROUP
    return tl.load(points + place, mask=mask, other=0).to(tl.float64) - tl.load(origin + column)


@triton.jit(do_not_specialize=["n_points", "n_clusters", "n_runs", "problem_stride"])
def lloyd_step_kernel(
    points,
    origin,
    weights,
    centers,
    squares,
    runs,
    labels,
    sums,
    n_changed,
    n_points,
    n_clusters,
    n_runs,
    problem_stride,
    D: tl.constexpr,
    GROUP: tl.constexpr,
    BLOCK: tl.constexpr,
    COUNT_WEIGHTLESS: tl.constexpr,
):
    """labels = argmin_k |c_k|^2 - 2 x.c_k, and the weighted sums of x and of 1 over each label, program by program.

    The scores have the centers' dtype and are rounded as scikit-learn's: x0 c0, then one fused multiplication and
    addition for each further column, then one for |c|^2.
    """
    active = tl.program_id(1)
    run = tl.load(runs + active)
    problem = run // n_runs
    points += problem * problem_stride
    origin += problem * D
    weights += problem * n_points
    labels += run * n_points
    centers += active * n_clusters * D
    squares += active * n_clusters
    own = active * tl.num_programs(0) + tl.program_id(0)
    sums += own.to(tl.int64) * n_clusters * (D + 1)
    score_type = centers.dtype.element_ty
    total_changed = 0
    for start in range(tl.program_id(0) * BLOCK, n_points, tl.num_programs(0) * BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        mask = offsets < n_points
        x0 = _point(points, origin, offsets, mask, 0, D, GROUP)
        x1 = _point(points, origin, offsets, mask, 1, D, GROUP) if D > 1 else x0
        x2 = _point(points, origin, offsets, mask, 2, D, GROUP) if D > 2 else x0
        x3 = _point(points, origin, offsets, mask, 3, D, GROUP) if D > 3 else x0
        s0, s1, s2, s3 = x0.to(score_type), x1.to(score_type), x2.to(score_type), x3.to(score_type)
        lowest = tl.full([BLOCK], float("inf"), score_type)
        nearest = tl.zeros([BLOCK], tl.int32)
        for k in range(n_clusters):
            center = centers + k * D
            product = s0 * tl.load(center)
            if D > 1:
                product = tl.fma(s1, tl.zeros_like(s1) + tl.load(center + 1), product)
            if D > 2:
                product = tl.fma(s2, tl.zeros_like(s2) + tl.load(center + 2), product)
            if D > 3:
                product = tl.fma(s3, tl.zeros_like(s3) + tl.load(center + 3), product)
            score = tl.load(squares + k) - 2 * product
            nearer = score < lowest
            lowest = tl.where(nearer, score, lowest)
            nearest = tl.where(nearer, k, nearest)
        weight = tl.load(weights + offsets, mask=mask, other=0)
        counted = mask & (nearest != tl.load(labels + offsets, mask=mask, other=-1))
        if not COUNT_WEIGHTLESS:
            counted = counted & (weight > 0)
        total_changed += tl.sum(counted.to(tl.int32))
        tl.store(labels + offsets, nearest, mask=mask)
        for k in range(n_clusters):
            member = nearest == k
            own_sums = sums + k * (D + 1)
            _add(own_sums, member, weight * x0)
            if D > 1:
                _add(own_sums + 1, member, weight * x1)
            if D > 2:
                _add(own_sums + 2, member, weight * x2)
            if D > 3:
                _add(own_sums + 3, member, weight * x3)
            _add(own_sums + D, member, weight)
    tl.store(n_changed + own, total_changed)


@triton.jit
def _add(total, member, values):
    """Add the values [BLOCK] of members to a sum that no other program touches."""
    tl.store(total, tl.load(total) + tl.sum(tl.where(member, values, 0.0)))


def lloyd_step(
    points: Tensor,  # [B, N, D] float32 or float64; or [B, N / group, D, group]
    origin: Tensor,  # [B, D] float64
    weights: Tensor,  # [B, N] float64
    centers: Tensor,  # [A, K, D], relative to the origin; their dtype is that of the scores
    runs: Tensor,  # [A] int64: run r works on problem r // n_runs
    labels: Tensor,  # [P, N] int32, overwritten for the runs
    *,
    n_runs: int = 1,
    group: int = 1,
    count_weightless: bool = False,  # also count label changes of points whose weight is 0
) -> tuple[Tensor, Tensor, Tensor]:  # sums [A, K, D] float64, weights [A, K] float64, labels that changed [A] int64
    """One step on several runs in one launch: nearest centers (the lowest of equal scores) and the clusters' sums."""
    n_active, n_clusters, n_columns = centers.shape
    n_points = weights.shape[1]
    grid = n_programs(n_points, points.device), n_active
    shape = n_active, grid[0], n_clusters, n_columns + 1
    sums = torch.zeros(shape, dtype=torch.float64, device=points.device)
    n_changed = torch.empty(shape[:2], dtype=torch.int32, device=points.device)
    centers = centers.contiguous()
    lloyd_step_kernel[grid](
        points,
        origin,
        weights,
        centers,
        squared_norms(centers),
        runs,
        labels,
        sums,
        n_changed,
        n_points,
        n_clusters,
        n_runs,
        n_points * n_columns,
        D=n_columns,
        GROUP=group,
        BLOCK=POINTS,
        COUNT_WEIGHTLESS=count_weightless,
    )
    totals = sums.sum(dim=1)
    return totals[:, :, :-1], totals[:, :, -1], n_changed.sum(dim=1)


def squared_norms(centers: Tensor) -> Tensor:  # [A, K, D] -> [A, K]
    """Column after column, with a rounding for each."""
    total = centers[:, :, 0] * centers[:, :, 0]
    for column in centers.unbind(dim=2)[1:]:
        total = torch.addcmul(total, column, column)
    return total.contiguous()
