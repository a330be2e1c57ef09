"""Greedy k-means++ among points as a Triton kernel: a launch a center, or one for all where points are few.

A launch adds the best candidate of the one before, draws new ones, and measures how low each would bring the potential.
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

from gpuquant.ops.cuda_launches import Launches
from gpuquant.ops.lloyd.cuda import n_programs
from gpuquant.ops.seeding.cuda_draws import (
    CHUNK,
    PARTS,
    WIDTH,
    best_candidate,
    draw_items,
    lowered,
)

ALONE = 1 << 12  # points that one program works on in about the time that a launch takes
PER_PROCESSOR = 2  # programs that work side by side: 128 of 65,536 registers for each of 256 threads
DISTANCES = 1 << 12  # that a program works out at once
MANY = 16  # candidates with which it works out half as many: more would spill registers on some chips
LOOK = 64  # centers between two looks of the host whether there are enough: one takes as long as five launches
OPTIONS = {"num_warps": 8, "maxnreg": 128}  # left alone, the compiler spills registers


@triton.jit(do_not_specialize=["n_points", "n_runs", "first", "last", "n_centers", "n_candidates", "n_uniforms"])
def choose_centers_kernel(
    points,  # [B, N, D]
    weights,  # [B, N] float64
    closest,  # [P, N] float64, of uint8 points int64
    numbers,  # [P + P * n_uniforms] float64: potentials below which runs need no more centers, and uniform numbers
    part_sums,  # [P, 2, LANES, programs] float64
    chunk_sums,  # [P, 2, LANES, chunks] float64
    candidates,  # [P, 2, LANES] int64
    found,  # [P, K D + 2] float64, all 0: centers, the potential, and how many centers there are once a run has ended
    n_points,
    n_runs,
    first,
    last,
    n_centers,
    n_candidates,
    n_uniforms,
    LANES: tl.constexpr,
    D: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Steps `first` to `last`: 0 sums up weights, 1 tries the first center, and each adds what the one before found.

    Sums of even and odd steps have their own places. A closest distance may be read before or after another program has
    lowered it: the best candidate lowers it to the same.
    """
    part, n_parts = tl.program_id(0), tl.num_programs(0)
    run = tl.program_id(1).to(tl.int64)
    problem = run // n_runs
    points += problem * n_points * D
    weights += problem * n_points
    closest += run * n_points
    found += run * (n_centers * D + 2)
    n_chunks = (n_points - 1) // CHUNK + 1
    per_part = (n_chunks + n_parts - 1) // n_parts
    lane = tl.arange(0, LANES)
    column = tl.arange(0, 4)
    exact: tl.constexpr = tl.int64 if points.dtype.element_ty == tl.uint8 else tl.float64
    goes_on = tl.load(found + n_centers * D + 1) == 0
    for step in range(first, last):
        now, before = (run * 2 + step % 2) * LANES, (run * 2 + (step + 1) % 2) * LANES
        best = tl.zeros([], tl.int64)
        place = tl.zeros([], tl.int32)
        if goes_on & (step > 1):
            sums = part_sums + before * n_parts
            best, place, potential = best_candidate(sums, candidates + before, n_parts, lane, PARTS, LANES)
            is_last = (step > n_centers) | (potential < tl.load(numbers + run))
            if part == 0:
                levels = tl.load(points + best * D + column, mask=column < D, other=0).to(tl.float64)
                tl.store(found + (step - 2) * D + column, levels, mask=column < D)
                tl.store(found + n_centers * D, potential)
                if is_last:
                    tl.store(found + n_centers * D + 1, step - 1)
            goes_on = goes_on & (is_last == 0)
        if goes_on:
            n_tried = tl.where(step > 1, n_candidates, 1)
            drawn = tl.zeros([LANES], tl.int64)
            if step > 0:
                drawn = draw_items(
                    numbers
                    + tl.num_programs(1)
                    + run * n_uniforms
                    + tl.where(step > 1, 1 + (step - 2) * n_candidates, 0),
                    weights,
                    closest,
                    points,
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
                )
                if part == 0:
                    tl.store(candidates + now + lane, drawn)
            total = tl.zeros([LANES], exact)
            for chunk in range(part * per_part, tl.minimum(part * per_part + per_part, n_chunks)):
                offsets = chunk * CHUNK + tl.arange(0, CHUNK)
                mask = tl.arange(0, CHUNK) < n_points - chunk * CHUNK
                weight = tl.load(weights + offsets, mask=mask, other=0).to(exact)
                if step == 0:
                    in_chunk = tl.where(lane == 0, tl.sum(weight), 0)
                else:
                    distance = _distances(points, offsets, mask, drawn, D)
                    if step > 1:
                        nearest = lowered(points, closest, offsets, mask, best, step - 1, D)
                        tl.store(closest + offsets, nearest, mask=mask)
                        distance = tl.minimum(nearest[None, :], distance)
                    in_chunk = tl.where(lane < n_tried, tl.sum(weight[None, :] * distance, axis=1), 0)
                tl.store(chunk_sums + (now + lane) * n_chunks + chunk, in_chunk.to(tl.float64), mask=lane < n_tried)
                total += in_chunk
            sums = part_sums + (now + lane) * n_parts + part
            tl.store(sums, tl.where(lane < n_tried, total.to(tl.float64), float("inf")))
            tl.debug_barrier()  # what all threads have written is read in the next step, where there is one program


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


