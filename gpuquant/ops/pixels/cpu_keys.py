"""Pixels as rows, and colors as keys: compiled loops.

The key of a color is its place in Z-order: neighbors in the color cube share cache lines and pages of a table, and bins
that are swept in their order give the colors in Z-order. Nothing is sorted.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.points.spread_bits import SPREAD

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.int32]


def colors_from_keys(
    keys: Tensor,  # [M] int32
) -> Tensor:  # [M, 3] uint8
    """The colors of Z-order keys."""
    colors = np.empty((len(keys), 3), np.uint8)
    _gather_bits(keys.numpy(), colors)
    return torch.from_numpy(colors)


@compiled
def _gather_bits(keys: Keys, colors: Bytes) -> None:
    for place in range(np.uintp(len(keys))):
        for axis in range(3):
            level = (keys[place] >> axis) & 0x249249  # bit b at bit 3 b
            level = (level | level >> 2) & 0x0C30C3
            level = (level | level >> 4) & 0x00F00F
            colors[place, axis] = level | level >> 8


def keys_from_colors(
    colors: Tensor,  # [M, 3] uint8
) -> Tensor:  # [M] int32
    """The Z-order keys of colors."""
    keys = np.empty(len(colors), np.int32)
    _spread_bits(np.ascontiguousarray(colors.numpy()), keys)
    return torch.from_numpy(keys)


@compiled
def _spread_bits(colors: Bytes, keys: Keys) -> None:
    for place in range(np.uintp(len(colors))):
        keys[place] = key_of(colors, place, 1, 2)


@written_out
def key_of(rows: Bytes, place: Any, green: Any, blue: Any) -> Any:
    """The key of a row's color, whose columns of green and blue are given."""
    return SPREAD[0, rows[place, 0]] | SPREAD[1, rows[place, green]] | SPREAD[2, rows[place, blue]]


def rows_of(pixels: Tensor) -> Bytes:  # [N, 3] or [N] -> [N, 3] or [N, 1]
    """The pixels as loops take them: rows of levels."""
    rows: Bytes = pixels.numpy()
    return rows if rows.ndim == 2 else rows[:, None]


def green_and_blue(rows: Bytes) -> tuple[int, int]:
    """The columns of green and blue: gray has one column for all three."""
    return min(1, rows.shape[1] - 1), min(2, rows.shape[1] - 1)
