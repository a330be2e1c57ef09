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

from gpuquant.colors.codes import N_CODES
from gpuquant.ops.lloyd.cuda_colors import KernelColorLloyd
from gpuquant.ops.lloyd.cuda_grid import breathe
from gpuquant.ops.lloyd.cuda_runs import MAX_COLUMNS, KernelLloyd
from gpuquant.ops.pixels.reference import add_counts
from gpuquant.ops.points.cuda import coarsen, key_of, spread
from gpuquant.ops.seeding.cuda import KernelSeeding
from gpuquant.ops.seeding.cuda_pixels import choose_pixels
from gpuquant.tensors import uint16_as_int16, viewed_as

__all__ = [
    "MAX_COLUMNS",
    "KernelColorLloyd",
    "KernelCounting",
    "KernelLloyd",
    "KernelSeeding",
    "apply_lookup",
    "breathe",
    "choose_pixels",
    "coarsen",
    "colors_from_keys",
    "count_colors",
    "keys_from_colors",
    "lookup_table",
]

COUNTED = 256  # pixels of a program that counts, which one warp sorts: 1024 by four took nearly twice the instructions
BLOCK = 1024  # pixels of a program that looks up
ALIGNED = 16  # bytes: Triton compiles a kernel anew for tensors that begin elsewhere, and words begin at every fourth
MOST_IN_A_BIN = 2**31 - 16  # pixels: an int32 holds no more, all may have one color, and parts stay aligned
COUNT_OPTIONS = {"num_warps": 1}


