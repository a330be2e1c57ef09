"""Running sums against numpy.cumsum."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.estimator import running_sums
from gpuquant.estimator.running_sums import search_equal_shares, search_shares, search_sums


@settings(max_examples=60)
@given(n_values=st.integers(1, 300_000), uniform=st.floats(0, 1, exclude_max=True))
def test_equal_shares_are_searched_as_choice_searches_them(n_values: int, uniform: float) -> None:
    sums = np.cumsum(np.full(n_values, 1 / n_values))
    sums /= sums[-1]
    places = {uniform, *np.nextafter(sums[:: max(1, n_values // 5)], 0), *sums[: -1 : max(1, n_values // 5)]}
    for number in places:
        expected = int(np.searchsorted(sums, number, side="right"))
        assert search_equal_shares(n_values, float(number)) == expected
        assert search_shares(lambda part: np.full(part.stop - part.start, 1 / n_values), n_values, number) == expected


@pytest.mark.parametrize("n_values", [13_684_284, 17_915_904])
def test_equal_shares_of_millions(n_values: int) -> None:
    sums = np.cumsum(np.full(n_values, 1 / n_values))
    sums /= sums[-1]
    for number in np.random.RandomState(0).uniform(size=50):
        assert search_equal_shares(n_values, number) == np.searchsorted(sums, number, side="right")


@settings(max_examples=60)
@given(
    n_values=st.integers(1, 200_000),
    dtype=st.sampled_from([np.float32, np.float64]),
    chunk=st.sampled_from([1, 1000, running_sums.CHUNK]),
    seed=st.integers(0, 99),
)
def test_sums_are_searched_as_numpy_rounds_them(n_values: int, dtype: Any, chunk: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    n_values = min(n_values, 3000 * chunk)
    values, weights = random.uniform(size=(2, n_values)).astype(dtype)
    values[random.uniform(size=n_values) < 0.2] = 0
    sums = np.cumsum(weights * values)
    assert sums.dtype == dtype
    places = sums[random.randint(0, n_values, 5)].astype(np.float64)
    targets = np.concatenate(
        [[0, 2.0 * n_values], places, np.nextafter(places, np.inf), random.uniform(size=3) * sums[-1]]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_sums, "CHUNK", chunk)
        found = search_sums(weights, values, targets)
    assert found == np.searchsorted(sums, targets).clip(max=n_values - 1).tolist()
