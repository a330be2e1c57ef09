"""Masks hold each rank once, and look as they should."""

import numpy as np
from conftest import script

from gpuquant.dithering.masks import bayer, blue_noise


def test_bayers_matrix() -> None:
    assert bayer(4).tolist() == [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]
    assert sorted(bayer(16).ravel().tolist()) == list(range(256))


def test_blue_noise_is_what_the_script_makes_and_has_no_low_frequencies() -> None:
    mask = blue_noise()
    np.testing.assert_array_equal(script("make_blue_noise").make_mask(), mask)
    assert sorted(mask.ravel().tolist()) == list(range(128 * 128))
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    low = (frequencies > 0) & (frequencies < 0.15)
    white = np.random.default_rng(0).permutation(128 * 128).reshape(128, 128)
    powers = [np.square(np.abs(np.fft.fft2(ranks)))[low].mean() for ranks in (mask, white)]
    assert powers[0] < 0.01 * powers[1]
    for share in (0.1, 0.5):  # the places below a rank are spread evenly, too
        powers = [np.square(np.abs(np.fft.fft2(ranks < share * 128 * 128)))[low].mean() for ranks in (mask, white)]
        assert powers[0] < 0.2 * powers[1]
