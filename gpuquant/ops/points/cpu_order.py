"""Places of colors in Z-order, and colors sorted by them, digit by digit, as compiled loops."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.points.colors import STEP_BITS
from gpuquant.ops.points.spread_bits import SPREAD, SPREAD_TO_4

N_DIGITS = 3  # of 8 bits, or, for four columns, of 11: the places that are written to at a time stay in the cache

Array = npt.NDArray[Any]


def in_z_order(
    colors: Tensor,  # [M, D] uint8, or int16: steps
) -> Tensor:  # [M] int64
    """The places of colors in Z-order, those of equal whole levels in their order."""
    given = colors.contiguous().numpy()
    keys, order = np.empty((2, len(given)), np.uint32)
    _write_places(given, 0 if given.dtype == np.uint8 else STEP_BITS, keys, order)
    return torch.from_numpy(sorted_by_keys(keys, order, -(-8 * given.shape[1] // N_DIGITS))[1].astype(np.int64))


def sorted_by_keys(
    keys: Array,  # [M] uint32, of N_DIGITS digits; overwritten
    places: Array,  # [M] uint32, or [0]; overwritten
    n_bits: int,  # of a digit
) -> tuple[Array, Array]:
    """Keys in ascending order, and their places; equal ones stay in their order."""
    other_keys, other_places = np.empty_like(keys), np.empty_like(places)
    for digit in range(N_DIGITS):
        _sort_digit(keys, places, digit * n_bits, np.zeros((1 << n_bits) + 1, np.int64), other_keys, other_places)
        keys, places, other_keys, other_places = other_keys, other_places, keys, places
    return keys, places


@compiled
def is_in_z_order(
    colors: Array,  # [M, D] uint8, or int16: steps
    below: int,  # how many bits there are below those of a level, which then begins at -128
) -> bool:
    """Tell whether no color comes after one that it precedes in Z-order."""
    before = np.int64(0)
    for place in range(len(colors)):
        key = _key_of_steps(colors, place, below)
        if key < before:
            return False
        before = key
    return True


@compiled
def _write_places(
    colors: Array,  # [M, D]
    below: int,
    keys: Array,  # [M] uint32: written
    places: Array,  # [M] uint32: written
) -> None:
    for place in range(len(colors)):
        keys[place], places[place] = _key_of_steps(colors, place, below), place


@written_out
def _key_of_steps(colors: Array, place: int, below: int) -> Any:
    key, n_axes, lowest = np.int64(0), colors.shape[1], 128 if below else 0
    for axis in range(n_axes):
        level = np.uintp((colors[place, axis] >> below) + lowest)
        key |= np.int64(SPREAD[axis, level] if n_axes == 3 else SPREAD_TO_4[axis, level])
    return key


@compiled
def _sort_digit(
    keys: Array,  # [M] uint32
    places: Array,  # [M] uint32, or [0]
    shift: int,
    starts: Array,  # [number of digits + 1] int64: all 0
    sorted_keys: Array,  # [M] uint32: written
    sorted_places: Array,  # [M] uint32: written
) -> None:
    """Sort by a digit; equal ones stay in their order."""
    mask, has_places = len(starts) - 2, len(places) > 0
    for one in range(np.uintp(len(keys))):
        starts[(keys[one] >> shift & mask) + 1] += 1
    for digit in range(1, len(starts)):
        starts[digit] += starts[digit - 1]
    for one in range(np.uintp(len(keys))):
        own = np.uintp(keys[one] >> shift & mask)
        to = np.uintp(starts[own])
        sorted_keys[to] = keys[one]
        if has_places:
            sorted_places[to] = places[one]
        starts[own] += 1