@triton.jit
def _whole_keys(pixels, start, GREY: tl.constexpr, BLOCK: tl.constexpr):
    """The places in Z-order of a whole block of pixels: four of them are three words, or one."""
    group = tl.arange(0, BLOCK // 4)
    if GREY:
        word = tl.load((pixels + start).to(tl.pointer_type(tl.uint32)) + group)
        one, two, three, four = word & 255, (word >> 8) & 255, (word >> 16) & 255, word >> 24
        levels = tl.reshape(tl.join(tl.join(one, three), tl.join(two, four)), [BLOCK])
        keys = spread(levels) * 7
    else:
        words = (pixels + start * 3).to(tl.pointer_type(tl.uint32)) + group * 3
        low, middle, high = tl.load(words), tl.load(words + 1), tl.load(words + 2)
        one = key_of(low & 255, (low >> 8) & 255, (low >> 16) & 255)
        two = key_of(low >> 24, middle & 255, (middle >> 8) & 255)
        three = key_of((middle >> 16) & 255, middle >> 24, high & 255)
        four = key_of((high >> 8) & 255, (high >> 16) & 255, high >> 24)
        keys = tl.reshape(tl.join(tl.join(one, three), tl.join(two, four)), [BLOCK])
    return keys.to(tl.int32)


@triton.jit
def _keys(pixels, place, mask, GREY: tl.constexpr):
    """The places in Z-order of some pixels, read byte by byte."""
    if GREY:
        return spread(tl.load(pixels + place, mask=mask, other=0).to(tl.int32)) * 7
    red = tl.load(pixels + place * 3, mask=mask, other=0).to(tl.int32)
    green = tl.load(pixels + place * 3 + 1, mask=mask, other=0).to(tl.int32)
    blue = tl.load(pixels + place * 3 + 2, mask=mask, other=0).to(tl.int32)
    return key_of(red, green, blue)


@triton.jit
def _maximum(one, other):
    return tl.maximum(one, other)


@triton.jit
def add_runs(table, keys, BLOCK: tl.constexpr):
    """table[key] += how often it is among the keys, but for those below 0: one addition for each run after sorting.

    Without sorting, millions of pixels of a flat region would wait for each other at one bin.
    """
    place = tl.arange(0, BLOCK)
    keys = tl.sort(keys)
    first = (place == 0) | (keys != tl.gather(keys, tl.maximum(place - 1, 0), 0))
    last = (place == BLOCK - 1) | (keys != tl.gather(keys, tl.minimum(place + 1, BLOCK - 1), 0))
    run_start = tl.associative_scan(tl.where(first, place, 0), 0, _maximum)
    length = (place - run_start + 1).to(table.dtype.element_ty)
    tl.atomic_add(table + keys, length, mask=last & (keys >= 0), sem="relaxed")


@triton.jit(do_not_specialize=["n_pixels"])
def count_colors_kernel(pixels, table, n_pixels, GREY: tl.constexpr, BLOCK: tl.constexpr):
    """table[key] += how many pixels of the block have it."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    if start + BLOCK <= n_pixels:
        keys = _whole_keys(pixels, start, GREY, BLOCK)
    else:
        place = start + tl.arange(0, BLOCK)
        keys = tl.where(place < n_pixels, _keys(pixels, place, place < n_pixels, GREY), -1)
    add_runs(table, keys, BLOCK)


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
    pixels, grid = _aligned(pixels), (triton.cdiv(len(pixels), COUNTED),)
    with torch.cuda.device_of(pixels):  # Triton launches on the current device
        count_colors_kernel[grid](pixels, table, len(pixels), GREY=pixels.ndim == 1, BLOCK=COUNTED, **COUNT_OPTIONS)


def _aligned(pixels: Tensor) -> Tensor:
    """The same pixels where words can be loaded: a copy of a view that begins elsewhere."""
    return pixels.clone() if pixels.data_ptr() % ALIGNED else pixels


def counted(
    table: Tensor,  # [2^24] int32, by key
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """The colors that a table of counts holds."""
    keys = table.nonzero().view(-1)
    return keys.to(torch.int32), table[keys].long()


@triton.jit
def _color_keys(colors, place, mask, COLUMNS: tl.constexpr):
    """The places of some colors in Z-order; a fourth column is left out."""
    red = tl.load(colors + place * COLUMNS, mask=mask, other=0).to(tl.int32)
    green = tl.load(colors + place * COLUMNS + 1, mask=mask, other=0).to(tl.int32)
    blue = tl.load(colors + place * COLUMNS + 2, mask=mask, other=0).to(tl.int32)
    return key_of(red, green, blue)


@triton.jit(do_not_specialize=["n_colors"], do_not_specialize_on_alignment=["colors", "values"])
def fill_lookup_kernel(colors, values, table, n_colors, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """table[key of color i] = values[i]."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = place < n_colors
    key = _color_keys(colors, place, mask, COLUMNS)
    tl.store(table + key, tl.load(values + place, mask=mask, other=0), mask=mask)


@contextmanager
def lookup_table(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count: distinct
    values: Tensor,  # [M] uint8, uint16 or int32
) -> Iterator[Tensor]:  # [2^24] of the values' dtype; other entries are undefined
    """A table of values by the place of a color in Z-order."""
    colors, words = colors.contiguous(), uint16_as_int16(values.contiguous())
    table = torch.empty(N_CODES, dtype=words.dtype, device=colors.device)
    grid, n_columns = (triton.cdiv(len(colors), BLOCK),), colors.shape[1]
    with torch.cuda.device_of(colors):
        fill_lookup_kernel[grid](colors, words, table, len(colors), COLUMNS=n_columns, BLOCK=BLOCK)
    yield viewed_as(table, values.dtype)


@triton.jit(do_not_specialize=["n_pixels"])
def apply_lookup_kernel(pixels, table, labels, n_pixels, GREY: tl.constexpr, BLOCK: tl.constexpr):
    """labels[i] = table[key of pixel i]."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    place = start + tl.arange(0, BLOCK)
    if start + BLOCK <= n_pixels:  # without a mask labels are stored as words, too
        tl.store(labels + place, tl.load(table + _whole_keys(pixels, start, GREY, BLOCK)))
    else:
        mask = place < n_pixels
        tl.store(labels + place, tl.load(table + _keys(pixels, place, mask, GREY), mask=mask), mask=mask)


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (grey) uint8, contiguous
    table: Tensor,  # [2^24], of `lookup_table`
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up."""
    pixels, words = _aligned(pixels), uint16_as_int16(table)
    labels = torch.empty(len(pixels), dtype=words.dtype, device=pixels.device)
    grid = (triton.cdiv(len(pixels), BLOCK),)
    with torch.cuda.device_of(pixels):
        apply_lookup_kernel[grid](pixels, words, labels, len(pixels), GREY=pixels.ndim == 1, BLOCK=BLOCK)
    return viewed_as(labels, table.dtype)


@triton.jit(do_not_specialize=["n_colors"], do_not_specialize_on_alignment=["colors", "keys"])
def keys_from_colors_kernel(colors, keys, n_colors, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """keys[i] = the place of color i in Z-order; a fourth column is left out."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = place < n_colors
    tl.store(keys + place, _color_keys(colors, place, mask, COLUMNS), mask=mask)


def keys_from_colors(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count
) -> Tensor:  # [M] int32
    """The Z-order keys of colors."""
    colors = colors.contiguous()
    keys = torch.empty(len(colors), dtype=torch.int32, device=colors.device)
    grid = (triton.cdiv(len(colors), BLOCK),)
    with torch.cuda.device_of(colors):
        keys_from_colors_kernel[grid](colors, keys, len(colors), COLUMNS=colors.shape[1], BLOCK=BLOCK)
    return keys


@triton.jit
def _gathered(keys):
    """Move bit 3 b of a key to bit b."""
    levels = keys & 0x249249
    levels = (levels | (levels >> 2)) & 0x0C30C3
    levels = (levels | (levels >> 4)) & 0x00F00F
    return (levels | (levels >> 8)) & 0x0000FF


@triton.jit(do_not_specialize=["n_colors"], do_not_specialize_on_alignment=["colors", "keys"])
def colors_from_keys_kernel(keys, colors, n_colors, BLOCK: tl.constexpr):
    """colors[i] = the color at place keys[i] in Z-order."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = place < n_colors
    key = tl.load(keys + place, mask=mask, other=0)
    for axis in tl.static_range(3):
        tl.store(colors + place * 3 + axis, _gathered(key >> axis).to(tl.uint8), mask=mask)


def colors_from_keys(
    keys: Tensor,  # [M] int32
) -> Tensor:  # [M, 3] uint8
    """The colors of Z-order keys."""
    keys = keys.contiguous()
    colors = torch.empty(len(keys), 3, dtype=torch.uint8, device=keys.device)
    with torch.cuda.device_of(keys):
        colors_from_keys_kernel[(triton.cdiv(len(keys), BLOCK),)](keys, colors, len(keys), BLOCK=BLOCK)
    return colors
