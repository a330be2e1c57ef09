"""The streaming passes over pixels on the CPU: compiled loops in worker threads, over tables of all colors.

A table has a bin for every color, in Z-order: neighbors in the color cube share cache lines and pages, and bins that
are swept in their order give the colors in Z-order. Nothing is sorted.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES, z_order
from gpuquant.ops.compiled import compiled
from gpuquant.tensors import uint16_as_int16
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # 0.2 ms: often enough for threads to share out, and too long for calls to matter
PIXELS_A_TABLE = 1 << 20  # counted in 1.5 ms: less is not worth another thread, and a table to merge
FEW_PIXELS = 1 << 19  # looked up in half a millisecond: less is not worth another thread
MAX_TABLES = 4  # 66 MiB each
MOST_IN_A_BIN = 2**31 - 1  # pixels: they may all have one color, and a bin is an int32
N_WORDS = N_CODES // 64  # of marks
N_SWEEPS = 64  # parts of a table that are swept at a time: 256 KiB, which stay in the L2 cache

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int32]
Marks = npt.NDArray[np.uint64]


class Table(NamedTuple):
    """A bin for each color, in Z-order."""

    bins: Keys  # [2^24]
    marks: Marks  # [N_WORDS]: a bit for each bin that is not 0, so that empty ones are not even read


class _Tables:
    """Zeroed tables, kept from call to call: the first touch of one costs as much as counting."""

    def __init__(self) -> None:
        self._free: list[Table] = []
        self.unlock()

    def unlock(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, n_tables: int) -> Iterator[list[Table]]:
        with self._lock:
            tables = [self._free.pop() for _ in range(min(n_tables, len(self._free)))]
        while len(tables) < n_tables:
            tables.append(Table(np.zeros(N_CODES, np.int32), np.zeros(N_WORDS, np.uint64)))
        yield tables  # a borrower that fails leaves counts behind, so its tables are dropped, not returned
        with self._lock:
            self._free += tables[: 2 - len(self._free)]


_tables = _Tables()
if hasattr(os, "register_at_fork"):  # a thread that stayed behind may hold it
    os.register_at_fork(after_in_child=_tables.unlock)

SPREAD = z_order(torch.arange(256, dtype=torch.uint8)[:, None].expand(-1, 3)).numpy() // 7  # [256]: bit b at bit 3 b
SPREAD = np.stack([SPREAD, SPREAD << 1, SPREAD << 2])  # [3, 256]: the part of each level of R, G and B in a key

# A power of two times this number has six other highest bits for each exponent: they number the bits of a word
# (C. E. Leiserson, H. Prokop, K. H. Randall 1998, "Using de Bruijn sequences to index a 1 in a computer word").
DE_BRUIJN = 0x03F79D71B4CB0A89
BITS = np.empty(64, np.uint8)  # the exponent of each such number
BITS[[(DE_BRUIJN << bit) % 2**64 >> 58 for bit in range(64)]] = range(64)


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    rows = _rows(pixels)
    starts = range(0, max(1, len(rows)), MOST_IN_A_BIN)
    parts = [_count(rows[start : start + MOST_IN_A_BIN]) for start in starts]
    return parts[0] if len(parts) == 1 else add_counts(parts)


def _count(rows: Bytes) -> tuple[Tensor, Tensor]:
    n_workers = max(1, min(worker_threads(), MAX_TABLES, len(rows) // PIXELS_A_TABLE))
    starts = iter(range(0, len(rows), CHUNK_PIXELS))
    with _tables.borrow(n_workers) as tables:

        def count(table: Table) -> None:
            for start in starts:
                _count_rows(rows, start, min(start + CHUNK_PIXELS, len(rows)), *_columns(rows), SPREAD, *table)

        share_out(tables, count, n_workers)
        keys, counts = _drain(tables)
    return torch.from_numpy(keys), torch.from_numpy(counts)


@compiled
def _count_rows(
    rows: Bytes,  # [N, C]
    start: int,
    stop: int,
    second: int,  # the columns of green and blue
    third: int,
    spread: Keys,  # [3, 256]
    bins: Keys,
    marks: Marks,
) -> None:
    """Indices are unsigned, as Numba asks of signed ones whether they are below 0: this takes half of the time."""
    green, blue = np.uintp(second), np.uintp(third)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(spread[0, rows[place, 0]] | spread[1, rows[place, green]] | spread[2, rows[place, blue]])
        count = bins[key]
        if count == 0:
            marks[key >> np.uintp(6)] |= np.uint64(1) << (key & np.uintp(63))
        bins[key] = count + 1


def _drain(tables: Sequence[Table]) -> tuple[Keys, Counts]:
    """Collect the bins that are not empty, and leave the tables zeroed."""
    found: dict[int, tuple[Keys, Counts]] = {}
    total, others = tables[0], tables[1:]
    n_words = N_WORDS // N_SWEEPS if others else N_WORDS

    def collect(start: int) -> None:
        stop = start + n_words
        for other in others:
            _merge(start, stop, BITS, *total, *other)
        n_colors = _count_marks(total.marks[start:stop])
        found[start] = np.empty(n_colors, np.int32), np.empty(n_colors, np.int64)
        _sweep(start, stop, BITS, *total, *found[start])

    share_out(range(0, N_WORDS, n_words), collect, len(tables))
    parts = [found[start] for start in sorted(found)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([keys for keys, _ in parts]), np.concatenate([counts for _, counts in parts])


@compiled
def _count_marks(marks: Marks) -> Any:
    n_marks = 0
    for place in range(len(marks)):
        word = marks[place]
        while word:
            word &= word - np.uint64(1)  # without its lowest bit
            n_marks += 1
    return n_marks


@compiled
def _lowest_bit(word: Any, bits: Bytes) -> Any:
    lowest = word & (~word + np.uint64(1))
    return np.uintp(bits[(lowest * np.uint64(DE_BRUIJN)) >> np.uint64(58)])


@compiled
def _merge(first: int, last: int, bits: Bytes, bins: Keys, marks: Marks, other_bins: Keys, other_marks: Marks) -> None:
    """Add the bins of some words of marks to those of another table, and clear them."""
    for place in range(np.uintp(first), np.uintp(last)):
        word = other_marks[place]
        other_marks[place] = np.uint64(0)
        marks[place] |= word
        while word:
            key = (place << np.uintp(6)) | _lowest_bit(word, bits)
            bins[key] += other_bins[key]
            other_bins[key] = 0
            word &= word - np.uint64(1)


@compiled
def _sweep(first: int, last: int, bits: Bytes, bins: Keys, marks: Marks, keys: Keys, counts: Counts) -> None:
    """List the bins of some words of marks, and clear them."""
    found = np.uintp(0)
    for place in range(np.uintp(first), np.uintp(last)):
        word = marks[place]
        marks[place] = np.uint64(0)
        while word:
            key = (place << np.uintp(6)) | _lowest_bit(word, bits)
            keys[found], counts[found] = key, bins[key]
            bins[key] = 0
            found += np.uintp(1)
            word &= word - np.uint64(1)


def add_counts(
    parts: Sequence[tuple[Tensor, Tensor]],  # keys [M] int32, ascending; counts [M] int64
) -> tuple[Tensor, Tensor]:  # keys [M] int32, ascending; counts [M] int64
    """Add up several counts of colors."""
    keys, counts = (part.numpy() for part in parts[0])
    for more_keys, more_counts in parts[1:]:
        n_most = len(keys) + len(more_keys)
        all_keys, all_counts = np.empty(n_most, np.int32), np.empty(n_most, np.int64)
        n_found = _add(keys, counts, more_keys.numpy(), more_counts.numpy(), all_keys, all_counts)
        keys, counts = all_keys[:n_found], all_counts[:n_found]
    return torch.from_numpy(keys), torch.from_numpy(counts)


@compiled
def _add(
    keys: Keys, counts: Counts, more_keys: Keys, more_counts: Counts, all_keys: Keys, all_counts: Counts
) -> Any:  # how many keys there are
    here, there, place = np.uintp(0), np.uintp(0), np.uintp(0)
    n_here, n_there = np.uintp(len(keys)), np.uintp(len(more_keys))
    while here < n_here or there < n_there:
        from_here = there == n_there or (here < n_here and keys[here] <= more_keys[there])
        from_there = here == n_here or (there < n_there and more_keys[there] <= keys[here])
        count = np.int64(0)
        if from_here:
            all_keys[place] = keys[here]
            count += counts[here]
            here += np.uintp(1)
        if from_there:
            all_keys[place] = more_keys[there]
            count += more_counts[there]
            there += np.uintp(1)
        all_counts[place] = count
        place += np.uintp(1)
    return place


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
    _spread_bits(np.ascontiguousarray(colors.numpy()), SPREAD, keys)
    return torch.from_numpy(keys)


@compiled
def _spread_bits(colors: Bytes, spread: Keys, keys: Keys) -> None:
    for place in range(np.uintp(len(colors))):
        keys[place] = spread[0, colors[place, 0]] | spread[1, colors[place, 1]] | spread[2, colors[place, 2]]


@contextmanager
def lookup_table(
    keys: Tensor,  # [M] int32, distinct
    values: Tensor,  # [M] uint8, uint16 or int32
) -> Iterator[Tensor]:  # [2^24] of the values' dtype; other entries are undefined
    """A table of values by the Z-order key of a color, in the memory of a kept table."""
    numbers, places = uint16_as_int16(values).numpy(), keys.numpy()
    with _tables.borrow(1) as (kept,):
        table = kept.bins.view(numbers.dtype)[:N_CODES]
        table[places] = numbers
        yield torch.from_numpy(table).view(values.dtype)
        table[places] = 0


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
    table: Tensor,  # [2^24], of `lookup_table`
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up."""
    rows, values = _rows(pixels), uint16_as_int16(table).numpy()
    found = np.empty(len(rows), values.dtype)

    def look_up(start: int) -> None:
        stop = min(start + CHUNK_PIXELS, len(rows))
        _look_up_rows(rows, start, stop, *_columns(rows), SPREAD, values, found)

    share_out(range(0, len(rows), CHUNK_PIXELS), look_up, worker_threads() if len(rows) >= FEW_PIXELS else 1)
    return torch.from_numpy(found).view(table.dtype)


