"""Counting and lookup in plain torch, on any device: the reference for the faster implementations."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from gpuquant.colors.codes import N_CODES, codes_from_colors

CHUNK_PIXELS = 1 << 22


class _Threads:
    """How many threads torch had before it was held to one, in any thread: the number is also that of new threads."""

    def __init__(self) -> None:
        self._lock, self._n_inside, self._number = threading.Lock(), 0, 1
        self._n_free = self._n_before_fork = 1

    def available(self) -> int:
        """How many threads may work: torch's, or in a forked process as many as the process had that it came from."""
        number = torch.get_num_threads()
        if number > 1 or get_worker_info() is not None:  # a DataLoader's worker is to have one thread
            return number
        return self._n_before_fork

    def take(self) -> int:
        with self._lock:
            if self._n_inside == 0:
                self._number, self._n_free = torch.get_num_threads(), self.available()
            self._n_inside += 1
            torch.set_num_threads(1)
            return self._n_free

    def give_back(self) -> None:
        with self._lock:
            self._n_inside -= 1
            torch.set_num_threads(self._number)

    def begin_anew(self) -> None:
        """Hold torch to the only thread that a forked process has: it would wait for those that stayed behind."""
        self._n_before_fork = self._n_free if self._n_inside else self.available()
        self._lock, self._n_inside, self._number = threading.Lock(), int(is_held()), 1
        torch.set_num_threads(1)


class _Spare(threading.local):
    n_threads = 1
    depth = 0


_threads, _spare = _Threads(), _Spare()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.begin_anew)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """torch works in the calling thread alone, and the others are left to `spare_threads`.

    Threads gain little on small matrices, and where another process is busy they wait for each other after every
    operation: k-means on a photo of 0.4 megapixels then took 25 times as long (measured).
    """
    if _spare.depth == 0:
        _spare.n_threads = _threads.take()
    _spare.depth += 1
    try:
        yield
    finally:
        _spare.depth -= 1
        if _spare.depth == 0:
            _spare.n_threads = 1
            _threads.give_back()


def spare_threads() -> int:
    """How many threads may share out parts of what torch would split, within `one_torch_thread`; elsewhere 1."""
    return _spare.n_threads


def worker_threads() -> int:
    """How many threads may share out parts of what torch would not split."""
    return _spare.n_threads if _spare.depth else _threads.available()


def is_held() -> bool:
    """Whether the calling thread is within `one_torch_thread`."""
    return _spare.depth > 0


def hold_helper() -> None:
    """Call it in a thread that helps one within `one_torch_thread`: new ones use as many as there are cores."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8
    *,
    chunk_size: int | None = None,
) -> tuple[Tensor, Tensor]:  # codes [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    table = torch.zeros(N_CODES, dtype=torch.int64, device=pixels.device)
    for chunk in pixels.split(chunk_size or CHUNK_PIXELS):
        codes = pack_pixels(chunk)
        table.index_add_(0, codes, torch.ones_like(codes, dtype=torch.int64))
    codes = table.nonzero().view(-1)
    return codes.to(torch.int32), table[codes]


def add_counts(
    parts: Sequence[tuple[Tensor, Tensor]],  # codes [M] int32, counts [M] int64
) -> tuple[Tensor, Tensor]:  # codes [M] int32, ascending; counts [M] int64
    """Add up several counts of colors."""
    codes, inverse = torch.unique(torch.cat([codes for codes, _ in parts]), return_inverse=True)
    counts = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    return codes, counts.index_add_(0, inverse, torch.cat([counts for _, counts in parts]))


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8
    lookup_table: Tensor,  # [2^24] uint8 or uint16
    *,
    chunk_size: int | None = None,
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up in a table with one entry per color code."""
    # uint16 is little more than storage in torch: it is looked up as int16, which has the same bits
    words = lookup_table.view(torch.int16) if lookup_table.dtype == torch.uint16 else lookup_table
    labels = torch.empty(len(pixels), dtype=words.dtype, device=pixels.device)
    step = chunk_size or CHUNK_PIXELS
    for chunk, part in zip(pixels.split(step), labels.split(step), strict=True):
        part.copy_(words[pack_pixels(chunk)])
    return labels.view(lookup_table.dtype)


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


def rank_table(
    codes: Tensor,  # [M] int32, distinct
) -> Tensor:  # [2^24] int32: the place of each of them; other entries are undefined
    """A lookup table from codes to their places."""
    with number_table(codes, torch.arange(len(codes), dtype=torch.int32, device=codes.device)) as table:
        return table


@contextmanager
def number_table(
    codes: Tensor,  # [M] int32, distinct
    numbers: Tensor,  # [M] int32
) -> Iterator[Tensor]:  # [2^24] int32; other entries are undefined
    """A lookup table from codes to their numbers."""
    table = torch.empty(N_CODES, dtype=torch.int32, device=codes.device)
    table[codes.long()] = numbers
    yield table


def pack_pixels(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8
) -> Tensor:  # [N] int32
    """The color codes of pixels; a grey pixel has the code of the color with three equal levels."""
    return codes_from_colors(pixels) if pixels.ndim == 2 else pixels.to(torch.int32) * 0x010101
