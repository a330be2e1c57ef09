"""Integers for colors: the 24-bit code, and the key in Z-order that keeps neighbors together."""

import torch
from torch import Tensor

N_CODES = 1 << 24  # three levels of 8 bits
SPREADING = (8, 0x00F00F), (4, 0x0C30C3), (2, 0x249249)  # shifts and masks: bit b moves to bit 3 b in three steps
SPREADING_TO_4 = (12, 0x000F000F), (6, 0x03030303), (3, 0x11111111)  # or to bit 4 b


def codes_from_colors(
    colors: Tensor,  # [M, 3] uint8
) -> Tensor:  # [M] int32, red in the lowest byte
    """Pack R, G and B into one integer, red lowest: what a little-endian load of three bytes gives."""
    red, green, blue = (colors[:, axis].to(torch.int32) for axis in range(3))
    return red | (green << 8) | (blue << 16)


def colors_from_codes(
    codes: Tensor,  # [M] int32
) -> Tensor:  # [M, 3] uint8
    """The inverse of `codes_from_colors`."""
    return torch.stack([codes & 255, (codes >> 8) & 255, codes >> 16], dim=1).to(torch.uint8)


def z_order(
    colors: Tensor,  # [M, 3] or [M, 4] uint8
) -> Tensor:  # [M] int32, or int64 for four columns
    """Interleave the bits of the columns (Morton's Z-order curve), those of the first one lowest.

    Colors that are close in this order are close in the color cube, and all colors of a cell of side 2^b
    share the leading 24 - 3 b bits, or 32 - 4 b.
    """
    if colors.shape[1] == 3:
        red, green, blue = (_spread_bits(colors[:, axis].to(torch.int32)) for axis in range(3))
        return red | (green << 1) | (blue << 2)
    first, second, third, fourth = (_spread_bits(column.long(), SPREADING_TO_4) for column in colors.unbind(dim=1))
    return first | (second << 1) | (third << 2) | (fourth << 3)


def colors_from_z_order(
    keys: Tensor,  # [M] int32
) -> Tensor:  # [M, 3] uint8
    """The inverse of `z_order`."""
    return torch.stack([_gather_bits(keys >> axis) for axis in range(3)], dim=1).to(torch.uint8)


def _spread_bits(
    levels: Tensor,  # [M], 0..255
    spreading: tuple[tuple[int, int], ...] = SPREADING,
) -> Tensor:  # [M], of the same dtype: bit b moves to bit 3 b, or 4 b
    for shift, mask in spreading:
        levels = (levels | (levels << shift)) & mask
    return levels


def _gather_bits(
    keys: Tensor,  # [M] int32
) -> Tensor:  # [M] int32, 0..255: bit 3 b moves to bit b
    levels = keys & SPREADING[-1][1]
    for (shift, _), mask in zip(SPREADING[::-1], (0x0C30C3, 0x00F00F, 0x0000FF), strict=True):
        levels = (levels | (levels >> shift)) & mask
    return levels