@compiled
def _look_up_rows(
    rows: Bytes,  # [N, C]
    start: int,
    stop: int,
    second: int,  # the columns of green and blue
    third: int,
    spread: Keys,  # [3, 256]
    values: Array,  # [2^24]
    found: Array,  # [N]: written
) -> None:
    green, blue = np.uintp(second), np.uintp(third)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(spread[0, rows[place, 0]] | spread[1, rows[place, green]] | spread[2, rows[place, blue]])
        found[place] = values[key]


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

    NumPy adds a few columns row after row, and takes several times as long.
    """
    array = samples.numpy()
    if array.dtype != np.float64 or not 2 <= array.shape[1] <= 4 or not samples.is_contiguous():
        return torch.from_numpy(array.mean(axis=0))
    sums = np.zeros(array.shape[1])
    for start in range(0, len(array), CHUNK_PIXELS):
        _add_rows(array, start, min(start + CHUNK_PIXELS, len(array)), sums)
    return torch.from_numpy(sums / len(array))


@compiled
def _add_rows(rows: npt.NDArray[np.float64], start: int, stop: int, sums: npt.NDArray[np.float64]) -> None:
    for row in range(np.uintp(start), np.uintp(stop)):
        for column in range(rows.shape[1]):
            sums[column] += rows[row, column]


def _rows(pixels: Tensor) -> Bytes:  # [N, 3] or [N] -> [N, 3] or [N, 1]
    rows: Bytes = pixels.numpy()
    return rows if rows.ndim == 2 else rows[:, None]


def _columns(rows: Bytes) -> tuple[int, int]:
    """The columns of green and blue: gray has one column for all three."""
    return min(1, rows.shape[1] - 1), min(2, rows.shape[1] - 1)
