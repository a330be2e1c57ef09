"""Lloyd's algorithm on float points as Triton kernels: three launches an iteration, and the host looks only rarely.

An iteration labels the points and sums up the clusters, program by program; adds up the programs' sums, always in the
same tree; and moves the centers, run by run, by the same rules as on the host. A run that has ended is skipped from
then on. A run with an empty cluster waits for the host, which knows how to fill it.

Few clusters are summed up one after the other, each over all points of a block. Where there are many, the sums are
integers, and every point is added at its own cluster alone: the order of such additions does not matter.
"""

import torch
import triton
import triton.language as tl

from gpuquant.ops.lloyd.run_status import RunStatus

POINTS = 1024  # of a program at a time
CLUSTERS = 64  # that are moved together
SUMS = 128  # that are added up together, of PARTS programs at a time
PARTS = 32
PER_PROCESSOR = 3  # programs that step side by side: up to 168 of 65,536 registers for each of 128 threads

GOING, STILL, CLOSE, OUT_OF_TIME, EMPTY = (tl.constexpr(status.value) for status in RunStatus)


def n_programs(n_blocks: int, device: torch.device, per_processor: int, n_runs: int = 1) -> int:
    """As many programs a run as keep every multiprocessor busy; on the CPU, in Triton's interpreter, a few."""
    most = 3
    if device.type == "cuda":
        most = max(1, per_processor * torch.cuda.get_device_properties(device).multi_processor_count // n_runs)
    return min(most, n_blocks)


@triton.jit
def _point_column(points, origin, offsets, mask, column: tl.constexpr, D: tl.constexpr):
    """One column of some points, relative to the origin."""
    found = tl.load(points + offsets.to(tl.int64) * D + column, mask=mask, other=0)
    return found.to(tl.float64) - tl.load(origin + column)


@triton.jit(do_not_specialize=["n_points", "n_clusters", "n_runs", "problem_stride"])
def lloyd_step_kernel(
    points,
    origin,
    weights,
    centers,
    runs,
    status,
    labels,
    sums,
    n_changed,
    scales,
    n_points,
    n_clusters,
    n_runs,
    problem_stride,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    SINGLE: tl.constexpr,
    COUNT_WEIGHTLESS: tl.constexpr,
    SCATTER: tl.constexpr,
):
    """labels = argmin_k |c_k|^2 - 2 x.c_k, and the weighted sums of x and of 1 over each label, program by program.

    With SCATTER sums are integers: multiples of one over the scales of the problem, that of x and that of 1. The
    scores are float32 or float64 and rounded as scikit-learn's: x0 c0, then one fused multiplication and addition for
    each further column, then one for |c|^2.
    """
    run = tl.load(runs + tl.program_id(1))
    if tl.load(status + run) == GOING:
        problem = run // n_runs
        points += problem * problem_stride
        origin += problem * D
        weights += problem * n_points
        labels += run * n_points
        centers += run * n_clusters * D
        own = run * tl.num_programs(0) + tl.program_id(0)
        sums += own.to(tl.int64) * n_clusters * (D + 1)
        score_type: tl.constexpr = tl.float32 if SINGLE else tl.float64
        total_changed = 0
        if SCATTER:
            x_scale, weight_scale = tl.load(scales + 2 * problem), tl.load(scales + 2 * problem + 1)
            for start in range(0, n_clusters * (D + 1), BLOCK):
                places = start + tl.arange(0, BLOCK)
                tl.store(sums + places, tl.zeros([BLOCK], tl.int64), mask=places < n_clusters * (D + 1))
            tl.debug_barrier()  # every sum is zero before any thread adds to it
        for block in range(tl.program_id(0), (n_points - 1) // BLOCK + 1, tl.num_programs(0)):
            offsets = block * BLOCK + tl.arange(0, BLOCK)
            mask = tl.arange(0, BLOCK) < n_points - block * BLOCK  # offsets could pass 2^31
            begun = block > tl.program_id(0)
            x0 = _point_column(points, origin, offsets, mask, 0, D)
            x1 = _point_column(points, origin, offsets, mask, 1, D) if D > 1 else x0
            x2 = _point_column(points, origin, offsets, mask, 2, D) if D > 2 else x0
            x3 = _point_column(points, origin, offsets, mask, 3, D) if D > 3 else x0
            s0, s1, s2, s3 = x0.to(score_type), x1.to(score_type), x2.to(score_type), x3.to(score_type)
            lowest = tl.full([BLOCK], float("inf"), score_type)
            nearest = tl.zeros([BLOCK], tl.int32)
            for k in range(n_clusters):
                center = tl.zeros_like(s0) + tl.load(centers + k * D).to(score_type)
                product, square = s0 * center, center * center
                if D > 1:
                    center = tl.zeros_like(s0) + tl.load(centers + k * D + 1).to(score_type)
                    product, square = tl.fma(s1, center, product), tl.fma(center, center, square)
                if D > 2:
                    center = tl.zeros_like(s0) + tl.load(centers + k * D + 2).to(score_type)
                    product, square = tl.fma(s2, center, product), tl.fma(center, center, square)
                if D > 3:
                    center = tl.zeros_like(s0) + tl.load(centers + k * D + 3).to(score_type)
                    product, square = tl.fma(s3, center, product), tl.fma(center, center, square)
                score = square - 2 * product
                nearer = score < lowest
                lowest = tl.where(nearer, score, lowest)
                nearest = tl.where(nearer, k, nearest)
            weight = tl.load(weights + offsets, mask=mask, other=0)
            counted = mask & (nearest != tl.load(labels + offsets, mask=mask, other=-1))
            if not COUNT_WEIGHTLESS:
                counted = counted & (weight > 0)
            total_changed += tl.sum(counted.to(tl.int32))
            tl.store(labels + offsets, nearest, mask=mask)
            if SCATTER:
                own_sums = sums + nearest * (D + 1)
                _scatter(own_sums, weight * x0, x_scale, mask)
                if D > 1:
                    _scatter(own_sums + 1, weight * x1, x_scale, mask)
                if D > 2:
                    _scatter(own_sums + 2, weight * x2, x_scale, mask)
                if D > 3:
                    _scatter(own_sums + 3, weight * x3, x_scale, mask)
                _scatter(own_sums + D, weight, weight_scale, mask)
            else:
                for k in range(n_clusters):
                    member = nearest == k
                    own_sums = sums + k * (D + 1)
                    _add(own_sums, member, weight * x0, begun)
                    if D > 1:
                        _add(own_sums + 1, member, weight * x1, begun)
                    if D > 2:
                        _add(own_sums + 2, member, weight * x2, begun)
                    if D > 3:
                        _add(own_sums + 3, member, weight * x3, begun)
                    _add(own_sums + D, member, weight, begun)
        tl.store(n_changed + own, total_changed)


@triton.jit
def _add(total, member, values, begun):
    """Add the values [BLOCK] of members to a sum that no other program touches."""
    tl.store(total, tl.load(total, mask=begun, other=0) + tl.sum(tl.where(member, values, 0.0)))


@triton.jit
def _scatter(sums, values, scale, mask):
    """Add values [BLOCK], as integers, each to a sum of its own."""
    tl.atomic_add(sums, tl.floor(values * scale + 0.5).to(tl.int64), mask=mask, sem="relaxed")


@triton.jit(do_not_specialize=["n_sums", "n_parts", "n_runs"])
def add_parts_kernel(
    parts, runs, status, totals, scales, n_sums, n_parts, n_runs,
    D: tl.constexpr, SUMS: tl.constexpr, PARTS: tl.constexpr, SCATTER: tl.constexpr
):  # fmt: skip
    """totals[run, j] = the sum of parts[run, i, j] over the programs i."""
    run = tl.load(runs + tl.program_id(1))
    if tl.load(status + run) == GOING:
        columns = tl.program_id(0) * SUMS + tl.arange(0, SUMS)
        parts += run.to(tl.int64) * n_parts * n_sums
        total = tl.zeros([SUMS], tl.int64 if SCATTER else tl.float64)
        for start in range(0, n_parts, PARTS):
            rows = start + tl.arange(0, PARTS)
            mask = (rows < n_parts)[:, None] & (columns < n_sums)[None, :]
            place = rows[:, None].to(tl.int64) * n_sums + columns[None, :]
            total += tl.sum(tl.load(parts + place, mask=mask, other=0), axis=0)
        if SCATTER:
            own_scales = scales + 2 * (run // n_runs)
            scale = tl.where(columns % (D + 1) == D, tl.load(own_scales + 1), tl.load(own_scales))
            total = total.to(tl.float64) / scale
        tl.store(totals + run * n_sums + columns, total, mask=columns < n_sums)


@triton.jit
def _snapped(centers, SNAP: tl.constexpr):
    """Centers on the grid of `lloyd.colors`, or as float32 or float64 hold them; see `KernelLloyd`."""
    if SNAP == "grid":
        half: tl.constexpr = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, half to even
        steps = tl.minimum(tl.maximum(centers, -128.0), 127.0) * 1024
        return ((steps + half) - half) / 1024
    if SNAP == "single":
        return centers.to(tl.float32).to(tl.float64)
    return centers


@triton.jit
def _moved(totals, centers, clusters, n_clusters, D: tl.constexpr, SNAP: tl.constexpr):
    """Of some clusters the weights [n, 1], the old centers and the means [n, 4]; 0 beyond the last."""
    column = tl.arange(0, 4)[None, :]
    inside = (clusters < n_clusters)[:, None]
    mask = inside & (column < D)
    sums = tl.load(totals + clusters[:, None] * (D + 1) + column, mask=mask, other=0)
    weights = tl.load(totals + clusters[:, None] * (D + 1) + D, mask=inside, other=1)
    old = tl.load(centers + clusters[:, None] * D + column, mask=mask, other=0)
    return weights, old, _snapped(sums * (1 / tl.where(weights == 0, 1.0, weights)), SNAP), mask


@triton.jit
def move_run(
    totals, centers, moves, limit, changes, is_last, n_clusters, relaxation, momentum,
    D: tl.constexpr, CLUSTERS: tl.constexpr, SNAP: tl.constexpr,
):  # fmt: skip
    """Move the centers of a run by the rules of `lloyd.moves`, and tell its status; if a cluster is empty, all stay."""
    squared = tl.zeros([], tl.float64)
    n_empty = 0
    for start in range(0, n_clusters, CLUSTERS):
        clusters = start + tl.arange(0, CLUSTERS)
        weights, old, means, _ = _moved(totals, centers, clusters, n_clusters, D, SNAP)
        n_empty += tl.sum((weights <= 0).to(tl.int32))
        shifts = means - old
        squared += tl.sum(shifts * shifts)
    ending = tl.full([], EMPTY, tl.int32)
    if n_empty == 0:
        close = (squared <= limit) | ((changes == 0) & (relaxation == 1))
        ending = tl.where(is_last, OUT_OF_TIME, GOING)
        ending = tl.where(close, CLOSE, ending)
        ending = tl.where((changes == 0) & (squared == 0), STILL, ending)
        straight = (ending != GOING) | (changes == 0)
        for start in range(0, n_clusters, CLUSTERS):
            clusters = start + tl.arange(0, CLUSTERS)
            _, old, means, mask = _moved(totals, centers, clusters, n_clusters, D, SNAP)
            place = clusters[:, None] * D + tl.arange(0, 4)[None, :]
            last = tl.load(moves + place, mask=mask, other=0)
            shifts = means - old
            onward = tl.sum(shifts * last, axis=1)[:, None] > 0
            further = old + relaxation * shifts + tl.where(onward, momentum * last, 0.0)
            new = tl.where(straight, means, _snapped(further, SNAP))
            tl.store(moves + place, new - old, mask=mask)
            tl.store(centers + place, new, mask=mask)
    return ending


@triton.jit(do_not_specialize=["n_clusters", "n_parts", "max_iter"])
def move_centers_kernel(
    totals,
    n_changed,
    status,
    centers,
    moves,
    n_iter,
    limits,
    n_clusters,
    n_parts,
    max_iter,
    RELAXATION: tl.constexpr,
    MOMENTUM: tl.constexpr,
    D: tl.constexpr,
    CLUSTERS: tl.constexpr,
    PARTS: tl.constexpr,
    SNAP: tl.constexpr,
):
    """One run: its centers move, or it ends."""
    run = tl.program_id(0)
    if tl.load(status + run) == GOING:
        iteration = tl.load(n_iter + run) + 1
        changes = 0
        for start in range(0, n_parts, PARTS):
            rows = start + tl.arange(0, PARTS)
            changes += tl.sum(tl.load(n_changed + run * n_parts + rows, mask=rows < n_parts, other=0))
        ending = move_run(
            totals + run * n_clusters * (D + 1),
            centers + run * n_clusters * D,
            moves + run * n_clusters * D,
            tl.load(limits + run),
            changes,
            iteration >= max_iter,
            n_clusters,
            RELAXATION,
            MOMENTUM,
            D,
            CLUSTERS,
            SNAP,
        )
        tl.debug_barrier()  # all threads have read what thread 0 writes now
        if ending != EMPTY:
            tl.store(n_iter + run, iteration)
        tl.store(status + run, ending)


@triton.jit(do_not_specialize=["n_points", "n_clusters", "n_runs", "problem_stride"])
def inertia_kernel(
    points,
    origin,
    weights,
    centers,
    labels,
    parts,
    n_points,
    n_clusters,
    n_runs,
    problem_stride,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """parts = sum over points of weight times squared distance to the labelled center, program by program."""
    run = tl.program_id(1)
    problem = run // n_runs
    points += problem.to(tl.int64) * problem_stride
    origin += problem * D
    weights += problem.to(tl.int64) * n_points
    labels += run.to(tl.int64) * n_points
    centers += run * n_clusters * D
    total = tl.zeros([], tl.float64)
    for start in range(tl.program_id(0).to(tl.int64) * BLOCK, n_points, tl.num_programs(0) * BLOCK):
        offsets = start + tl.arange(0, BLOCK)
        mask = offsets < n_points
        label = tl.load(labels + offsets, mask=mask, other=0).to(tl.int32)
        distance = tl.zeros([BLOCK], tl.float64)
        for column in tl.static_range(D):
            own = _point_column(points, origin, offsets, mask, column, D)
            apart = own - tl.load(centers + label * D + column)
            distance += apart * apart
        total += tl.sum(tl.load(weights + offsets, mask=mask, other=0) * distance)
    tl.store(parts + run * tl.num_programs(0) + tl.program_id(0), total)
