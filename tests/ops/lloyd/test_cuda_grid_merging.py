"""Merging of clusters as Triton code, in the interpreter, against a search through all pairs in NumPy."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="Triton is made for Linux")

from merging_kernel import LANES, merge_alone_kernel
from merging_oracle import places_by_numpy, problem

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


@pytest.mark.parametrize("seed", [14, 65, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(13))])
def test_a_kernel_merges_as_by_numpy(seed: int) -> None:
    """The first seeds are such as tell apart a lower bound of costs that is not lowered, and ties that go astray."""
    sums, weights, n_kept = problem(seed)
    n = len(weights)
    rows = torch.zeros(4, LANES, dtype=torch.int64)
    rows[:3, :n], rows[3, :n] = torch.from_numpy(sums.T), torch.from_numpy(weights)
    longs, floats, ints = (
        torch.zeros(n_rows, LANES, dtype=kind)
        for n_rows, kind in ((4, torch.int64), (5, torch.float64), (9, torch.int32))
    )
    given = [tensor.to(DEVICE) for tensor in (rows, floats, ints, longs)]
    merge_alone_kernel[(1,)](*given, n, n_kept, LANES=LANES, enable_fp_fusion=False)
    assert given[2][-1, :n].tolist() == places_by_numpy(sums, weights, n_kept)
    merged = np.array([[*sums[of].sum(axis=0), weights[of].sum()] for of in members(given[2][-1, :n].tolist())])
    np.testing.assert_array_equal(given[3][:, :n_kept].cpu().numpy().T, merged)


def members(places: list[int]) -> list[list[int]]:
    """The clusters at each place."""
    return [[one for one, place in enumerate(places) if place == wanted] for wanted in range(max(places) + 1)]
