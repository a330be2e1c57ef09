"""Figures of quality."""

import math

import torch
from torch import Tensor

from gpuquant.colors.alpha import weighted_by_alpha

COLORS_AT_ONCE = {"cpu": 1 << 13, "cuda": 1 << 22}  # on the CPU what fits the cache; on CUDA launches are few


def psnr(
    mse: float,  # mean over pixels of the sum over R, G, B of squared 8-bit differences
    n_channels: int = 3,
) -> float:  # dB
    """Peak signal-to-noise ratio, 10 log10(255^2 / (mse / 3)); infinite for identical pictures."""
    return math.inf if mse == 0 else 10 * math.log10(255**2 / (mse / n_channels))


def squared_error(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
    palette: Tensor,  # [K, 3] or [K, 4] uint8
    labels: Tensor,  # [M] int32
    counts: Tensor,  # [M] int64
) -> float:
    """The sum over pixels of squared distances to entries, in four columns weighted by alpha where there is one."""
    points = (weighted_by_alpha if colors.shape[1] == 4 else Tensor.int)(colors)
    entries = (weighted_by_alpha if colors.shape[1] == 4 else Tensor.int)(palette)
    step = COLORS_AT_ONCE[colors.device.type]
    sums = []
    for start in range(0, len(colors), step):
        part = slice(start, start + step)
        apart = (points[part] - entries.index_select(0, labels[part])).square_().sum(dim=1)
        sums.append((apart.double() * counts[part]).sum())  # whole numbers below 2^53, up to 46 gigapixels
    return float(torch.stack(sums).sum()) if sums else 0.0
