"""Draws from pixels in their order, against numpy.cumsum over all pixels."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gpuquant.estimator import pixel_draws as pixel_chunks
from gpuquant.estimator.pixel_draws import PixelChunks

Floats = npt.NDArray[np.float64]


@pytest.mark.parametrize("n_pixels", [1, 255, 256, 257, 5000])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_threads", [1, 3], indirect=True)
def test_draws_are_those_of_the_running_sum(
    n_pixels: int, weighted: bool, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_chunks, "CHUNK", 256)
    monkeypatch.setattr(pixel_chunks, "PIECE", 16)
    random = np.random.RandomState(n_pixels)
    ranks = random.randint(0, 40, n_pixels)
    values = random.randint(0, 195_075, 40) * (random.uniform(size=40) < 0.7) + (np.arange(40) == ranks[0])
    weights = random.randint(0, 9, n_pixels) + (np.arange(n_pixels) == 0) if weighted else np.ones(n_pixels)
    chunks = PixelChunks(torch.from_numpy(ranks).int(), 40, torch.from_numpy(weights).double() if weighted else None)
    np.testing.assert_array_equal(chunks.totals(), np.bincount(ranks, weights, 40))
    running: Floats = np.cumsum(weights * values[ranks]).astype(np.float64)
    uniforms = np.concatenate([random.uniform(size=30), running[:: max(1, n_pixels // 30)] / running[-1]])
    expected = np.searchsorted(running, uniforms * running[-1])
    drawn = chunks.draw(torch.from_numpy(values).double(), uniforms)
    np.testing.assert_array_equal(drawn, ranks[expected.clip(max=n_pixels - 1)])
