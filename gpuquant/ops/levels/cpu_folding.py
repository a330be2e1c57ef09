"""Samples that are 8-bit levels as ranks of distinct colors: two compiled passes, of which one reads the samples.

The first writes the key of each sample and sets a bit for each key. The rank of a key is the number of bits before its
own: those before its word of 64 bits, which are counted once, and those before it in its word.
"""

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES
from gpuquant.ops.compiled import compiled
from gpuquant.ops.levels.reference import scales
from gpuquant.ops.pixels.cpu_keys import SPREAD, Bytes, Keys
from gpuquant.ops.pixels.cpu_tables import N_TABLES, kept_tables
from gpuquant.threads import share_out, worker_threads

CHUNK_ROWS = 1 << 16  # 0.2 ms: often enough for threads to share out, and too long for calls to matter
N_WORDS = N_CODES // 64  # of a bit for each key
FEW_ROWS = 1 << 19  # take 2 ms, and another thread 0.1 to start
ROUNDING = 1.5 * 2.0**52  # to this a double of up to 2^51 is added in units of 1

Samples = npt.NDArray[Any]
Marks = npt.NDArray[np.uint64]


class _Tables(NamedTuple):
    """Bits for all keys, all of them 0 between calls."""

    marks: Marks  # [T, N_WORDS]: for each thread
    marked: Marks  # [T, N_WORDS / 64]: a bit for each word of marks that is not 0
    bases: Keys  # [N_WORDS]: the number of marks before each word


