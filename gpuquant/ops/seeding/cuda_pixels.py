"""Greedy k-means++ among colors of which pixels are drawn, in their order, as Triton kernels: three launches a center.

The first one draws the candidates and measures how low each would bring the potential; the second adds the best one;
the third sums up the shares of the pixels. Nothing comes back to the host before the end.
"""

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.ops.cuda_launches import Launches
from gpuquant.ops.lloyd.cuda import n_programs
from gpuquant.ops.seeding.cuda_draws import (
    PARTS,
    WIDTH,
    best_candidate,
    draw_items,
    pixel_shares,
    squared_distance,
)

CHUNK = 512  # pixels, or points: a draw looks at all of one
PER_PROCESSOR = 2  # programs that try candidates: 128 of 65,536 registers for each of 256 threads
SUMMING = 4  # programs of a multiprocessor that sum up shares: every draw looks at the sums of all
TRY_OPTIONS = {"num_warps": 8, "maxnreg": 128}
ADD_OPTIONS = {"num_warps": 4, "maxnreg": 128}


@triton.jit(do_not_specialize=["n_points", "n_pixels", "n_draw_parts", "n_candidates", "uniform", "n_known"])
def try_pixels_kernel(
    points,  # [M, D]
    weights,  # [M] float64
    closest,  # [M] float64
    uniforms,
    pixel_weights,
    ranks,  # [N] int32
    draw_sums,  # [parts of pixels] float64
    chunk_sums,  # [chunks of pixels] float64
    candidates,  # [LANES] int64: written, unless they are known
    part_sums,  # [LANES, programs] float64: written
    n_points,
    n_pixels,
    n_draw_parts,
    n_candidates,
    uniform,
    n_known,
    WEIGHTED: tl.constexpr,
    LANES: tl.constexpr,
    D: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
    PARTS: tl.constexpr,
):
    """candidates = the points of pixels drawn for some uniform numbers, and what the potential would be."""
    lane = tl.arange(0, LANES)
    drawn = tl.load(candidates + lane, mask=lane < n_known, other=0)
    if n_known == 0:
        pixels = draw_items(
            uniforms + uniform,
            pixel_weights,
            closest,
            ranks,
            tl.zeros([], tl.int64),
            1,
            draw_sums,
            chunk_sums,
            n_pixels,
            n_draw_parts,
            lane,
            n_candidates,
            True,
            WEIGHTED,
            D,
            CHUNK,
            WIDTH,
            PARTS,
        )
        drawn = tl.load(ranks + pixels).to(tl.int64)
        if tl.program_id(0) == 0:
            tl.store(candidates + lane, drawn)
    total = tl.zeros([LANES], tl.float64)
    for start in range(tl.program_id(0).to(tl.int64) * CHUNK, n_points, tl.num_programs(0) * CHUNK):
        offsets = start + tl.arange(0, CHUNK)
        mask = offsets < n_points
        weight = tl.load(weights + offsets, mask=mask, other=0)
        nearest = tl.load(closest + offsets, mask=mask, other=0)
        for candidate in range(n_candidates):
            index = tl.sum(tl.where(lane == candidate, drawn, 0))
            distance = squared_distance(points, offsets, mask, index, D)
            total += tl.where(lane == candidate, tl.sum(weight * tl.minimum(nearest, distance.to(tl.float64))), 0.0)
    places = part_sums + lane * tl.num_programs(0) + tl.program_id(0)
    tl.store(places, tl.where(lane < n_candidates, total, float("inf")))


