"""The streaming passes over pixels on the CPU: compiled loops in worker threads, over tables of all colors."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES
from gpuquant.ops.compiled import compiled
from gpuquant.ops.pixels.cpu_counting import add_counts, count_colors
from gpuquant.ops.pixels.cpu_keys import (
    Array,
    Bytes,
    Keys,
    colors_from_keys,
    green_and_blue,
    key_of,
    keys_from_colors,
    rows_of,
)
from gpuquant.ops.pixels.cpu_tables import kept_tables
from gpuquant.tensors import uint16_as_int16
from gpuquant.threads import share_out, worker_threads

__all__ = [
    "add_counts",
    "apply_lookup",
    "colors_from_keys",
    "column_means",
    "count_colors",
    "keys_from_colors",
    "lookup_table",
    "take",
]

CHUNK_PIXELS = 1 << 17  # 0.2 ms: often enough for threads to share out, and too long for calls to matter
FEW_PIXELS = 1 << 19  # take 0.5 to 2.5 ms, by their colors, and another thread 0.1 (photos of 0.01 to 4 MP)
CHUNK_ROWS = 1 << 14  # of samples: 1 MiB of eight columns, which are read again for the next four
COLUMNS = 4  # that are added up at once
MOST_COLUMNS = 16  # whose means take less time than NumPy's


def lookup_table(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count: distinct
    values: Tensor,  # [M] uint8, uint16 or int32
) -> AbstractContextManager[Tensor]:  # [2^24] of the values' dtype, 0 for other colors
    """A table of values by the Z-order key of a color, in the memory of kept tables."""
    return table_by_keys(keys_from_colors(colors), values)


@contextmanager
def table_by_keys(
    keys: Tensor,  # [M] int32, distinct
    values: Tensor,  # [M] uint8, uint16 or int32
) -> Iterator[Tensor]:  # [2^24] of the values' dtype, 0 for other colors
    """The same of colors that are given by their keys."""
    numbers, places = uint16_as_int16(values).numpy(), keys.numpy()
    with kept_tables.borrow() as kept:
        table = kept.bins.reshape(-1).view(numbers.dtype)[:N_CODES]
        _put(numbers, places, table)
        yield torch.from_numpy(table).view(values.dtype)
        _put(np.zeros_like(numbers), places, table)


@compiled
def _put(
    values: Array,  # [M]
    keys: Keys,  # [M]
    table: Array,  # [2^24]: written
) -> None:
    for place in range(np.uintp(len(keys))):
        table[np.uintp(keys[place])] = values[place]


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
    table: Tensor,  # [2^24], of `lookup_table`
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up."""
    rows, values = rows_of(pixels), uint16_as_int16(table).numpy()
    found = np.empty(len(rows), values.dtype)

    def look_up(start: int) -> None:
        stop = min(start + CHUNK_PIXELS, len(rows))
        _look_up_rows(rows, start, stop, *green_and_blue(rows), values, found)

    share_out(range(0, len(rows), CHUNK_PIXELS), look_up, worker_threads() if len(rows) >= FEW_PIXELS else 1)
    return torch.from_numpy(found).view(table.dtype)


@compiled
def _look_up_rows(
    rows: Bytes,  # [N, C]
    start: int,
    stop: int,
    second: int,  # the columns of green and blue
    third: int,
    values: Array,  # [2^24]
    found: Array,  # [N]: written
) -> None:
    green, blue = np.uintp(second), np.uintp(third)
    for place in range(np.uintp(start), np.uintp(stop)):
        found[place] = values[np.uintp(key_of(rows, place, green, blue))]


def take(
    values: Tensor,  # [M]
    ranks: Tensor,  # [N] int32
    out: Tensor | None = None,  # [N] of the values' dtype; may be the ranks themselves
) -> Tensor:  # [N]
    """The value of each rank."""
    given, places = values.numpy(), ranks.numpy()
    found = np.empty(len(places), given.dtype) if out is None else out.numpy()

    def look_up(start: int) -> None:
        _take(given, places, start, min(start + CHUNK_PIXELS, len(places)), found)

    share_out(range(0, len(places), CHUNK_PIXELS), look_up, worker_threads())
    return torch.from_numpy(found) if out is None else out


@compiled
def _take(values: Array, ranks: Keys, start: int, stop: int, found: Array) -> None:
    for place in range(np.uintp(start), np.uintp(stop)):
        found[place] = values[np.uintp(ranks[place])]


def column_means(samples: Tensor) -> Tensor:  # [N, D] float32, float64 or uint8 -> [D], float64 for uint8
    """The means of the columns, rounded exactly as `numpy.mean` over the first axis rounds them.

    NumPy adds several columns row after row, and takes several times as long.
    """
    array = samples.numpy()
    if array.dtype != np.float64 or not 2 <= array.shape[1] <= MOST_COLUMNS or not samples.is_contiguous():
        return torch.from_numpy(array.mean(axis=0))
    sums = np.zeros(array.shape[1])
    for start in range(0, len(array), CHUNK_ROWS):
        for column in range(0, len(sums), COLUMNS):
            _add_rows(array, start, min(start + CHUNK_ROWS, len(array)), column, sums)
    return torch.from_numpy(sums / len(array))


@compiled
def _add_rows(
    rows: npt.NDArray[np.float64],  # [N, D]
    start: int,
    stop: int,
    column: int,  # the first of four, or of those that are left
    sums: npt.NDArray[np.float64],  # [D]
) -> None:
    """Sums stay in registers: one addition has to wait for the one before it, and for nothing else."""
    first, last = np.uintp(column), np.uintp(len(sums) - 1)
    second, third = min(first + np.uintp(1), last), min(first + np.uintp(2), last)
    fourth = min(first + np.uintp(3), last)
    a, b, c, d = sums[first], sums[second], sums[third], sums[fourth]
    for row in range(np.uintp(start), np.uintp(stop)):
        a += rows[row, first]
        b += rows[row, second]
        c += rows[row, third]
        d += rows[row, fourth]
    sums[first], sums[second], sums[third], sums[fourth] = a, b, c, d
