"""Sums that are the same in any order."""

import numpy as np
import pytest
import torch

from gpuquant import tensors


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_sums_of_integers_do_not_depend_on_the_order(scale: float) -> None:
    random = np.random.RandomState(0)
    bins, values = random.randint(0, 40, 10_000), scale * random.normal(0, 1, 10_000)
    order = random.permutation(10_000)
    found, shuffled = (
        tensors._sums_of_integers(torch.from_numpy(bins[places]).int(), torch.from_numpy(values[places]), 41)
        for places in (np.arange(10_000), order)
    )
    assert torch.equal(found, shuffled)
    np.testing.assert_allclose(found, np.bincount(bins, values, 41), rtol=1e-9, atol=1e-12 * scale)
    whole = torch.from_numpy(random.randint(0, 2**20, 10_000)).double()
    exact = tensors._sums_of_integers(torch.from_numpy(bins), whole, 41)
    np.testing.assert_array_equal(exact, np.bincount(bins, whole.numpy(), 41))
    assert tensors._sums_of_integers(torch.zeros(3).int(), torch.zeros(3).double(), 1).tolist() == [0]