@triton.jit(do_not_specialize=["n_points", "step"])
def add_best_kernel(
    points,
    closest,
    candidates,
    part_sums,
    chosen,  # [K] int64: written
    reached,  # [1] float64: written
    n_points,
    step,
    LANES: tl.constexpr,
    D: tl.constexpr,
    CHUNK: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Lower the closest distances by the candidate with the lowest potential."""
    n_parts = tl.num_programs(0)
    index, _, potential = best_candidate(part_sums, candidates, n_parts, tl.arange(0, LANES), PARTS, LANES)
    if tl.program_id(0) == 0:
        tl.store(chosen + step, index)
        tl.store(reached, potential)
    for start in range(tl.program_id(0).to(tl.int64) * CHUNK, n_points, n_parts * CHUNK):
        offsets = start + tl.arange(0, CHUNK)
        mask = offsets < n_points
        nearest = tl.load(closest + offsets, mask=mask, other=0)
        distance = squared_distance(points, offsets, mask, index, D)
        tl.store(closest + offsets, tl.minimum(nearest, distance.to(tl.float64)), mask=mask)


@triton.jit(do_not_specialize=["n_pixels"])
def sum_shares_kernel(
    pixel_weights, ranks, closest, draw_sums, chunk_sums, n_pixels, WEIGHTED: tl.constexpr, CHUNK: tl.constexpr
):  # fmt: skip
    """Sum up the shares of pixels, chunk by chunk and part by part."""
    n_chunks = (n_pixels - 1) // CHUNK + 1
    per_part = (n_chunks + tl.num_programs(0) - 1) // tl.num_programs(0)
    first = tl.program_id(0) * per_part
    total = tl.zeros([], tl.float64)
    for chunk in range(first, tl.minimum(first + per_part, n_chunks)):
        place = chunk * CHUNK + tl.arange(0, CHUNK)
        valid = tl.arange(0, CHUNK) < n_pixels - chunk * CHUNK
        in_chunk = tl.sum(pixel_shares(pixel_weights, ranks, closest, place, valid, WEIGHTED))
        tl.store(chunk_sums + chunk, in_chunk)
        total += in_chunk
    tl.store(draw_sums + tl.program_id(0), total)


def choose_pixels(
    colors: Tensor,  # [M, D] uint8 or floating-point
    totals: Tensor,  # [M] float64: the summed weights of the pixels of each color
    ranks: Tensor,  # [N] int32: the color of each pixel
    weights: Tensor | None,  # [N] float64; None: all are 1
    first: int,  # the color of the first center
    uniforms: npt.NDArray[np.float64],  # [K - 1, L] in [0, 1)
) -> tuple[Tensor, Tensor]:  # [K] int64, indices of colors; [1] float64, the potential that they reach
    """Choose K of the colors."""
    device, (n_points, n_columns), n_pixels = colors.device, colors.shape, len(ranks)
    n_clusters, n_candidates = len(uniforms) + 1, uniforms.shape[1]
    lanes, is_weighted = triton.next_power_of_2(max(n_candidates, 1)), weights is not None
    n_parts = n_programs(-(-n_points // CHUNK), device, PER_PROCESSOR)
    n_draw_parts = n_programs(-(-n_pixels // CHUNK), device, SUMMING)
    points, pixel_weights = colors.contiguous(), totals if weights is None else weights
    numbers = torch.from_numpy(np.append(uniforms, 0.0)).to(device, non_blocking=True)
    closest = torch.full((n_points,), torch.inf, dtype=torch.float64, device=device)
    draw_sums, chunk_sums = closest.new_empty(n_draw_parts), closest.new_empty(-(-n_pixels // CHUNK))
    part_sums, reached = closest.new_empty(lanes, n_parts), closest.new_empty(1)
    candidates = torch.full((lanes,), first, dtype=torch.int64, device=device)
    chosen = torch.empty(n_clusters, dtype=torch.int64, device=device)
    shared = {"LANES": lanes, "D": n_columns, "CHUNK": CHUNK}
    given, parts = {"WEIGHTED": is_weighted}, {"PARTS": PARTS}
    try_them = Launches(try_pixels_kernel, (n_parts, 1), given | shared | {"WIDTH": WIDTH} | parts, **TRY_OPTIONS)
    add_best = Launches(add_best_kernel, (n_parts, 1), shared | parts, **ADD_OPTIONS)
    sum_up = Launches(sum_shares_kernel, (n_draw_parts, 1), given | {"CHUNK": CHUNK})
    with torch.cuda.device_of(closest):  # Triton launches on the current device
        for step in range(n_clusters):
            n_tried, n_known = (n_candidates, 0) if step else (1, 1)
            sums = draw_sums, chunk_sums
            place = max(step - 1, 0) * n_candidates
            sizes = n_points, n_pixels, n_draw_parts, n_tried, place, n_known
            try_them(points, totals, closest, numbers, pixel_weights, ranks, *sums, candidates, part_sums, *sizes)
            add_best(points, closest, candidates, part_sums, chosen, reached, n_points, step)
            if step + 1 < n_clusters:
                sum_up(pixel_weights, ranks, closest, *sums, n_pixels)
    return chosen, reached
