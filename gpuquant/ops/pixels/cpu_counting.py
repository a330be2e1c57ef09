"""Counting on the CPU: compiled loops in worker threads, each over a table of all colors.

A bin is one byte: with bins of int32 a photo of a million colors takes 1.6 times as long (measured), and four times the
memory. When a bin is full, its key goes onto a list, and it begins again at 0.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.pixels.cpu_keys import SPREAD, Bytes, Keys, green_and_blue, rows_of
from gpuquant.ops.pixels.cpu_tables import N_BLOCKS, N_TABLES, Tables, kept_tables
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # 0.2 ms: often enough for threads to share out, and too long for calls to matter
PIXELS_A_TABLE = 1 << 20  # take 2 to 10 ms, and another table 1 to 3 to sweep, by their colors (photos of 0.01 to 4 MP)
WORDS = 32  # of marks in a block: that of `cpu_tables`, as Numba's cache looks at no other file
FULL = 256  # pixels of a color that are one entry of a list
N_SWEEPS = 16  # parts that are shared out: four for each of at most N_TABLES threads, as colors lie close together

Counts = npt.NDArray[np.int64]
Marks = npt.NDArray[np.uint64]

# A power of two times this number has six other highest bits for each exponent: they number the bits of a word
# (C. E. Leiserson, H. Prokop, K. H. Randall 1998, "Using de Bruijn sequences to index a 1 in a computer word").
DE_BRUIJN = 0x03F79D71B4CB0A89
BITS = np.empty(64, np.uint8)  # the exponent of each such number
BITS[[(DE_BRUIJN << bit) % 2**64 >> 58 for bit in range(64)]] = range(64)


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    rows = rows_of(pixels)
    n_workers = max(1, min(worker_threads(), N_TABLES, len(rows) // PIXELS_A_TABLE))
    full = np.empty((n_workers, len(rows) // FULL + 1), np.int32)
    n_full = [0] * n_workers
    free = deque(range(n_workers))
    with kept_tables.borrow() as kept:
        tables = Tables(kept.bins[:n_workers], kept.marks[:n_workers], kept.blocks[:n_workers])

        def count(start: int) -> None:
            table = free.pop()
            given = rows, start, min(start + CHUNK_PIXELS, len(rows)), *green_and_blue(rows), SPREAD
            own = tables.bins[table], tables.marks[table], tables.blocks[table], full[table]
            n_full[table] = _count_rows(*given, *own, n_full[table])
            free.append(table)

        share_out(range(0, len(rows), CHUNK_PIXELS), count, n_workers)
        listed = [keys[:number] for keys, number in zip(full, n_full, strict=True)]
        keys, counts = _drain(tables, np.sort(np.concatenate(listed)))
    return torch.from_numpy(keys), torch.from_numpy(counts)


@compiled
def _count_rows(
    rows: Bytes,  # [N, C]
    start: int,
    stop: int,
    second: int,  # the columns of green and blue
    third: int,
    spread: Keys,  # [3, 256]
    bins: Bytes,  # [2^24]
    marks: Marks,  # [N_WORDS]
    blocks: Bytes,  # [N_BLOCKS]
    full: Keys,  # a key for each time that a bin was full: written from `n_full` on
    n_full: int,
) -> Any:  # how many there are then
    """Indices are unsigned, as Numba asks of signed ones whether they are below 0: this takes half of the time."""
    green, blue, found = np.uintp(second), np.uintp(third), np.uintp(n_full)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(spread[0, rows[place, 0]] | spread[1, rows[place, green]] | spread[2, rows[place, blue]])
        count = np.uint8(bins[key] + np.uint8(1))
        bins[key] = count
        if count <= np.uint8(1):  # the only question about most pixels
            if count == np.uint8(1):
                word = key >> np.uintp(6)
                marks[word] |= np.uint64(1) << (key & np.uintp(63))
                blocks[word // np.uintp(WORDS)] = 1
            else:
                full[found] = key
                found += np.uintp(1)
    return found


def _drain(
    tables: Tables,  # of which each thread has filled one
    full: Keys,  # ascending
) -> tuple[Keys, Counts]:  # keys, ascending
    """Collect the bins in use, and leave the tables zeroed."""
    found: dict[int, tuple[Keys, Counts]] = {}
    n_blocks = N_BLOCKS if len(tables.blocks) == 1 else N_BLOCKS // N_SWEEPS

    def collect(start: int) -> None:
        stop = start + n_blocks
        first, last = np.searchsorted(full, np.array([start, stop], np.int32) * (64 * WORDS))
        n_colors = _count_marks(start, stop, tables.marks, tables.blocks)
        found[start] = np.empty(n_colors, np.int32), np.empty(n_colors, np.int64)
        _sweep(start, stop, BITS, *tables, full[first:last], *found[start])

    share_out(range(0, N_BLOCKS, n_blocks), collect, len(tables.blocks))
    keys, counts = zip(*(found[start] for start in sorted(found)), strict=True)
    if len(keys) == 1:
        return keys[0], counts[0]
    return np.concatenate(keys), np.concatenate(counts)


@compiled
def _lowest_bit(word: Any, bits: Bytes) -> Any:
    lowest = word & (~word + np.uint64(1))
    return np.uintp(bits[(lowest * np.uint64(DE_BRUIJN)) >> np.uint64(58)])


@compiled
def _n_users(blocks: Bytes, block: Any) -> Any:
    """Count the tables in which a block is in use."""
    n_users = 0
    for table in range(np.uintp(len(blocks))):
        n_users += blocks[table, block]
    return n_users


@compiled
def _count_marks(
    first: int,
    last: int,
    marks: Marks,  # [T, N_WORDS]
    blocks: Bytes,  # [T, N_BLOCKS]
) -> Any:
    """Count the bins in use in some blocks."""
    n_marks = 0
    for block in range(np.uintp(first), np.uintp(last)):
        if _n_users(blocks, block) == 0:
            continue
        for place in range(block * np.uintp(WORDS), block * np.uintp(WORDS) + np.uintp(WORDS)):
            word = np.uint64(0)
            for table in range(np.uintp(len(marks))):
                word |= marks[table, place]
            while word:
                word &= word - np.uint64(1)  # without its lowest bit
                n_marks += 1
    return n_marks


@compiled
def _sweep(
    first: int,
    last: int,
    bits: Bytes,
    bins: Bytes,  # [T, 2^24]
    marks: Marks,  # [T, N_WORDS]
    blocks: Bytes,  # [T, N_BLOCKS]
    full: Keys,  # ascending, of these bins
    keys: Keys,  # written, as are the counts
    counts: Counts,
) -> None:
    """List the bins in use in some blocks, and clear them."""
    n_tables, n_full = np.uintp(len(marks)), np.uintp(len(full))
    found, of_full = np.uintp(0), np.uintp(0)
    for block in range(np.uintp(first), np.uintp(last)):
        if _n_users(blocks, block) == 0:
            continue
        for table in range(n_tables):
            blocks[table, block] = 0
        for place in range(block * np.uintp(WORDS), block * np.uintp(WORDS) + np.uintp(WORDS)):
            word = np.uint64(0)
            for table in range(n_tables):
                word |= marks[table, place]
                marks[table, place] = np.uint64(0)
            while word:
                key = (place << np.uintp(6)) | _lowest_bit(word, bits)
                count = np.int64(0)
                for table in range(n_tables):
                    count += np.int64(bins[table, key])
                    bins[table, key] = np.uint8(0)
                while of_full < n_full and np.uintp(full[of_full]) == key:
                    count += np.int64(FULL)
                    of_full += np.uintp(1)
                keys[found], counts[found] = key, count
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
