"""Draws from pixels in their order: compiled loops and plain torch, against numpy.cumsum over all pixels."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from conftest import needs_numba

from gpuquant.ops.levels import cpu_draws, reference

Floats = npt.NDArray[np.float64]
both = pytest.mark.parametrize("module", [pytest.param(cpu_draws, marks=needs_numba), reference])


@pytest.fixture(autouse=True)
def _many_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FEWEST", 16), ("MOST", 256), ("FEW_PIXELS", 300), ("ENTRIES_AT_ONCE", 64)):
        monkeypatch.setattr(cpu_draws, name, value)
    monkeypatch.setattr(reference, "PIXELS_AT_ONCE", 256)


@both
@pytest.mark.parametrize("n_pixels", [1, 255, 256, 257, 5000, 20_000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3], indirect=True)
def test_draws_are_those_of_the_running_sum(module: Any, n_pixels: int, weighted: bool, n_threads: int) -> None:
    random = np.random.RandomState(n_pixels)
    ranks = random.randint(0, 40, n_pixels)
    values = random.randint(0, 260_100, 40) * (random.uniform(size=40) < 0.7) + (np.arange(40) == ranks[0])
    weights = random.randint(0, 9, n_pixels) * 0.25 + (np.arange(n_pixels) == 0) if weighted else np.ones(n_pixels)
    if weighted:
        weights[300:900] = 0  # a chunk without any
    given = torch.from_numpy(weights).double() if weighted else None
    draws = module.PixelDraws(torch.from_numpy(ranks).int(), 40, given)
    np.testing.assert_array_equal(draws.totals(), np.bincount(ranks, weights, 40))
    running: Floats = np.cumsum(weights * values[ranks]).astype(np.float64)
    uniforms = np.concatenate([[0], random.uniform(size=30), running[:: max(1, n_pixels // 30)] / running[-1]])
    uniforms = uniforms[uniforms < 1]
    expected = np.searchsorted(running, uniforms * running[-1])
    drawn = draws.draw(torch.from_numpy(values), uniforms)
    np.testing.assert_array_equal(drawn, ranks[expected.clip(max=n_pixels - 1)])


@both
def test_where_all_values_are_0_the_first_pixel_is_drawn(module: Any) -> None:
    draws = module.PixelDraws(torch.tensor([2, 1, 0] * 200).int(), 3)
    assert draws.draw(torch.zeros(3, dtype=torch.int32), np.array([0.0, 0.99])) == [2, 2]


@both
def test_sums_beyond_32_bits_are_exact(module: Any) -> None:
    """All differences of a million pixels are as large as can be, but of one in the middle."""
    ranks = torch.zeros(1_000_001, dtype=torch.int32)
    ranks[500_000] = 1
    draws = module.PixelDraws(ranks, 2)
    total = 260_100 * 1_000_000 + 1
    assert draws.totals().tolist() == [1_000_000, 1]
    for target, color in ((260_100 * 500_000, 0), (260_100 * 500_000 + 1, 1), (260_100 * 500_000 + 2, 0)):
        assert draws.draw(torch.tensor([260_100, 1]), np.array([target / total])) == [color]
