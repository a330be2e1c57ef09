"""Figures of quality."""

import math


def psnr(
    mse: float,  # mean over pixels of the sum over R, G, B of squared 8-bit differences
    n_channels: int = 3,
) -> float:  # dB
    """Peak signal-to-noise ratio, 10 log10(255^2 / (mse / 3)); infinite for identical pictures."""
    return math.inf if mse == 0 else 10 * math.log10(255**2 / (mse / n_channels))
