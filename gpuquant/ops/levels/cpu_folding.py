"""Samples that are 8-bit levels as keys of their colors, and these as ranks of distinct colors: compiled loops.

One pass over the samples writes the key of each and sets a bit for each key. The rank of a key is the number of bits
before its own: those before its word of 64 bits, which are counted once, and those before it in its word.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES
from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.levels.reference import Scale, scales
from gpuquant.ops.pixels.cpu import table_by_keys, take
from gpuquant.ops.pixels.cpu_bits import lowest_bit, ones
from gpuquant.ops.pixels.cpu_keys import Bytes, Keys, key_of
from gpuquant.ops.pixels.cpu_tables import N_TABLES, kept_tables
from gpuquant.ops.points.spread_bits import spread
from gpuquant.threads import share_out, worker_threads

CHUNK_ROWS = 1 << 16  # 0.2 ms: often enough for threads to share out, and too long for calls to matter
ROWS_IN_CACHE = 1 << 13  # whose levels and keys stay there from loop to loop
N_WORDS = N_CODES // 64  # of a bit for each key
FEW_ROWS = 1 << 19  # take 2 ms, and another thread 0.1 to start
ROUNDING = 1.5 * 2.0**52  # to this a double of up to 2^51 is added in units of 1

Numbers = npt.NDArray[Any]
Marks = npt.NDArray[np.uint64]


class _Tables(NamedTuple):
    """Bits for all keys, all of them 0 between calls."""

    marks: Marks  # [T, N_WORDS]: for each thread
    marked: Marks  # [T, N_WORDS / 64]: a bit for each word of marks that is not 0
    bases: Keys  # [N_WORDS]: the number of marks before each word


@contextmanager
def _borrowed_tables(n_threads: int) -> Iterator[_Tables]:
    with kept_tables.borrow() as kept:
        marked = np.zeros((n_threads, N_WORDS // 64), np.uint64)
        words = kept.bins[0, : 8 * N_WORDS * (N_TABLES + 1)].view(np.uint64)
        marks = words[: N_WORDS * n_threads].reshape(n_threads, N_WORDS)
        yield _Tables(marks, marked, words[N_WORDS * N_TABLES :].view(np.int32)[:N_WORDS])


def fold_levels(
    samples: Tensor,  # [N, D] float32, float64 or uint8, contiguous, D from 1 to 4
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:  # [256], [M] int32, [N] int32, [N] uint8 or empty
    """Recognize levels under one scale, and find the distinct keys of their first three columns."""
    numbers = samples.numpy()
    sample_keys = np.empty(len(numbers), np.int32)
    others = np.empty(len(numbers) if numbers.shape[1] == 4 else 0, np.uint8)
    with _borrowed_tables(_threads_for(len(numbers))) as tables:
        for scale in scales(samples.dtype):
            keys = _fold(numbers, scale, tables, sample_keys, others)
            if keys is not None:
                of_samples = torch.from_numpy(sample_keys), torch.from_numpy(others)
                return scale.values, torch.from_numpy(keys), *of_samples
    return None


def rank_keys(
    sample_keys: Tensor,  # [N] int32, overwritten
    keys: Tensor,  # [M] int32, ascending
) -> Tensor:  # [N] int32
    """Find the rank of each key."""
    ranks, distinct = sample_keys.numpy(), keys.numpy()
    with _borrowed_tables(1) as (marks, marked, bases):
        _mark(distinct, 0, len(distinct), marks[0], marked[0])
        _number_marks(marks, marked, bases)
        share_out(_chunks(len(ranks)), lambda rows: _rank(ranks, *rows, marks[0], bases), _threads_for(len(ranks)))
        _clear(marks[0], marked[0], bases)
    return sample_keys


def take_by_keys(
    values: Tensor,  # [M] int32
    keys: Tensor,  # [M] int32
    sample_keys: Tensor,  # [N] int32, overwritten
) -> Tensor:  # [N] int32
    """Find the value of each key."""
    small = values.to(torch.uint8)  # a table of a quarter the size, where nothing is lost
    with table_by_keys(keys, small if torch.equal(small.to(values.dtype), values) else values) as table:
        return take(table, sample_keys, out=sample_keys)


def _threads_for(n_rows: int) -> int:
    return min(worker_threads(), N_TABLES) if n_rows >= FEW_ROWS else 1


def _chunks(n_rows: int) -> list[tuple[int, int]]:
    return [(start, min(start + CHUNK_ROWS, n_rows)) for start in range(0, n_rows, CHUNK_ROWS)]


def _fold(
    samples: Numbers,  # [N, D]
    scale: Scale,
    tables: _Tables,
    keys: Keys,  # [N]: written
    others: Bytes,  # [N] or empty: written
) -> Keys | None:  # [M], if the samples are levels of this scale
    marks, marked, bases = tables
    numbers, n_columns, (high, low) = samples.reshape(-1), samples.shape[1], scale.steps
    free, differing = deque(range(len(marks))), deque[int]()

    def read(rows: tuple[int, int]) -> None:
        if differing:
            return
        table = free.pop()
        used, levels = (marks[table], marked[table]), np.empty((min(ROWS_IN_CACHE, len(samples)), n_columns), np.uint8)
        if not _read_rows(numbers, *rows, scale.factor, high, low, levels, levels.reshape(-1), *used, keys, others):
            differing.append(table)
        free.append(table)

    share_out(_chunks(len(samples)), read, len(marks))
    distinct = np.empty(_number_marks(marks, marked, bases), np.int32)
    _list_keys(marks[0], marked[0], distinct)
    _clear(marks[0], marked[0], bases)
    return None if differing else distinct


@compiled
def _read_rows(
    numbers: Numbers,  # [N * D]
    start: int,
    stop: int,
    factor: float,  # makes levels of numbers, about
    high: float,  # a level times this, and times that, add up to its number
    low: float,
    levels: Bytes,  # [ROWS_IN_CACHE, D]: written
    all_levels: Bytes,  # [ROWS_IN_CACHE * D]: the same
    marks: Marks,  # [N_WORDS]: a bit for each key, added to
    marked: Marks,  # [N_WORDS / 64]: a bit for each word of marks that is not 0
    keys: Keys,  # [N]: written
    others: Bytes,  # [N] or empty: written
) -> bool:  # whether each number is that of a level
    n_rows, n_columns = levels.shape
    for first in range(start, stop, n_rows):
        last = min(first + n_rows, stop)
        if not _read_levels(numbers, first * n_columns, last * n_columns, factor, high, low, all_levels):
            return False
        _write_keys(levels, first, last, keys)
        _mark(keys, first, last, marks, marked)
        if len(others) > 0:
            for row in range(np.uintp(last - first)):
                others[np.uintp(first) + row] = levels[row, 3]
    return True


@compiled
def _read_levels(
    numbers: Numbers, start: int, stop: int, factor: float, high: float, low: float, levels: Bytes
) -> bool:
    """Read the nearest level to each number: in the last bits of a sum, any level to a number that is near none."""
    n_wrong, first = 0, np.uintp(start)
    for place in range(np.uintp(stop - start)):
        number = numbers[first + place]
        level = np.int32(np.float64(number * factor + ROUNDING).view(np.int64) & 255)
        n_wrong += numbers.dtype.type(level * high + level * low) != number  # NaN differs from all
        levels[place] = level
    return n_wrong == 0


@written_out
def _key_by_shifts(red: Any, green: Any, blue: Any) -> Any:
    return np.int32(spread(red) | (spread(green) << np.uint32(1)) | (spread(blue) << np.uint32(2)))


@compiled
def _write_keys(levels: Bytes, start: int, stop: int, keys: Keys) -> None:
    """One column has all three levels of its colors, and of two columns the second is the third as well."""
    first, n_columns = np.uintp(start), levels.shape[1]
    if n_columns == 3:  # the compiler writes keys of several rows at once: three quarters of the time (measured)
        for row in range(np.uintp(stop - start)):
            keys[first + row] = _key_by_shifts(levels[row, 0], levels[row, 1], levels[row, 2])
        return
    green, blue = np.uintp(min(1, n_columns - 1)), np.uintp(min(2, n_columns - 1))
    for row in range(np.uintp(stop - start)):
        keys[first + row] = key_of(levels, row, green, blue)


@compiled
def _mark(keys: Keys, start: int, stop: int, marks: Marks, marked: Marks) -> None:
    one = np.uint64(1)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(keys[place])
        word, bit = key >> np.uintp(6), one << (key & np.uintp(63))
        if not marks[word] & bit:
            marks[word] |= bit
            marked[word >> np.uintp(6)] |= one << (word & np.uintp(63))


@compiled
def _number_marks(
    marks: Marks,  # [T, N_WORDS]: those of all threads become the first one's, and the others 0
    marked: Marks,  # [T, N_WORDS / 64], too
    bases: Keys,  # [N_WORDS]: the number of marks before each word that has any, written
) -> Any:  # the number of marks
    n_marks = np.uint64(0)
    for group in range(np.uintp(marked.shape[1])):
        for table in range(1, len(marks)):
            marked[0, group] |= marked[table, group]
            marked[table, group] = np.uint64(0)
        left = marked[0, group]
        while left:
            word = (group << np.uintp(6)) + lowest_bit(left)
            left &= left - np.uint64(1)
            for table in range(1, len(marks)):
                marks[0, word] |= marks[table, word]
                marks[table, word] = np.uint64(0)
            bases[word] = n_marks
            n_marks += ones(marks[0, word])
    return n_marks


@compiled
def _list_keys(marks: Marks, marked: Marks, keys: Keys) -> None:
    """Write the marked keys in ascending order."""
    place, one = np.uintp(0), np.uint64(1)
    for group in range(np.uintp(len(marked))):
        words = marked[group]
        while words:
            word = (group << np.uintp(6)) + lowest_bit(words)
            words &= words - one
            bits = marks[word]
            while bits:
                keys[place] = (word << np.uintp(6)) + lowest_bit(bits)
                place += np.uintp(1)
                bits &= bits - one


@compiled
def _rank(ranks: Keys, start: int, stop: int, marks: Marks, bases: Keys) -> None:
    """Put the rank of each key in its place."""
    one = np.uint64(1)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(ranks[place])
        word = key >> np.uintp(6)
        ranks[place] = bases[word] + np.int32(ones(marks[word] & ((one << (key & np.uintp(63))) - one)))


@compiled
def _clear(marks: Marks, marked: Marks, bases: Keys) -> None:
    """Zero what has been used of tables."""
    for group in range(np.uintp(len(marked))):
        words = marked[group]
        marked[group] = np.uint64(0)
        while words:
            word = (group << np.uintp(6)) + lowest_bit(words)
            words &= words - np.uint64(1)
            marks[word], bases[word] = np.uint64(0), np.int32(0)
