"""Emulation of breathing k-means, cycle by cycle by the loops of the CPU."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gpuquant import ops
from gpuquant.clustering.breathing import breathe
from gpuquant.ops.lloyd.cuda_grid_cycles import HEAD, RESULTS_FIRST, SHARED_ROWS
from gpuquant.ops.lloyd.grid_state import GRID
from played.emulations import Grid, emulates


class _Given:
    """Numbers that were drawn before, in place of a generator."""

    def __init__(self, uniforms: npt.NDArray[np.float64]) -> None:
        self._uniforms, self.n_used = uniforms, 0

    def random_sample(self, number: int) -> npt.NDArray[np.float64]:
        self.n_used += number
        assert self.n_used <= len(self._uniforms), "the kernel would have told that there are too few"
        return self._uniforms[self.n_used - number : self.n_used]


@emulates("breathe_kernel")
def breathe_at_once(grid: Grid, a: SimpleNamespace) -> None:
    given = a.numbers[RESULTS_FIRST:]
    starts, n_added = given[: 3 * a.n_clusters], given[3 * a.n_clusters :][: a.n_cycles]
    assert grid[0] <= -(-a.n_points // a.TILE)
    assert a.n_clusters + int(n_added.max()) <= a.LANES
    assert len(a.shared) == HEAD + SHARED_ROWS * a.LANES
    assert len(a.own) >= grid[0] * a.OWN_ROWS * a.LANES + 3 * a.n_points / 2
    assert len(given) == 3 * a.n_clusters + a.n_cycles + a.n_uniforms
    assert not a.shared.any()
    draws: Any = _Given(given[3 * a.n_clusters + a.n_cycles :].numpy())
    points = ops.grid_points(a.points, a.weights)
    centers, error = breathe(points, starts.view(-1, 3) / GRID, n_cycles=a.n_cycles, draws=draws)
    starts.copy_(centers.reshape(-1) * GRID)
    a.numbers[:RESULTS_FIRST] = torch.tensor([error * GRID**2, draws.n_used])
    a.found, a.n_added = centers, n_added.tolist()
