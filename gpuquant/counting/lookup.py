"""From pixels to labels: one lookup table over all colors, one pass over the pixels."""

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.codes import N_CODES, codes_from_colors


def map_pixels(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8, every color of it among `colors`
    colors: Tensor,  # [M, 3] uint8, distinct
    labels: Tensor,  # [M] int32, 0..65535: the label of each color
    *,
    wide: bool,
    chunk_size: int | None = None,
) -> Tensor:  # [N] uint8, or uint16 where wide
    """Give every pixel the label of its color."""
    table = lookup_table_of(colors, labels, wide=wide)
    return ops.apply_lookup(pixels, table, chunk_size=chunk_size)


def lookup_table_of(
    colors: Tensor,  # [M, 3] uint8, distinct
    labels: Tensor,  # [M] int32, 0..65535
    *,
    wide: bool,
) -> Tensor:  # [2^24] uint8, or uint16 where wide; other entries are undefined
    """A table from color codes to labels."""
    # uint16 has few operations in torch; int16 has the same bits
    lookup_table = torch.empty(N_CODES, dtype=torch.int16 if wide else torch.uint8, device=colors.device)
    lookup_table[codes_from_colors(colors).to(torch.int64)] = labels.to(lookup_table.dtype)
    return lookup_table.view(torch.uint16) if wide else lookup_table
