"""Greedy k-means++ among points as a Triton kernel: one launch for all centers, whose programs meet after each.

A step adds the best candidate of the one before, draws new ones, and measures how low each would bring the potential.
The sums by which it measures are those by which the next one draws, if the candidate is the best: so nothing waits for
another pass over the points. What all programs need, they all work out, from the sums of all programs, always added up
alike. Over distinct colors every sum is exact, and the draws are those of the CPU.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.ops.cuda_meeting import OPTIONS as MEETING
from gpuquant.ops.cuda_meeting import meet, programs_that_meet
from gpuquant.ops.seeding.cuda_draws import (
    PARTS,
    WIDTH,
    best_candidate,
    draw_items,
    lowered,
)

ALONE = 1 << 10  # points that one program works on in about the time that several take to meet
BLOCK = 512  # points that are measured together, at most
CHUNK = 64  # points whose shares have a sum of their own, all of which a draw looks at (32: spills with Triton 3.3)
DISTANCES = 1 << 12  # that a program works out at once
OPTIONS = {"num_warps": 8, "maxnreg": 255}  # left alone, the compiler takes fewer for some chips, and spills


@triton.jit(do_not_specialize=["n_points", "n_all", "n_runs", "n_centers", "n_candidates", "n_uniforms"])
def choose_centers_kernel(
    points,  # [B, N, D]
    weights,  # [B, N] float64
    numbers,  # float64: found numbers, limits [P]: potentials below which runs need no more centers, uniforms [P, ...]
    own,  # float64: room for the kernel
    n_points,
    n_all,  # P
    n_runs,
    n_centers,
    n_candidates,
    n_uniforms,
    LANES: tl.constexpr,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Step 0 sums up weights, 1 tries the first center, and each adds what the one before found.

    Found numbers, [P, K D + 2], are all 0 at first: centers, the potential, and as int32 how many programs have come to
    a meeting. The room is that of part_sums [P, 2, LANES, programs], chunk_sums [P, 2, LANES, chunks], candidates
    [P, 2, LANES] int64, and closest [P, N], of uint8 points int64.

    The programs of a column of the grid do runs together. They meet once a step: whatever one writes, others read in
    the next step, and it is not written again before the one after that, as even and odd steps have their own places.
    Only the closest distances have one place. One of them may be read before or after another program has lowered it
    in the same step: the best candidate, by which the reader lowers it, too, brings it to the same. All decide alike
    whether a run has ended, so that none is awaited in vain.
    """
    part, n_parts = tl.program_id(0), tl.num_programs(0)
    n_chunks = (n_points - 1) // CHUNK + 1
    per_part = (n_chunks + n_parts - 1) // n_parts * CHUNK
    first = part * per_part
    last = tl.minimum(first + per_part, n_points)
    lane, column, chunk = tl.arange(0, LANES), tl.arange(0, 4), tl.arange(0, BLOCK // CHUNK)
    exact: tl.constexpr = tl.int64 if points.dtype.element_ty == tl.uint8 else tl.float64
    n_lanes = n_all.to(tl.int64) * 2 * LANES
    part_sums = own
    chunk_sums = part_sums + n_lanes * n_parts
    candidates = (chunk_sums + n_lanes * n_chunks).to(tl.pointer_type(tl.int64))
    closest = (candidates + n_lanes).to(tl.pointer_type(exact))
    n_found = n_centers * D + 2
    limits = numbers + n_all.to(tl.int64) * n_found
    run = tl.program_id(1).to(tl.int64)
    while run < n_all:
        problem = run // n_runs
        own_points = points + problem * n_points * D
        own_weights = weights + problem * n_points
        own_closest = closest + run * n_points
        found = numbers + run * n_found
        arrived = (found + n_centers * D + 1).to(tl.pointer_type(tl.int32))
        uniforms = limits + n_all + run * n_uniforms
        step = 0
        n_steps = n_centers + 2
        while step < n_steps:
            now, before = (run * 2 + step % 2) * LANES, (run * 2 + (step + 1) % 2) * LANES
            best = tl.zeros([], tl.int64)
            place = tl.zeros([], tl.int32)
            if step > 1:
                sums = part_sums + before * n_parts
                best, place, potential = best_candidate(sums, candidates + before, n_parts, lane, PARTS, LANES)
                if part == 0:
                    levels = tl.load(own_points + best * D + column, mask=column < D, other=0).to(tl.float64)
                    tl.store(found + (step - 2) * D + column, levels, mask=column < D)
                    tl.store(found + n_centers * D, potential)
                if (step > n_centers) | (potential < tl.load(limits + run)):
                    n_steps = step
            if step < n_steps:
                n_tried = tl.where(step > 1, n_candidates, 1)
                drawn = tl.zeros([LANES], tl.int64)
                if step > 0:
                    drawn = draw_items(
                        uniforms + tl.where(step > 1, 1 + (step - 2) * n_candidates, 0),
                        own_weights,
                        own_closest,
                        own_points,
                        best,
                        step - 1,
                        part_sums + (before + place) * n_parts,
                        chunk_sums + (before + place) * n_chunks,
                        n_points,
                        n_parts,
                        lane,
                        n_tried,
                        False,
                        True,
                        D,
                        CHUNK,
                        WIDTH,
                        PARTS,
                    )
                    if part == 0:
                        tl.store(candidates + now + lane, drawn)
                total = tl.zeros([LANES], exact)
                for start in range(first, last, BLOCK):
                    offsets = start + tl.arange(0, BLOCK)
                    mask = tl.arange(0, BLOCK) < last - start
                    weight = tl.load(own_weights + offsets, mask=mask, other=0).to(exact)
                    distance = _distances(own_points, offsets, mask, drawn, D)
                    if step == 0:
                        distance = tl.zeros_like(distance) + 1
                    if step > 1:
                        nearest = lowered(own_points, own_closest, offsets, mask, best, step - 1, D)
                        tl.store(own_closest + offsets, nearest, mask=mask)
                        distance = tl.minimum(nearest[None, :], distance)
                    shares = tl.reshape(weight[None, :] * distance, [LANES, BLOCK // CHUNK, CHUNK])
                    in_chunks = tl.sum(shares, axis=2)
                    places = (now + lane[:, None]) * n_chunks + start // CHUNK + chunk[None, :]
                    valid = (lane < n_tried)[:, None] & (chunk * CHUNK < last - start)[None, :]
                    tl.store(chunk_sums + places, in_chunks.to(tl.float64), mask=valid)
                    total += tl.sum(in_chunks, axis=1)
                sums = part_sums + (now + lane) * n_parts + part
                tl.store(sums, tl.where(lane < n_tried, total.to(tl.float64), float("inf")))
                meet(arrived, step)
            step += 1
        run += tl.num_programs(1)


@triton.jit
def _distances(points, offsets, mask, drawn, D: tl.constexpr):
    """The squared distances of some points to all candidates at once, [LANES, n], of 8-bit colors as integers."""
    number: tl.constexpr = tl.int32 if points.dtype.element_ty == tl.uint8 else tl.float64
    place = points + offsets.to(tl.int64) * D
    apart = tl.load(place, mask=mask, other=0).to(number)[None, :] - tl.load(points + drawn * D).to(number)[:, None]
    distance = apart * apart
    for column in tl.static_range(1, D):
        own = tl.load(place + column, mask=mask, other=0).to(number)[None, :]
        apart = own - tl.load(points + drawn * D + column).to(number)[:, None]
        distance += apart * apart
    return distance


def block_for(lanes: int) -> int:
    """Choose how many points are measured together: all candidates at once take as many registers."""
    return min(BLOCK, DISTANCES // lanes)


class KernelSeeding:
    """Greedy k-means++ in P = B x n_runs runs on CUDA tensors: run r works on problem r // n_runs.

    Parameters
    ----------
    points : Tensor, uint8, float32 or float64 [B, N, D]
    weights : Tensor, float64 [B, N]
    n_runs : int
    """

    def __init__(self, points: Tensor, weights: Tensor, n_runs: int = 1) -> None:
        self._points, self._weights, self._n_runs = points, weights, n_runs

    def choose(
        self,
        n_clusters: int,  # K
        uniforms: npt.NDArray[np.float64],  # [P, 1 + L (K - 1)]
        n_candidates: int,  # L
        least: Sequence[float] = (),  # [B] or []: the potential below which a run adds no more centers
    ) -> tuple[npt.NDArray[np.float64], list[float]]:  # [P, K, D], 0 where no more were needed; [P]
        """Choose K of the points; the potentials that the runs reach."""
        n_problems, n_points, n_columns = self._points.shape
        device, n_all, lanes = self._points.device, len(uniforms), triton.next_power_of_2(n_candidates)
        is_whole = self._points.dtype == torch.uint8
        block, n_most = block_for(lanes), programs_that_meet(device)
        n_sharing = n_all if is_whole else 1  # float sums do not depend on other runs
        n_parts = 1 if n_points <= ALONE else min(-(-n_points // block), max(1, n_most // n_sharing))
        limits = np.repeat(least or [0.0] * n_problems, self._n_runs)
        rows = np.zeros((n_all, n_clusters * n_columns + 2))
        numbers = torch.from_numpy(np.concatenate([rows, limits, uniforms], axis=None)).to(device, non_blocking=True)
        n_own = n_all * (2 * lanes * (n_parts + triton.cdiv(n_points, CHUNK) + 1) + n_points)
        own = torch.empty(n_own, dtype=torch.float64, device=device)
        with torch.cuda.device_of(own):  # Triton launches on the current device
            choose_centers_kernel[n_parts, min(n_all, n_most // n_parts)](
                self._points,
                self._weights,
                numbers,
                own,
                n_points,
                n_all,
                self._n_runs,
                n_clusters,
                n_candidates,
                uniforms.shape[1],
                LANES=lanes,
                D=n_columns,
                BLOCK=block,
                CHUNK=CHUNK,
                WIDTH=WIDTH,
                PARTS=PARTS,
                **OPTIONS,
                **MEETING,
            )
        rows = numbers.cpu().numpy()[: rows.size].reshape(rows.shape)
        return rows[:, :-2].reshape(n_all, n_clusters, n_columns), rows[:, -2].tolist()
