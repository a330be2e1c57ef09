"""Merging of clusters, compiled and as Triton code, against a search through all pairs in NumPy."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import needs_numba

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
ENTRY = 4


def problem(seed: int) -> tuple[Integers, Integers, int]:
    """Sums of levels, weights, and how many clusters to keep; many pairs cost the same."""
    random = np.random.RandomState(seed)
    n_clusters = random.randint(3, 24)
    n_kept = random.randint(1, n_clusters)
    weights = random.randint(0 if seed % 3 == 0 else 1, 2 + seed % 3, n_clusters)
    sums = random.randint(0, 2 + seed % 5, (n_clusters, 3)) * [1, 2, 4, 8][seed % 4] * weights[:, None]
    if seed % 7 == 0:
        sums += random.randint(0, 3, (n_clusters, 3)) * (weights[:, None] > 0)
    return sums, weights, n_kept


def costs_of(sums: Floats, weights: Floats) -> Floats:  # [N, N]
    """By how much the error rises if two clusters share a center that is rounded to an entry."""

    def error(sums: Floats, weights: Floats) -> Floats:
        means = sums / np.maximum(weights, 1)[..., None]
        off: Floats = np.square(means - np.round(means / ENTRY) * ENTRY).sum(axis=-1)
        return weights * off

    means, both = sums / np.maximum(weights, 1)[:, None], weights[:, None] + weights
    rises = np.square(means[:, None] - means).sum(axis=2) * (weights[:, None] * weights / np.maximum(both, 1))
    now = error(sums, weights)
    rises = rises + (error(sums[:, None] + sums, both) - (now[:, None] + now))
    return np.where(weights[:, None] * weights > 0, rises, 0.0)


def places_by_numpy(sums: Integers, weights: Integers, n_kept: int) -> list[int]:
    """The cluster in which each one is at last; each time all pairs are looked at."""
    totals, sizes, places = sums.astype(float), weights.astype(float), np.arange(len(weights))
    while len(sizes) > n_kept:
        costs = costs_of(totals, sizes)
        costs[np.tril_indices(len(costs))] = np.inf
        kept, gone = divmod(int(np.argmin(costs)), len(costs))
        totals[kept] += totals[gone]
        sizes[kept] += sizes[gone]
        totals, sizes = np.delete(totals, gone, axis=0), np.delete(sizes, gone)
        places = np.where(places == gone, kept, places)
        places -= places > gone
    return places.tolist()


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


@pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")
@pytest.mark.parametrize("seed", [14, 65, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(13))])
def test_a_kernel_merges_as_by_numpy(seed: int) -> None:
    """The first seeds are such as tell apart a lower bound of costs that is not lowered, and ties that go astray."""
    pytest.importorskip("triton", reason="Triton is made for Linux")
    from merging_kernel import LANES, merge_alone_kernel

    sums, weights, n_kept = problem(seed)
    n = len(weights)
    rows = torch.zeros(4, LANES, dtype=torch.int64)
    rows[:3, :n], rows[3, :n] = torch.from_numpy(sums.T), torch.from_numpy(weights)
    longs, floats, ints = (
        torch.zeros(n, LANES, dtype=kind) for n, kind in ((4, torch.int64), (5, torch.float64), (9, torch.int32))
    )
    given = [tensor.to(DEVICE) for tensor in (rows, floats, ints, longs)]
    merge_alone_kernel[(1,)](*given, n, n_kept, LANES=LANES, enable_fp_fusion=False)
    assert given[2][-1, :n].tolist() == places_by_numpy(sums, weights, n_kept)
    merged = np.array([[*sums[of].sum(axis=0), weights[of].sum()] for of in members(given[2][-1, :n].tolist())])
    np.testing.assert_array_equal(given[3][:, :n_kept].cpu().numpy().T, merged)


def members(places: list[int]) -> list[list[int]]:
    """The clusters at each place."""
    return [[one for one, place in enumerate(places) if place == wanted] for wanted in range(max(places) + 1)]