def fold_levels(
    samples: Tensor,  # [N, D] float32, float64 or uint8, contiguous, D from 1 to 4
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:  # [256], [M] int32, [N] int32, [N] uint8 or empty
    """Recognize levels under one scale, and rank the colors of their first three columns in Z-order."""
    rows = samples.numpy()
    ranks = np.empty(len(rows), np.int32)
    others = np.empty(len(rows) if rows.shape[1] == 4 else 0, np.uint8)
    n_workers = min(worker_threads(), N_TABLES) if len(rows) >= FEW_ROWS else 1
    with kept_tables.borrow() as kept:
        marked = np.zeros((n_workers, N_WORDS // 64), np.uint64)
        words = kept.bins[0, : 8 * N_WORDS * (N_TABLES + 1)].view(np.uint64)
        marks = words[: N_WORDS * n_workers].reshape(n_workers, N_WORDS)
        tables = _Tables(marks, marked, words[N_WORDS * N_TABLES :].view(np.int32)[:N_WORDS])
        for values, factor in scales(samples.dtype):
            keys = _fold(rows, values.numpy(), factor, tables, ranks, others)
            if keys is not None:
                return values, torch.from_numpy(keys), torch.from_numpy(ranks), torch.from_numpy(others)
    return None


def _fold(
    rows: Samples,  # [N, D]
    values: Samples,  # [256]
    factor: float,
    tables: _Tables,
    ranks: Keys,  # [N]: written
    others: Bytes,  # [N] or empty: written
) -> Keys | None:  # [M], if the samples are levels of this scale
    columns = min(1, rows.shape[1] - 1), min(2, rows.shape[1] - 1), 3
    chunks = [(start, min(start + CHUNK_ROWS, len(rows))) for start in range(0, len(rows), CHUNK_ROWS)]
    marks, marked, bases = tables
    free, differing = deque(range(len(marks))), deque[int]()

    def read(chunk: tuple[int, int]) -> None:
        if differing:
            return
        table = free.pop()
        given = rows, *chunk, *columns, factor, values, SPREAD
        if not _read_rows(*given, marks[table], marked[table], ranks, others):
            differing.append(table)
        free.append(table)

    share_out(chunks, read, len(marks))
    n_colors = _number_marks(marks, marked, bases)
    keys = None
    if not differing:
        keys = np.empty(n_colors, np.int32)
        _list_keys(marks[0], marked[0], keys)
        share_out(chunks, lambda chunk: _rank(ranks, *chunk, marks[0], bases), len(marks))
    _clear(marks[0], marked[0], bases)
    return keys


@compiled
def _read_rows(
    rows: Samples,  # [N, D]
    start: int,
    stop: int,
    second: int,  # the columns of green, of blue, and of the other levels
    third: int,
    fourth: int,
    factor: float,  # makes levels of samples, about
    values: Samples,  # [256]: the sample of each level
    spread: Keys,  # [3, 256]
    marks: Marks,  # [N_WORDS]: a bit for each key, added to
    marked: Marks,  # [N_WORDS / 64]: a bit for each word of marks that is not 0
    keys: Keys,  # [N]: written
    others: Bytes,  # [N] or empty: written
) -> bool:  # whether each sample is that of a level
    green, blue, other, one = np.uintp(second), np.uintp(third), np.uintp(fourth), np.uint64(1)
    for place in range(np.uintp(start), np.uintp(stop)):
        x, y, z = rows[place, 0], rows[place, green], rows[place, blue]
        r, g, b = _level(x * factor), _level(y * factor), _level(z * factor)
        if (values[r] != x) | (values[g] != y) | (values[b] != z):  # NaN differs from all
            return False
        key = np.uintp(spread[0, r] | spread[1, g] | spread[2, b])
        keys[place] = key
        word, bit = key >> np.uintp(6), one << (key & np.uintp(63))
        if not marks[word] & bit:
            marks[word] |= bit
            marked[word >> np.uintp(6)] |= one << (word & np.uintp(63))
        if len(others) > 0:
            level = _level(rows[place, other] * factor)
            if values[level] != rows[place, other]:
                return False
            others[place] = level
    return True


@compiled
def _level(number: float) -> Any:
    """The nearest level to a number, in the last bits of a sum; any level to a number that is near none."""
    return np.uintp(np.float64(number + ROUNDING).view(np.int64) & 255)


@compiled
def _ones(word: Any) -> Any:
    """Count the bits of a word that are set: of twos, fours and bytes, whose sum ends up in the highest byte."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


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
            word = (group << np.uintp(6)) + np.uintp(_ones((left & (~left + np.uint64(1))) - np.uint64(1)))
            left &= left - np.uint64(1)
            for table in range(1, len(marks)):
                marks[0, word] |= marks[table, word]
                marks[table, word] = np.uint64(0)
            bases[word] = n_marks
            n_marks += _ones(marks[0, word])
    return n_marks


@compiled
def _list_keys(marks: Marks, marked: Marks, keys: Keys) -> None:
    """Write the marked keys in ascending order."""
    place, one = np.uintp(0), np.uint64(1)
    for group in range(np.uintp(len(marked))):
        words = marked[group]
        while words:
            word = (group << np.uintp(6)) + np.uintp(_ones((words & (~words + one)) - one))
            words &= words - one
            bits = marks[word]
            while bits:
                keys[place] = (word << np.uintp(6)) + np.uintp(_ones((bits & (~bits + one)) - one))
                place += np.uintp(1)
                bits &= bits - one


@compiled
def _rank(ranks: Keys, start: int, stop: int, marks: Marks, bases: Keys) -> None:
    """Put the rank of each key in its place."""
    one = np.uint64(1)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(ranks[place])
        word = key >> np.uintp(6)
        ranks[place] = bases[word] + np.int32(_ones(marks[word] & ((one << (key & np.uintp(63))) - one)))


@compiled
def _clear(marks: Marks, marked: Marks, bases: Keys) -> None:
    """Zero what has been used of tables."""
    for group in range(np.uintp(len(marked))):
        words = marked[group]
        marked[group] = np.uint64(0)
        while words:
            word = (group << np.uintp(6)) + np.uintp(_ones((words & (~words + np.uint64(1))) - np.uint64(1)))
            words &= words - np.uint64(1)
            marks[word], bases[word] = np.uint64(0), np.int32(0)
