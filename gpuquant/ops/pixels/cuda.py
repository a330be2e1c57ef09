"""The hot operations as Triton kernels: counting and lookup here, Lloyd steps and k-means++ in modules of their own.

Sizes are run-time numbers: images of other sizes compile nothing anew. Nothing adds floats atomically: every program
has sums of its own, which are added up in the order of the programs, so that the same input gives the same bits.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import triton
import triton.language as tl
from torch import Tensor

from gpuquant.colors.codes import N_CODES, codes_from_colors, colors_from_codes, colors_from_z_order, z_order
from gpuquant.ops.lloyd.cuda_runs import MAX_COLUMNS, KernelLloyd
from gpuquant.ops.pixels.reference import add_counts
from gpuquant.ops.seeding.cuda import KernelSeeding
from gpuquant.tensors import uint16_as_int16

__all__ = [
    "MAX_COLUMNS",
    "KernelCounting",
    "KernelLloyd",
    "KernelSeeding",
    "apply_lookup",
    "count_colors",
    "lookup_table",
]

BLOCK = 1024  # pixels of a program
MOST_IN_A_BIN = 2**31 - 16  # pixels: an int32 holds no more, all may have one color, and parts stay aligned


@triton.jit
def _codes(pixels, offsets, mask, GREY: tl.constexpr):
    """The 24-bit codes of pixels, red in the lowest byte."""
    if GREY:
        return tl.load(pixels + offsets, mask=mask, other=0).to(tl.int32) * 0x010101
    red = tl.load(pixels + offsets * 3, mask=mask, other=0).to(tl.int32)
    green = tl.load(pixels + offsets * 3 + 1, mask=mask, other=0).to(tl.int32)
    blue = tl.load(pixels + offsets * 3 + 2, mask=mask, other=0).to(tl.int32)
    return red | (green << 8) | (blue << 16)


@triton.jit
def _maximum(one, other):
    return tl.maximum(one, other)


@triton.jit(do_not_specialize=["n_pixels"])
def count_colors_kernel(pixels, table, n_pixels, GREY: tl.constexpr, BLOCK: tl.constexpr, N_CODES: tl.constexpr):
    """table[code] += how many pixels of the block have it: one addition for each run of equal codes after sorting.

    Without sorting, millions of pixels of a flat region would wait for each other at one bin.
    """
    place = tl.arange(0, BLOCK)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    mask = start + place < n_pixels
    codes = tl.where(mask, _codes(pixels, start + place, mask, GREY), N_CODES)
    codes = tl.sort(codes)
    first = (place == 0) | (codes != tl.gather(codes, tl.maximum(place - 1, 0), 0))
    last = (place == BLOCK - 1) | (codes != tl.gather(codes, tl.minimum(place + 1, BLOCK - 1), 0))
    run_start = tl.associative_scan(tl.where(first, place, 0), 0, _maximum)
    tl.atomic_add(table + codes, place - run_start + 1, mask=last & (codes < N_CODES), sem="relaxed")


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8, contiguous
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    counting = KernelCounting(pixels.device)
    for part in pixels.split(MOST_IN_A_BIN):
        counting.add(part)
    return counting.counted()


class KernelCounting:
    """Counts that go on chunk by chunk, of any number of pixels: bins are emptied before one could overflow."""

    def __init__(self, device: torch.device) -> None:
        self._table = torch.zeros(N_CODES, dtype=torch.int32, device=device)
        self._n_pixels = 0  # in the table
        self._emptied: list[tuple[Tensor, Tensor]] = []

    def add(self, pixels: Tensor) -> None:  # [N, 3] or [N] uint8, contiguous, at most MOST_IN_A_BIN
        """Count a chunk."""
        if self._n_pixels + len(pixels) > MOST_IN_A_BIN:
            self._emptied.append(counted(self._table))
            self._table.zero_()
            self._n_pixels = 0
        count_into(self._table, pixels)
        self._n_pixels += len(pixels)

    def counted(self) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
        """The colors of all chunks."""
        parts = [*self._emptied, counted(self._table)]
        return parts[0] if len(parts) == 1 else add_counts(parts)


def count_into(table: Tensor, pixels: Tensor) -> None:  # [2^24] int32, [N, 3] or [N] uint8, contiguous
    """Add pixels to a table of counts."""
    grid = (triton.cdiv(len(pixels), BLOCK),)
    with torch.cuda.device_of(pixels):  # Triton launches on the current device
        count_colors_kernel[grid](pixels, table, len(pixels), GREY=pixels.ndim == 1, BLOCK=BLOCK, N_CODES=N_CODES)


def counted(
    table: Tensor,  # [2^24] int32, by code
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """The colors that a table of counts holds."""
    codes = table.nonzero().view(-1)
    keys, order = z_order(colors_from_codes(codes)).sort()
    return keys, table[codes[order]].long()


@contextmanager
def lookup_table(
    keys: Tensor,  # [M] int32, distinct
    values: Tensor,  # [M] uint8, uint16, int32 or int64
) -> Iterator[Tensor]:  # [2^24] of the values' dtype; other entries are undefined
    """A table of values by the code of a color."""
    table = torch.empty(N_CODES, dtype=values.dtype, device=keys.device)
    uint16_as_int16(table)[codes_from_colors(colors_from_z_order(keys)).long()] = uint16_as_int16(values)
    yield table


@triton.jit(do_not_specialize=["n_pixels"])
def apply_lookup_kernel(pixels, table, labels, n_pixels, GREY: tl.constexpr, BLOCK: tl.constexpr):
    """labels[i] = table[code of pixel i]."""
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offsets < n_pixels
    found = tl.load(table + _codes(pixels, offsets, mask, GREY), mask=mask)
    tl.store(labels + offsets, found, mask=mask)


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8, contiguous
    table: Tensor,  # [2^24], of `lookup_table`
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up."""
    words = uint16_as_int16(table)
    labels = torch.empty(len(pixels), dtype=words.dtype, device=pixels.device)
    grid = (triton.cdiv(len(pixels), BLOCK),)
    with torch.cuda.device_of(pixels):
        apply_lookup_kernel[grid](pixels, words, labels, len(pixels), GREY=pixels.ndim == 1, BLOCK=BLOCK)
    return labels.view(table.dtype)
