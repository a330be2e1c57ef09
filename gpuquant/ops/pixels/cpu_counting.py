"""Counting on the CPU: compiled loops in worker threads, each over a table of all colors; few pixels are sorted.

A bin is one byte: with bins of int32 a photo of a million colors takes 1.6 times as long (measured), and four times the
memory. When a bin is full, its key goes onto a list, and it begins again at 1: a bin in use is never 0.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled, written_out
from gpuquant.ops.pixels.cpu_bits import lowest_bit
from gpuquant.ops.pixels.cpu_keys import Bytes, Keys, green_and_blue, key_of, keys_from_colors, rows_of
from gpuquant.ops.pixels.cpu_tables import N_LINES, N_TABLES, Tables, kept_tables
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # 0.2 ms: often enough for threads to share out, and too long for calls to matter
FEW_PIXELS = 1 << 16  # NumPy sorts them in a third of the time (photos of 0.01 to 0.06 MP)
PIXELS_A_TABLE = 1 << 20  # take 2 to 10 ms, and another table 1 to 3 to sweep, by their colors (photos of 0.01 to 4 MP)
FULL = 255  # pixels of a color that are one entry of a list
N_SWEEPS = 16  # parts that are shared out: four for each of at most N_TABLES threads, as colors lie close together

Counts = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

LOW_BITS = 0x7F7F7F7F7F7F7F7F  # of eight bytes: added to those of a byte, they carry into the highest unless all are 0
ONES = 0x0101010101010101  # the lowest bit of each byte
GATHER = 0x0102040810204080  # times these bits, they come together in the highest byte


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    if len(pixels) <= FEW_PIXELS:
        colors = pixels if pixels.ndim == 2 else pixels[:, None].expand(-1, 3)
        keys, counts = np.unique(keys_from_colors(colors).numpy(), return_counts=True)
        return torch.from_numpy(keys), torch.from_numpy(counts)
    rows = rows_of(pixels)
    n_workers = max(1, min(worker_threads(), N_TABLES, len(rows) // PIXELS_A_TABLE))
    full = np.empty((n_workers, len(rows) // FULL + 1), np.int32)
    n_full = [0] * n_workers
    free = deque(range(n_workers))
    with kept_tables.borrow() as kept:
        tables = Tables(kept.bins[:n_workers], kept.marks[:n_workers])

        def count(start: int) -> None:
            table = free.pop()
            given = rows, start, min(start + CHUNK_PIXELS, len(rows)), *green_and_blue(rows)
            n_full[table] = _count_rows(*given, tables.bins[table], tables.marks[table], full[table], n_full[table])
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
    bins: Bytes,  # [2^24]
    marks: Bytes,  # [N_LINES]
    full: Keys,  # a key for each time that a bin was full: written from `n_full` on
    n_full: int,
) -> Any:  # how many there are then
    """Indices are unsigned, as Numba asks of signed ones whether they are below 0: this takes half of the time.

    A line is marked for every pixel: to ask whether its bin is new takes half as long again where many are (measured).
    """
    green, blue, found = np.uintp(second), np.uintp(third), np.uintp(n_full)
    for place in range(np.uintp(start), np.uintp(stop)):
        key = np.uintp(key_of(rows, place, green, blue))
        marks[key >> np.uintp(6)] = np.uint8(1)
        count = np.uint8(bins[key] + np.uint8(1))
        bins[key] = count
        if count == np.uint8(0):
            bins[key] = np.uint8(1)
            full[found] = key
            found += np.uintp(1)
    return found


def _drain(
    tables: Tables,  # of which each thread has filled one
    full: Keys,  # ascending
) -> tuple[Keys, Counts]:  # keys, ascending
    """Collect the bins in use, and leave the tables zeroed."""
    found: dict[int, tuple[Keys, Counts]] = {}
    n_lines = N_LINES if len(tables.marks) == 1 else N_LINES // N_SWEEPS

    def collect(start: int) -> None:
        stop = start + n_lines
        first, last = np.searchsorted(full, np.array([64 * start, 64 * stop], np.int32))
        n_most = 64 * np.count_nonzero(tables.marks[:, start:stop])  # memory that is not written costs nothing
        keys, counts = np.empty(n_most, np.int32), np.empty(n_most, np.int64)
        words = tables.bins.view(np.uint64), tables.marks.view(np.uint64)
        n_found = _sweep(start, stop, *tables, *words, full[first:last], keys, counts)
        found[start] = keys[:n_found], counts[:n_found]

    share_out(range(0, N_LINES, n_lines), collect, len(tables.marks))
    keys, counts = zip(*(found[start] for start in sorted(found)), strict=True)
    if len(keys) == 1:
        return keys[0], counts[0]
    return np.concatenate(keys), np.concatenate(counts)


@written_out
def _joined(words: Words, place: Any) -> Any:  # words [T, n]
    """The bits that are set in the word of any table."""
    joined = np.uint64(0)
    for table in range(np.uintp(len(words))):
        joined |= words[table, place]
    return joined


@written_out
def _bins_in_use(words: Words, line: Any) -> Any:
    """A bit for each bin of a line that is not 0 in every table."""
    in_use = np.uint64(0)
    for place in range(line << np.uintp(3), (line + np.uintp(1)) << np.uintp(3)):
        eight = _joined(words, place)
        highest = ((eight & np.uint64(LOW_BITS)) + np.uint64(LOW_BITS)) | eight  # bits of bytes that are not 0
        gathered = ((highest >> np.uint64(7)) & np.uint64(ONES)) * np.uint64(GATHER)
        in_use = (in_use >> np.uint64(8)) | (gathered >> np.uint64(56) << np.uint64(56))
    return in_use


@compiled
def _sweep(
    first: int,
    last: int,
    bins: Bytes,  # [T, 2^24]
    marks: Bytes,  # [T, N_LINES]
    words: Words,  # [T, 2^21]: the bins, eight at a time
    marked: Words,  # [T, N_LINES / 8]: the marks, eight at a time
    full: Keys,  # ascending, of these bins
    keys: Keys,  # written, as are the counts
    counts: Counts,
) -> Any:  # how many colors there are
    """List the bins of some lines, which are multiples of eight, and clear them."""
    n_tables, n_full = np.uintp(len(marks)), np.uintp(len(full))
    found, of_full = np.uintp(0), np.uintp(0)
    for eight in range(np.uintp(first) >> np.uintp(3), np.uintp(last) >> np.uintp(3)):
        if _joined(marked, eight) == np.uint64(0):
            continue
        for line in range(eight << np.uintp(3), (eight + np.uintp(1)) << np.uintp(3)):
            is_marked = np.uint8(0)
            for table in range(n_tables):
                is_marked |= marks[table, line]
                marks[table, line] = np.uint8(0)
            if is_marked == np.uint8(0):
                continue
            place, in_use = found, _bins_in_use(words, line)
            while in_use:
                key = (line << np.uintp(6)) | lowest_bit(in_use)
                count = np.int64(0)
                for table in range(n_tables):
                    count += np.int64(bins[table, key])
                    bins[table, key] = np.uint8(0)
                keys[found], counts[found] = key, count
                found += np.uintp(1)
                in_use &= in_use - np.uint64(1)  # without its lowest bit
            while of_full < n_full and np.uintp(full[of_full]) >> np.uintp(6) == line:
                while keys[place] != full[of_full]:
                    place += np.uintp(1)
                counts[place] += np.int64(FULL)
                of_full += np.uintp(1)
    return found


def add_counts(
    parts: Sequence[tuple[Tensor, Tensor]],  # keys [M] int32 or int64, ascending; counts [M] int64
) -> tuple[Tensor, Tensor]:  # keys [M], ascending; counts [M] int64
    """Add up several counts of colors."""
    keys, counts = (part.numpy() for part in parts[0])
    for more_keys, more_counts in parts[1:]:
        n_most = len(keys) + len(more_keys)
        all_keys, all_counts = np.empty(n_most, keys.dtype), np.empty(n_most, np.int64)
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
