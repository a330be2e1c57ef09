"""Distinct colors with alpha, counted.

Nearly all pixels of most pictures are opaque or clear: these go by way of the table of 2^24 colors. Only what is
partly transparent is sorted, chunk by chunk.
"""

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import OPAQUE, with_alpha

CHUNK_PIXELS = 1 << 23  # temporary numbers stay below half a gigabyte


def count_alpha_colors(
    pixels: Tensor,  # [N, 4] uint8
) -> tuple[Tensor, Tensor]:  # [M, 4] uint8, distinct; counts [M] int64
    """Count every distinct color exactly; all clear pixels are one, (0, 0, 0, 0)."""
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {"opaque": [], "partly": []}
    n_clear = 0
    for chunk in pixels.split(CHUNK_PIXELS):
        alpha = chunk[:, 3]
        opaque = alpha == OPAQUE
        if bool(opaque.any()):
            parts["opaque"].append(ops.count_colors(chunk[opaque][:, :3].contiguous()))
        partly = (alpha > 0) & ~opaque
        n_clear += int((alpha == 0).sum())
        parts["partly"].append(torch.unique(alpha_codes(chunk[partly]), return_counts=True))
    codes, counts = ops.add_counts(parts["partly"])
    found = [(codes.view(-1, 1).view(torch.uint8), counts)]
    if parts["opaque"]:
        keys, counts = ops.add_counts(parts["opaque"])
        found.append((with_alpha(ops.colors_from_keys(keys)), counts))
    if n_clear:
        found.append((pixels.new_zeros(1, 4), counts.new_tensor([n_clear])))
    colors, counts = (torch.cat(columns) for columns in zip(*found, strict=True))
    return colors, counts


def alpha_codes(
    colors: Tensor,  # [M, 4] uint8
) -> Tensor:  # [M] int32
    """One integer for each color with its alpha: the bits of its four bytes."""
    return colors.contiguous().view(torch.int32).view(-1)


def distinct_colors(
    colors: Tensor,  # [L, 3 or 4] uint8
    counts: Tensor,  # [L] int64
) -> tuple[Tensor, Tensor, Tensor]:  # [M, 3 or 4] uint8, [M] int64, [L] int64
    """The distinct colors by their alpha and in Z-order, their counts, and which of them each given one is."""
    keys = ops.keys_from_colors(colors[:, :3])
    if colors.shape[1] == 4:
        colors = torch.where(colors[:, 3:] == 0, 0, colors)
        keys = torch.where(colors[:, 3] == 0, 0, keys.long() | colors[:, 3].long() << 24)
    unique, place = torch.unique(keys, return_inverse=True)
    found = torch.zeros(len(unique), colors.shape[1], dtype=torch.uint8, device=colors.device)
    found[place] = colors
    return found, torch.zeros_like(unique, dtype=torch.int64).index_add_(0, place, counts), place
