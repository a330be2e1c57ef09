"""Results as values: in one line, and as arrays."""

import dataclasses

import numpy as np
import pytest
import torch
from conftest import Pixels

from gpuquant import QuantizedImage, quantize


def test_a_line_shows_a_result(china: Pixels) -> None:
    result = quantize(china[:40, :60], 5)
    assert repr(result) == f"QuantizedImage(60 x 40, 5 colors, MSE {result.mse:.2f}, PSNR {result.psnr:.2f} dB)"
    assert repr(quantize(np.zeros((2, 5), np.uint8), 5)) == "QuantizedImage(5 x 2, 1 color, lossless)"
    assert len(repr(quantize(torch.from_numpy(china), 256))) < 80


def results(china: Pixels) -> list[QuantizedImage]:
    clear = np.dstack([china[:9, :7], np.full((9, 7), 99, np.uint8)])
    return [quantize(china, 9), quantize(torch.from_numpy(china), 300), quantize(clear, 4)]


def test_its_array_is_the_picture(china: Pixels) -> None:
    for result in results(china):
        for found in (np.asarray(result), np.array(result), np.asarray(result, np.uint8)):
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, result.to_array())
        wide = np.asarray(result, dtype=np.float32)
        assert wide.dtype == np.float32
        np.testing.assert_array_equal(wide, result.to_array())
        with pytest.raises(ValueError, match="copy"):
            result.__array__(copy=False)


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="NumPy 1 copies nevertheless")
def test_numpy_asks_for_no_copy(china: Pixels) -> None:
    with pytest.raises(ValueError, match="copy"):
        np.asarray(quantize(china, 2), copy=False)


def test_shares_are_those_of_the_counts(china: Pixels) -> None:
    result = quantize(china, 4)
    np.testing.assert_array_equal(result.shares, np.bincount(np.ravel(result.labels)) / china[..., 0].size)
    assert dataclasses.replace(result, mse=0.0).palette is result.palette
