"""The streaming passes over pixels on the CPU: worker threads, chunks that stay in cache, kept counting tables.

The passes hold no torch setting of their own: NumPy's loops and torch's one-dimensional `index_add_` run in the
thread that calls them and release the GIL, so plain Python threads are enough and nothing global is touched.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES
from gpuquant.ops.pixels.reference import add_counts
from gpuquant.tensors import uint16_as_int16
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # codes of one chunk are 512 KiB: they stay in the L2 cache
SORT_LIMIT = 1 << 21  # fewer pixels than this are counted faster by sorting than by scanning 2^24 bins
SLAB_BINS = 1 << 19
MAX_TABLES = 4  # 64 MiB each

Codes = npt.NDArray[np.int32]
Item = TypeVar("Item")


class _Tables:
    """Zeroed tables of 2^24 int32 bins, kept from call to call: the first touch of one costs as much as counting."""

    def __init__(self) -> None:
        self._free: list[Codes] = []
        self.unlock()

    def unlock(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, n_tables: int) -> Iterator[list[Codes]]:
        with self._lock:
            tables = [self._free.pop() for _ in range(min(n_tables, len(self._free)))]
        tables += [np.zeros(N_CODES, np.int32) for _ in range(n_tables - len(tables))]
        yield tables  # a borrower that fails leaves counts behind, so its tables are dropped, not returned
        with self._lock:
            self._free += tables[: 2 - len(self._free)]


_tables = _Tables()
if hasattr(os, "register_at_fork"):  # a thread that stayed behind may hold it
    os.register_at_fork(after_in_child=_tables.unlock)


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
    *,
    chunk_size: int | None = None,  # pixels that a worker takes at a time
) -> tuple[Tensor, Tensor]:  # codes [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    array = pixels.numpy()
    if len(array) < SORT_LIMIT:
        codes, counts = np.unique(pack_pixels(array, 0, len(array)), return_counts=True)
        return torch.from_numpy(codes), torch.from_numpy(counts)
    step = min(chunk_size or CHUNK_PIXELS, len(array))
    n_workers = min(worker_threads(), MAX_TABLES)
    limit = np.iinfo(np.int32).max  # as many pixels as a bin can hold
    parts = [_count_in_tables(array[start : start + limit], step, n_workers) for start in range(0, len(array), limit)]
    counted = [(torch.from_numpy(codes), torch.from_numpy(counts)) for codes, counts in parts]
    return counted[0] if len(counted) == 1 else add_counts(counted)


def used_codes(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
) -> Tensor:  # [M] int32, ascending
    """The codes of the distinct colors: marking them in one table of bytes takes less time than counting them."""
    array = pixels.numpy()
    if len(array) < SORT_LIMIT:
        return torch.from_numpy(np.unique(pack_pixels(array, 0, len(array))))
    marks = torch.from_numpy(np.zeros(N_CODES, np.bool_))
    true = torch.ones(CHUNK_PIXELS, dtype=torch.bool)

    def mark(start: int) -> None:  # threads share the table: whoever writes, writes the same
        codes = torch.from_numpy(pack_pixels(array, start, min(start + CHUNK_PIXELS, len(array))))
        marks.index_add_(0, codes, true[: len(codes)])

    share_out(range(0, len(array), CHUNK_PIXELS), mark, worker_threads())
    return torch.from_numpy(np.flatnonzero(marks.numpy()).astype(np.int32))


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
    lookup_table: Tensor,  # [2^24] uint8, uint16 or int32
    *,
    chunk_size: int | None = None,
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up in a table with one entry per color code."""
    table = uint16_as_int16(lookup_table)
    array = pixels.numpy()
    labels = torch.from_numpy(np.empty(len(array), table.numpy().dtype))
    step = chunk_size or CHUNK_PIXELS

    def look_up(start: int) -> None:
        codes = torch.from_numpy(pack_pixels(array, start, min(start + step, len(array))))
        torch.index_select(table, 0, codes, out=labels[start : start + len(codes)])

    share_out(range(0, len(array), step), look_up, worker_threads())
    return labels.view(lookup_table.dtype)


@contextmanager
def number_table(
    codes: Tensor,  # [M] int32, distinct
    numbers: Tensor,  # [M] int32
) -> Iterator[Tensor]:  # [2^24] int32
    """A lookup table from codes to their numbers, in memory that is kept."""
    with _tables.borrow(1) as (table,):
        table[codes.numpy()] = numbers.numpy()
        yield torch.from_numpy(table)
        table[codes.numpy()] = 0