def chunk_for(lanes: int) -> int:
    """Choose how many points are measured together: all candidates at once take as many registers."""
    return min(CHUNK, DISTANCES // lanes // (1 + (lanes >= MANY)))


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
        least: Sequence[float] = (),  # [B] or []: a problem needs no more centers once the potential of a run is below
    ) -> tuple[npt.NDArray[np.float64], list[float]]:  # [P, K, D], 0 where no more were needed; [P]
        """Choose K of the points; the potentials that the runs reach."""
        n_problems, n_points, n_columns = self._points.shape
        device, n_all, lanes = self._points.device, len(uniforms), triton.next_power_of_2(n_candidates)
        limits = np.repeat(least or [0.0] * n_problems, self._n_runs)
        n_sharing = n_all if self._points.dtype == torch.uint8 else 1  # float sums do not depend on other runs
        chunk = chunk_for(lanes)
        n_chunks = -(-n_points // chunk)
        n_parts = 1 if n_points <= ALONE else n_programs(n_chunks, device, PER_PROCESSOR, n_sharing)
        numbers = torch.from_numpy(np.append(limits, uniforms)).to(device, non_blocking=True)
        sums = (n_all, 2, lanes, n_parts), (n_all, 2, lanes, n_chunks)
        part_sums, chunk_sums = (torch.empty(s, dtype=torch.float64, device=device) for s in sums)
        number = torch.int64 if self._points.dtype == torch.uint8 else torch.float64
        closest = torch.empty(n_all, n_points, dtype=number, device=device)
        candidates = torch.empty(n_all, 2, lanes, dtype=torch.int64, device=device)
        found = torch.zeros(n_all, n_clusters * n_columns + 2, dtype=torch.float64, device=device)
        constants = {"LANES": lanes, "D": n_columns, "CHUNK": chunk, "WIDTH": WIDTH, "PARTS": PARTS}
        launch = Launches(choose_centers_kernel, (n_parts, n_all), constants, **OPTIONS)
        at_once = n_clusters + 2 if n_parts == 1 else 1
        with torch.cuda.device_of(found):  # Triton launches on the current device
            for step in range(0, n_clusters + 2, at_once):
                launch(
                    self._points,
                    self._weights,
                    closest,
                    numbers,
                    part_sums,
                    chunk_sums,
                    candidates,
                    found,
                    n_points,
                    self._n_runs,
                    step,
                    step + at_once,
                    n_clusters,
                    n_candidates,
                    uniforms.shape[1],
                )
                if limits.min() > 0 and step % LOOK == LOOK - 1 and step + LOOK < n_clusters:
                    lengths = found[:, -1].cpu().numpy().reshape(n_problems, self._n_runs)
                    if (lengths > 0).any(axis=1).all():
                        break
        rows = found.cpu().numpy()
        return rows[:, :-2].reshape(n_all, n_clusters, n_columns), rows[:, -2].tolist()
