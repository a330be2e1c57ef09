"""24-bit codes of colours: the bin of the counting table, and the Z-order that keeps neighbours together."""

import torch
from torch import Tensor

N_CODES = 1 << 24


def codes_from_colors(
    colors: Tensor,  # [M, 3] uint8
) -> Tensor:  # [M] int32, red in the lowest byte
    """Pack R, G and B into one integer, red lowest: what a little-endian load of three bytes gives."""
    channels = colors.to(torch.int32)
    return channels[:, 0] | (channels[:, 1] << 8) | (channels[:, 2] << 16)


def colors_from_codes(
    codes: Tensor,  # [M] int32
) -> Tensor:  # [M, 3] uint8
    """The inverse of `codes_from_colors`."""
    return torch.stack([codes & 255, (codes >> 8) & 255, codes >> 16], dim=1).to(torch.uint8)


def z_order(
    colors: Tensor,  # [M, 3] uint8
) -> Tensor:  # [M] int32
    """Interleave the bits of R, G and B (Morton's Z-order curve).

    Colours that are close in this order are close in the colour cube, and all colours of a cell of side 2^b
    share the leading 24 - 3 b bits.
    """
    spread = _spread_bits(colors.device)
    index = colors.to(torch.int64)
    return spread[index[:, 0]] | (spread[index[:, 1]] << 1) | (spread[index[:, 2]] << 2)


def _spread_bits(device: torch.device) -> Tensor:  # [256] int32: bit b of the level moves to bit 3 b
    levels = torch.arange(256, dtype=torch.int32, device=device)
    spread = torch.zeros_like(levels)
    for bit in range(8):
        spread |= ((levels >> bit) & 1) << (3 * bit)
    return spread
