"""Breathing k-means on 8-bit colors on CUDA: the host's side. `cpu_grid` and `reference_grid` do the same."""

from collections.abc import Sequence

import numpy as np
import torch
import triton
from torch import Tensor

from gpuquant.ops.cuda_meeting import OPTIONS as MEETING
from gpuquant.ops.cuda_meeting import programs_that_meet
from gpuquant.ops.lloyd.cuda_grid_cycles import HEAD, OWN_ROWS, RESULTS_FIRST, SHARED_ROWS, breathe_kernel
from gpuquant.ops.lloyd.grid_state import GRID

MOST_CLUSTERS = 256  # of them and of those that are added, a thread has two
FEWEST_LANES = 32  # of one warp, which needs no others to add up: for up to 16 clusters one kernel
TILE = 256  # points that a program works on at a time, neighbors: their box is small
UNIFORMS = 4  # for each cluster that may be split: some are drawn again and again, and then others are drawn
# with 168 registers some chips spill; without fused operations centers move as on the CPU
OPTIONS = {"num_warps": 8, "maxnreg": 255, "enable_fp_fusion": False, **MEETING}


def constants_for(n_clusters: int) -> dict[str, int]:
    """Choose the constants of the kernel."""
    lanes = max(FEWEST_LANES, 2 * triton.next_power_of_2(n_clusters))  # at most as many clusters are added
    return {"TILE": TILE, "LANES": lanes, "OWN_ROWS": OWN_ROWS}


def breathe(
    points: Tensor,  # [N, 3] uint8, neighbors close together
    weights: Tensor,  # [N] int64
    centers: Tensor,  # [K, 3] float64, on the grid
    n_added: Sequence[int],  # how many centers to add in each cycle, at most
    draws: np.random.RandomState,
) -> tuple[Tensor, float] | None:  # [K, 3] float64, on the host; None: too many clusters, or too few numbers
    """Make all cycles of `clustering.breathing` in one launch: centers with a lower error, and that error."""
    n_points, n_clusters, device = len(points), len(centers), points.device
    if n_clusters > MOST_CLUSTERS:
        return None
    constants = constants_for(n_clusters)
    before, n_uniforms = draws.get_state(), UNIFORMS * sum(n_added)
    parts = np.zeros(RESULTS_FIRST), (centers.cpu().numpy() * GRID).ravel(), n_added, draws.random_sample(n_uniforms)
    numbers = torch.from_numpy(np.concatenate(parts)).to(device, non_blocking=True)
    shared = torch.zeros(HEAD + SHARED_ROWS * constants["LANES"], dtype=torch.int64, device=device)
    grid = (min(triton.cdiv(n_points, TILE), programs_that_meet(device)),)
    n_own = grid[0] * OWN_ROWS * constants["LANES"] + triton.cdiv(3 * n_points, 2)
    own = torch.empty(n_own, dtype=torch.int64, device=device)
    sizes = n_points, n_clusters, len(n_added), n_uniforms
    with torch.cuda.device_of(own):  # Triton launches on the current device
        breathe_kernel[grid](points, weights, numbers, shared, own, *sizes, **constants, **OPTIONS)
    found = numbers.cpu()
    error, n_used = found[:RESULTS_FIRST].tolist()
    draws.set_state(before)
    if n_used < 0:
        return None
    draws.random_sample(int(n_used))
    return found[RESULTS_FIRST:][: 3 * n_clusters].view(centers.shape) / GRID, error / GRID**2
