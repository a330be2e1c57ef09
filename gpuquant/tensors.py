"""Arrays and tensors as each other, and sums that repeat bit by bit."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def as_numpy(values: npt.NDArray[Any] | Tensor) -> npt.NDArray[Any]:
    """The values as a NumPy array on the host."""
    if isinstance(values, Tensor):
        array: npt.NDArray[Any] = values.cpu().numpy()
        return array
    return values


def uint16_as_int16(values: Tensor) -> Tensor:
    """The same memory as int16 if it is uint16, which has few operations in torch: the bits are the same."""
    return viewed_as(values, torch.int16) if values.dtype == torch.uint16 else values


def viewed_as(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The same memory as another type of as many bits."""
    return values if values.dtype == dtype else values.view(dtype)


class _Shared:
    """An array whose memory torch may share although it is read-only: nothing here writes to pixels."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = array.__array_interface__ | {"data": (address, False)}


def shared_tensor(pixels: np.ndarray) -> Tensor:
    """A tensor on the array's own memory, read-only or not; a copy only where the array is not contiguous."""
    return torch.from_numpy(np.asarray(_Shared(np.ascontiguousarray(pixels))))


def repeatable_sums(
    bins: Tensor,  # [N] int32 or int64
    values: Tensor,  # [N] float64
    n_bins: int,
) -> Tensor:  # [n_bins] float64
    """The sum of the values in each bin: in their order on the CPU; elsewhere as integers, whose order does not matter.

    There a value is rounded to a multiple of 2^-60 times the number of values and a power of two above the largest.
    """
    if values.is_cpu:
        return values.new_zeros(n_bins).index_add_(0, bins, values)
    return _sums_of_integers(bins, values, n_bins)


def _sums_of_integers(bins: Tensor, values: Tensor, n_bins: int) -> Tensor:
    n_bits = 61 - len(values).bit_length()
    exponent = torch.frexp(values.abs().max()).exponent
    scale = power_of_two(n_bits - exponent)
    numbers = (values * scale).round_().long()
    sums = numbers.new_zeros(n_bins).index_add_(0, bins, numbers)
    return sums.double() / scale


def power_of_two(exponent: Tensor) -> Tensor:  # integers [...] -> float64 [...]
    """2^exponent, put together from its bits: no device rounds it."""
    return (exponent.long().clamp(-1022, 1023) + 1023 << 52).view(torch.float64)
