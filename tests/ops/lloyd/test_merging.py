"""Merging of clusters by compiled loops, against a search through all pairs in NumPy."""

from typing import Any

import numpy as np
from conftest import needs_numba
from merging_oracle import ENTRY, places_by_numpy, problem


@needs_numba
def test_clusters_are_merged_as_by_numpy() -> None:
    from gpuquant.ops.lloyd import cpu_grid, cpu_grid_merging

    for seed in range(400):
        sums, weights, n_kept = problem(seed)
        n = len(weights)
        state, scratch = cpu_grid._state(n, n), merging_scratch(cpu_grid_merging, n)
        state.labels[:] = np.arange(n)
        state.sums[:] = 0
        state.sums[:n, :3], state.sums[:n, -1] = sums, weights
        cpu_grid_merging.merge(state, n, n_kept, ENTRY, scratch)
        assert state.labels.tolist() == places_by_numpy(sums, weights, n_kept), seed


def merging_scratch(module: Any, n: int) -> Any:
    ints, floats = np.zeros((2, n), np.int32), np.empty((8, n))
    return module.Merging(ints[0], ints[1], floats[:5], *floats[5:])
