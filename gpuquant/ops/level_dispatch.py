"""Operations on floating-point samples that are 8-bit levels: the contract of each, and which implementation runs.

| operation | CPU | CUDA |
| --- | --- | --- |
| `fold_levels` | `levels/cpu_folding`: Numba | `levels/reference` and `count_colors` |
| `rank_keys`, `take_by_keys` | `levels/cpu_folding`: Numba | `levels/reference` |
| `pixel_draws` | `levels/cpu_draws`: Numba | kernels of `choose_among_pixels`, or `levels/reference` |

Where there is no Numba, plain torch does the work on the CPU, too.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from gpuquant.ops import compiled
from gpuquant.ops.levels import reference
from gpuquant.ops.pixel_dispatch import count_colors, keys_from_colors
from gpuquant.ops.point_dispatch import PixelDraws


def fold_levels(
    samples: Tensor,  # [N, D] float32, float64 or uint8, contiguous, N > 0, D from 1 to 4
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None] | None:
    """Recognize samples that are 8-bit levels under one scale: 0..255, k / 255 or k x (1 / 255).

    Returns
    -------
    values [256] float32 or float64, keys [M] int32, sample_keys [N] int32, levels [N] or [0] uint8, counts [M] int64
        What each level is among the samples; the keys of the distinct colors in ascending order; the key of each
        sample; the levels of a fourth column; the number of samples of each color, where they were counted on the way,
        or else None. The key of a color is its place in Z-order; one column has all three levels of its colors, and of
        two columns the second is the third as well. None where some sample is no level.
    """
    if compiled.runs_for(samples):
        from gpuquant.ops.levels import cpu_folding

        folded = cpu_folding.fold_levels(samples)
        return folded and (*folded, None)
    found = reference.read_levels(samples)
    if found is None:
        return None
    values, levels = found
    n_columns = levels.shape[1]
    pixels = levels if n_columns == 3 else levels[:, [0, min(1, n_columns - 1), min(2, n_columns - 1)]]
    keys, counts = count_colors(pixels)
    others = levels[:, 3].contiguous() if n_columns == 4 else torch.zeros(0, dtype=torch.uint8)
    return values, keys, keys_from_colors(pixels), others, counts


def rank_keys(
    sample_keys: Tensor,  # [N] int32; of no use afterwards: its memory may be that of the ranks
    keys: Tensor,  # [M] int32, ascending, those of all samples among them
) -> Tensor:  # [N] int32
    """Find the place of each sample's key among the keys."""
    found: Tensor = _folding_module(keys).rank_keys(sample_keys, keys)
    return found


def take_by_keys(
    values: Tensor,  # [M] int32
    keys: Tensor,  # [M] int32, ascending, those of all samples among them
    sample_keys: Tensor,  # [N] int32; of no use afterwards: its memory may be that of the values found
) -> Tensor:  # [N] int32
    """The value of each sample's key."""
    found: Tensor = _folding_module(keys).take_by_keys(values, keys, sample_keys)
    return found


def _folding_module(values: Tensor) -> ModuleType:
    if not compiled.runs_for(values):
        return reference
    from gpuquant.ops.levels import cpu_folding

    return cpu_folding


def pixel_draws(
    ranks: Tensor,  # [N] int32: the color of each pixel
    n_colors: int,  # M
    weights: Tensor | None = None,  # [N] float64, not negative; None: all are 1
) -> PixelDraws:
    """Prepare draws of pixels in their order; with weights, sums are rounded chunk by chunk."""
    module: Any = reference
    if compiled.runs_for(ranks):
        from gpuquant.ops.levels import cpu_draws

        module = cpu_draws
    draws: PixelDraws = module.PixelDraws(ranks, n_colors, weights)
    return draws
