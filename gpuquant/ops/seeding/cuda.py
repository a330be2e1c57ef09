"""Greedy k-means++ as Triton kernels: two launches a center, and nothing comes back to the host before the end.

The first launch draws the candidates and measures how low each would bring the potential; the second adds the best one.
A third one sums up the shares of items, such as pixels, where those are drawn in place of points. What all programs
need, they all work out, from the sums of all programs, always added up alike: a few microseconds in place of a launch.
Over distinct colors every sum is exact, and the draws are those of the CPU.
"""

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.ops.lloyd.cuda import n_programs, point_column
from gpuquant.ops.seeding.cuda_draws import CHUNK, WIDTH, draw_items, sum_shares_kernel

PARTS = 64  # sums that are added up together
TRY_OPTIONS = {"num_warps": 8, "maxnreg": 128}  # left alone, the compiler spills registers
ADD_OPTIONS = {"num_warps": 4, "maxnreg": 128}


@triton.jit(do_not_specialize=["n_points", "n_runs", "n_items", "n_draw_parts", "n_candidates", "uniform", "per_run"])
def try_candidates_kernel(
    points,
    origin,
    weights,
    closest,
    uniforms,
    item_weights,
    ranks,
    part_sums,
    chunk_sums,
    candidates,
    potentials,
    n_points,
    n_runs,
    n_items,
    n_draw_parts,
    n_candidates,
    uniform,
    per_run,
    RIGHT: tl.constexpr,
    GIVEN: tl.constexpr,
    RANKED: tl.constexpr,
    WEIGHTED: tl.constexpr,
    LANES: tl.constexpr,
    D: tl.constexpr,
    GROUP: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """candidates = points drawn for some uniform numbers, and what the potential would be, program by program."""
    run = tl.program_id(1)
    problem = run // n_runs
    points += problem.to(tl.int64) * n_points * D
    origin += problem * D
    weights += problem.to(tl.int64) * n_points
    closest += run.to(tl.int64) * n_points
    lane = tl.arange(0, LANES)
    if GIVEN:
        drawn = tl.load(candidates + run * LANES + lane)
    else:
        n_chunks = (n_items + CHUNK - 1) // CHUNK
        per_draw_part = (n_chunks + n_draw_parts - 1) // n_draw_parts
        items = item_weights if RANKED else weights
        drawn = draw_items(
            uniforms + run * per_run + uniform,
            items,
            closest,
            ranks,
            part_sums + run * n_draw_parts,
            chunk_sums + run.to(tl.int64) * n_chunks,
            n_items,
            n_draw_parts,
            per_draw_part,
            lane,
            n_candidates,
            RIGHT,
            RANKED,
            WEIGHTED,
            CHUNK,
            WIDTH,
        )
        if RANKED:
            drawn = tl.load(ranks + drawn).to(tl.int64)
        if tl.program_id(0) == 0:
            tl.store(candidates + run * LANES + lane, drawn)
    total = tl.zeros([LANES], tl.float64)
    for start in range(tl.program_id(0) * CHUNK, n_points, tl.num_programs(0) * CHUNK):
        offsets = start + tl.arange(0, CHUNK)
        mask = offsets < n_points
        weight = tl.load(weights + offsets, mask=mask, other=0)
        nearest = tl.load(closest + offsets, mask=mask, other=0)
        for candidate in range(n_candidates):
            index = tl.sum(tl.where(lane == candidate, drawn, 0))
            distance = _squared_distance(points, origin, offsets, mask, index, D, GROUP)
            total += tl.where(lane == candidate, tl.sum(weight * tl.minimum(nearest, distance)), 0.0)
    own = run * tl.num_programs(0) + tl.program_id(0)
    tl.store(potentials + own * LANES + lane, tl.where(lane < n_candidates, total, float("inf")))


@triton.jit
def _squared_distance(points, origin, offsets, mask, index, D: tl.constexpr, GROUP: tl.constexpr):
    distance = tl.zeros(offsets.shape, tl.float64)
    for column in tl.static_range(D):
        own = point_column(points, origin, offsets, mask, column, D, GROUP)
        apart = own - point_column(points, origin, index, index >= 0, column, D, GROUP)
        distance += apart * apart
    return distance


@triton.jit(do_not_specialize=["n_points", "n_runs", "step", "n_steps"])
def add_best_kernel(
    points,
    origin,
    weights,
    closest,
    candidates,
    potentials,
    chosen,
    reached,
    part_sums,
    chunk_sums,
    n_points,
    n_runs,
    step,
    n_steps,
    LANES: tl.constexpr,
    D: tl.constexpr,
    GROUP: tl.constexpr,
    CHUNK: tl.constexpr,
    PARTS: tl.constexpr,
    SUMMED: tl.constexpr,
):
    """Lower the closest distances by the candidate with the lowest potential, and sum up the shares that follow.

    Before the first center (step -1) shares are weights.
    """
    run = tl.program_id(1)
    problem = run // n_runs
    points += problem.to(tl.int64) * n_points * D
    origin += problem * D
    weights += problem.to(tl.int64) * n_points
    closest += run.to(tl.int64) * n_points
    n_parts = tl.num_programs(0)
    index = tl.zeros([], tl.int64)
    if step >= 0:
        lane = tl.arange(0, LANES)
        totals = tl.zeros([LANES], tl.float64)
        for start in range(0, n_parts, PARTS):
            rows = start + tl.arange(0, PARTS)
            place = (run * n_parts + rows)[:, None] * LANES + lane[None, :]
            totals += tl.sum(tl.load(potentials + place, mask=(rows < n_parts)[:, None], other=0), axis=0)
        best = tl.argmin(totals, axis=0)
        index = tl.sum(tl.where(lane == best, tl.load(candidates + run * LANES + lane), 0))
        if tl.program_id(0) == 0:
            tl.store(chosen + run * n_steps + step, index)
            tl.store(reached + run, tl.min(totals, axis=0))
    n_chunks = (n_points + CHUNK - 1) // CHUNK
    per_part = (n_chunks + n_parts - 1) // n_parts
    first = tl.program_id(0) * per_part
    total = tl.zeros([], tl.float64)
    for chunk in range(first, tl.minimum(first + per_part, n_chunks)):
        offsets = chunk * CHUNK + tl.arange(0, CHUNK)
        mask = offsets < n_points
        shares = tl.load(weights + offsets, mask=mask, other=0)
        if step >= 0:
            nearest = tl.load(closest + offsets, mask=mask, other=0)
            nearest = tl.minimum(nearest, _squared_distance(points, origin, offsets, mask, index, D, GROUP))
            tl.store(closest + offsets, nearest, mask=mask)
            shares *= nearest
        if SUMMED:
            in_chunk = tl.sum(tl.where(mask, shares, 0.0))
            tl.store(chunk_sums + run.to(tl.int64) * n_chunks + chunk, in_chunk)
            total += in_chunk
    if SUMMED:
        tl.store(part_sums + run * n_parts + tl.program_id(0), total)


def width_for(lanes: int) -> int:
    """Choose how many items a draw looks at together."""
    return min(WIDTH, 1024 // lanes)


class KernelSeeding:
    """Greedy k-means++ in P = B x n_runs runs on CUDA tensors.

    Parameters
    ----------
    points, origin, weights, group
        As for `KernelLloyd`.
    n_runs : int
    ranks : Tensor, int32 [N], optional
        Of a single problem: the point of each of N items, such as pixels, from which candidates are drawn in place of
        the points.
    item_weights : Tensor, float64 [N], optional
        1 for every item if not given.
    """

    def __init__(
        self,
        points: Tensor,
        origin: Tensor,
        weights: Tensor,
        *,
        n_runs: int = 1,
        group: int = 1,
        ranks: Tensor | None = None,
        item_weights: Tensor | None = None,
    ) -> None:
        self._points, self._origin, self._weights = points, origin, weights
        self._n_runs, self._group, self._ranks, self._item_weights = n_runs, group, ranks, item_weights
        n_all, device = len(weights) * n_runs, points.device
        n_points = weights.shape[1]
        self._n_items = n_points if ranks is None else len(ranks)
        self._n_parts = n_programs(n_points, device)
        self._n_draw_parts = n_programs(self._n_items, device)
        self._closest = torch.full((n_all, n_points), torch.inf, dtype=torch.float64, device=device)
        self._part_sums = self._closest.new_zeros(n_all, self._n_draw_parts)
        self._chunk_sums = self._closest.new_zeros(n_all, -(-self._n_items // CHUNK))

    def choose(
        self,
        n_clusters: int,
        uniforms: npt.NDArray[np.float64],  # [P, 1 + L (K - 1)], or without the first where that is given
        n_candidates: int,  # L
        first: int | None = None,  # the first center: an index among the points
    ) -> tuple[Tensor, Tensor]:  # [P, K] int64, indices of points; [P] float64, the potentials that they reach
        """Choose K centers among the points."""
        device, n_all = self._closest.device, len(self._closest)
        lanes = triton.next_power_of_2(n_candidates)
        numbers = torch.from_numpy(np.ascontiguousarray(uniforms)).to(device)
        candidates = torch.zeros(n_all, lanes, dtype=torch.int64, device=device)
        potentials = torch.empty(n_all, self._n_parts, lanes, dtype=torch.float64, device=device)
        chosen = torch.zeros(n_all, n_clusters, dtype=torch.int64, device=device)
        reached = torch.zeros(n_all, dtype=torch.float64, device=device)
        with torch.cuda.device_of(numbers):  # Triton launches on the current device
            if first is not None:
                candidates.fill_(first)
            else:
                self._add_best(candidates, potentials, chosen, reached, -1)
            place = 0
            for step in range(n_clusters):
                n_tried = n_candidates if step else 1
                given = step == 0 and first is not None
                self._try(candidates, potentials, numbers, place, n_tried, right=step == 0, given=given)
                place += 0 if given else n_tried
                self._add_best(candidates, potentials, chosen, reached, step)
        return chosen, reached

    def _try(
        self,
        candidates: Tensor,
        potentials: Tensor,
        uniforms: Tensor,
        uniform: int,
        n_candidates: int,
        *,
        right: bool,
        given: bool,
    ) -> None:
        ranks, item_weights = self._ranks, self._item_weights
        try_candidates_kernel[(self._n_parts, len(candidates))](
            self._points,
            self._origin,
            self._weights,
            self._closest,
            uniforms,
            self._weights if item_weights is None else item_weights,
            candidates if ranks is None else ranks,
            self._part_sums,
            self._chunk_sums,
            candidates,
            potentials,
            self._weights.shape[1],
            self._n_runs,
            self._n_items,
            self._n_draw_parts,
            n_candidates,
            uniform,
            uniforms.shape[1],
            RIGHT=right and not given,
            GIVEN=given,
            RANKED=ranks is not None,
            WEIGHTED=ranks is None or item_weights is not None,
            LANES=candidates.shape[1],
            D=self._origin.shape[1],
            GROUP=self._group,
            CHUNK=CHUNK,
            WIDTH=width_for(candidates.shape[1]),
            **TRY_OPTIONS,
        )

    def _add_best(self, candidates: Tensor, potentials: Tensor, chosen: Tensor, reached: Tensor, step: int) -> None:
        add_best_kernel[(self._n_parts, len(candidates))](
            self._points,
            self._origin,
            self._weights,
            self._closest,
            candidates,
            potentials,
            chosen,
            reached,
            self._part_sums,
            self._chunk_sums,
            self._weights.shape[1],
            self._n_runs,
            step,
            chosen.shape[1],
            LANES=candidates.shape[1],
            D=self._origin.shape[1],
            GROUP=self._group,
            CHUNK=CHUNK,
            PARTS=PARTS,
            SUMMED=self._ranks is None,
            **ADD_OPTIONS,
        )
        if self._ranks is not None and step + 1 < chosen.shape[1]:
            sum_shares_kernel[(self._n_draw_parts,)](
                self._weights if self._item_weights is None else self._item_weights,
                self._ranks,
                self._closest,
                self._part_sums,
                self._chunk_sums,
                self._n_items,
                WEIGHTED=self._item_weights is not None,
                CHUNK=CHUNK,
            )
