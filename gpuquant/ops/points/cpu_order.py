"""Colors sorted into Z-order by compiled loops, digit by digit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled

STEP_BITS = 8  # that of `points.colors`, as Numba's cache looks at no other file
N_DIGITS = 3  # of 8 bits, or, for four columns, of 11: the places that are written to at a time stay in the cache

Array = npt.NDArray[Any]

_SPREAD = np.array(  # of three columns, and of four
    [[sum((level >> bit & 1) << n * bit for bit in range(8)) for level in range(256)] for n in (3, 4)], np.int64
)


def in_z_order(
    colors: Tensor,  # [M, D] uint8, or int16: steps
) -> Tensor:  # [M] int64
    """The places of colors in Z-order, those of equal whole levels in their order."""
    given = colors.contiguous().numpy()
    n_bits = -(-8 * given.shape[1] // N_DIGITS)
    keys, order, other_keys, other = np.empty((4, len(given)), np.uint32)
    _write_keys(given, 0 if given.dtype == np.uint8 else STEP_BITS, keys, order)
    for digit in range(N_DIGITS):
        _sort_digit(keys, order, digit * n_bits, np.zeros((1 << n_bits) + 1, np.int64), other_keys, other)
        keys, order, other_keys, other = other_keys, other, keys, order
    return torch.from_numpy(order.astype(np.int64))


@compiled
def _write_keys(
    colors: Array,  # [M, D]
    below: int,  # how many bits there are below those of a level, which then begins at -128
    keys: Array,  # [M] uint32: written
    places: Array,  # [M] uint32: written
) -> None:
    lowest, n_axes = 128 if below else 0, colors.shape[1]
    for place in range(len(colors)):
        key = np.int64(0)
        for axis in range(n_axes):
            key |= _SPREAD[n_axes - 3, (colors[place, axis] >> below) + lowest] << axis
        keys[place], places[place] = key, place


@compiled
def _sort_digit(
    keys: Array,  # [M] uint32
    places: Array,  # [M] uint32
    shift: int,
    starts: Array,  # [number of digits + 1] int64: all 0
    sorted_keys: Array,  # [M] uint32: written
    sorted_places: Array,  # [M] uint32: written
) -> None:
    """Sort by a digit; equal ones stay in their order."""
    mask = len(starts) - 2
    for one in range(len(keys)):
        starts[(keys[one] >> shift & mask) + 1] += 1
    for digit in range(1, len(starts)):
        starts[digit] += starts[digit - 1]
    for one in range(len(keys)):
        digit = keys[one] >> shift & mask
        to = starts[digit]
        sorted_keys[to], sorted_places[to] = keys[one], places[one]
        starts[digit] = to + 1