def rank_pixels(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8, contiguous
    codes: Tensor,  # [M] int32, distinct
) -> Tensor:  # [N] int32
    """Find the place of each pixel's code among the codes."""
    with number_table(codes, torch.arange(len(codes), dtype=torch.int32)) as table:
        return apply_lookup(pixels, table)


def take(
    values: Tensor,  # [M]
    ranks: Tensor,  # [N] int32
    out: Tensor | None = None,  # [N] of the values' dtype; may be the ranks themselves
) -> Tensor:  # [N]
    """The value of each rank, from several threads."""
    found = torch.from_numpy(np.empty(len(ranks), values.numpy().dtype)) if out is None else out

    def look_up(start: int) -> None:
        part = slice(start, start + CHUNK_PIXELS)
        found[part] = values.index_select(0, ranks[part])

    share_out(range(0, len(ranks), CHUNK_PIXELS), look_up, worker_threads())
    return found


def column_means(samples: Tensor) -> Tensor:  # [N, D] float32, float64 or uint8 -> [D], float64 for uint8
    """The means of the columns, rounded exactly as `numpy.mean` over the first axis rounds them.

    NumPy adds a few columns row after row. SciPy's product of a row of ones and a matrix does the same, several times
    faster.
    """
    array = samples.numpy()
    n_columns = array.shape[1]
    if array.dtype != np.float64 or not 2 <= n_columns <= 4 or not samples.is_contiguous():
        return torch.from_numpy(array.mean(axis=0))
    from scipy.sparse import csr_array  # quantizing photos does without it, and it takes 0.1 s to import

    n_rows = CHUNK_PIXELS + 1
    numbers = np.zeros((n_rows, n_columns))  # the sum so far, and the next rows
    entries = np.ones(n_rows), np.arange(n_rows, dtype=np.int32), np.array([0, n_rows], np.int32)
    ones = csr_array(entries, shape=(1, n_rows))
    for start in range(0, len(array), CHUNK_PIXELS):
        part = array[start : start + CHUNK_PIXELS]
        numbers[1 : len(part) + 1] = part
        numbers[len(part) + 1 :] = 0
        numbers[:1] = ones @ numbers
    return torch.from_numpy(numbers[0] / len(array))


def pack_pixels(
    pixels: npt.NDArray[np.uint8],  # [N, 3] or [N], contiguous
    start: int,
    stop: int,
) -> Codes:  # [stop - start]
    """The color codes of a run of pixels.

    Four bytes are read at every third byte, which is one pass instead of one per channel; the last pixel of the
    array has no fourth byte and is packed by itself.
    """
    if pixels.ndim == 1:
        return pixels[start:stop].astype(np.int32) * 0x010101
    codes = np.empty(stop - start, np.int32)
    n_words = min(stop, len(pixels) - 1) - start
    if n_words > 0:
        words: npt.NDArray[np.int32] = np.ndarray((n_words,), "<i4", pixels.data, 3 * start, (3,))
        np.bitwise_and(words, 0xFFFFFF, out=codes[:n_words])
    if n_words < len(codes):
        red, green, blue = (int(level) for level in pixels[-1])
        codes[-1] = red | green << 8 | blue << 16
    return codes


def _count_in_tables(pixels: npt.NDArray[np.uint8], step: int, n_workers: int) -> tuple[Codes, npt.NDArray[np.int64]]:
    with _tables.borrow(n_workers) as tables:
        ones = torch.ones(step, dtype=torch.int32)
        free = list(tables)

        def count(starts: Sequence[int]) -> None:
            table = torch.from_numpy(free.pop())
            for start in starts:
                codes = torch.from_numpy(pack_pixels(pixels, start, min(start + step, len(pixels))))
                table.index_add_(0, codes, ones[: len(codes)])

        starts = range(0, len(pixels), step)
        share_out([starts[worker::n_workers] for worker in range(n_workers)], count, n_workers)
        return _drain(tables, n_workers)


def _drain(tables: list[Codes], n_workers: int) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Collect the bins that are not empty and leave the tables zeroed."""
    found: dict[int, tuple[Codes, npt.NDArray[np.int64]]] = {}

    def collect(start: int) -> None:
        slab = slice(start, start + SLAB_BINS)
        parts = [table[slab] for table in tables]
        used = parts[0] != 0
        for part in parts[1:]:
            np.logical_or(used, part, out=used)
        bins = np.flatnonzero(used)
        counts = np.zeros(len(bins), np.int64)
        for part in parts:
            counts += part[bins]
            part[bins] = 0
        found[start] = (bins + start).astype(np.int32), counts

    share_out(range(0, N_CODES, SLAB_BINS), collect, n_workers)
    slabs = [found[start] for start in sorted(found)]
    return np.concatenate([codes for codes, _ in slabs]), np.concatenate([counts for _, counts in slabs])
