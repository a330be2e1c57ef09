"""Distinct colors with alpha."""

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import with_alpha


def colors_from_alpha_keys(
    keys: Tensor,  # [M] int64
) -> Tensor:  # [M, 4] uint8
    """The inverse of `ops.alpha_keys`."""
    colors = with_alpha(ops.colors_from_keys((keys >> 8).to(torch.int32)))
    colors[:, 3] = keys & 255
    return colors


def distinct_colors(
    colors: Tensor,  # [L, 3 or 4] uint8
    counts: Tensor,  # [L] int64
) -> tuple[Tensor, Tensor, Tensor]:  # [M, 3 or 4] uint8, [M] int64, [L] int64
    """The distinct colors by their alpha and in Z-order, their counts, and which of them each given one is."""
    keys = ops.keys_from_colors(colors[:, :3]).long()
    if colors.shape[1] == 4:
        colors = torch.where(colors[:, 3:] == 0, 0, colors)
        keys = torch.where(colors[:, 3] == 0, 0, keys | colors[:, 3].long() << 24)
    unique, place = torch.unique(keys, return_inverse=True)
    found = torch.zeros(len(unique), colors.shape[1], dtype=torch.uint8, device=colors.device)
    found[place] = colors
    return found, torch.zeros_like(unique, dtype=torch.int64).index_add_(0, place, counts), place
