"""The best of several runs, problem by problem."""

import numpy as np
import pytest
import torch

from gpuquant import ops
from gpuquant.clustering import lloyd as lloyd_module
from gpuquant.clustering.restarts import best_runs

# two pairs: with one center each the inertia is 4 x 0.5^2 = 1, and one more iteration changes nothing
POINTS = torch.tensor([[0.0], [1.0], [10.0], [11.0]], dtype=torch.float64)
GOOD = torch.tensor([[0.5], [10.5]])
BAD = torch.tensor([[3.0], [100.0]])  # after one iteration 11 has a center of its own, and the others share one


@pytest.mark.parametrize("at_once", [1, 3, 1 << 18])
def test_the_lowest_inertia_wins_and_the_first_on_a_tie(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lloyd_module, "TOGETHER", at_once * len(POINTS) * 2)
    points = ops.point_set(torch.stack([POINTS, POINTS + 100]), torch.ones(2, 4, dtype=torch.float64))
    starts = torch.stack([torch.stack([BAD, GOOD, GOOD.flip(0)]), torch.stack([GOOD.flip(0), GOOD, BAD]) + 100])
    first, second = best_runs(points, starts, max_iter=1, tol=0.0)
    assert (first.inertia, second.inertia) == (1.0, 1.0)
    np.testing.assert_array_equal(first.centers, GOOD)
    np.testing.assert_array_equal(second.centers, GOOD.flip(0) + 100)
    np.testing.assert_array_equal(first.labels, [0, 0, 1, 1])
    np.testing.assert_array_equal(second.labels, [1, 1, 0, 0])
    assert first.n_iter == second.n_iter == 1
