"""Counting and lookup in plain torch, on any device: the reference for the faster implementations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES, codes_from_colors
from gpuquant.tensors import uint16_as_int16

CHUNK_PIXELS = 1 << 22  # whose codes are 16 MiB of int32


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8
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
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8
    lookup_table: Tensor,  # [2^24] uint8 or uint16
    *,
    chunk_size: int | None = None,
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up in a table with one entry per color code."""
    words = uint16_as_int16(lookup_table)
    labels = torch.empty(len(pixels), dtype=words.dtype, device=pixels.device)
    step = chunk_size or CHUNK_PIXELS
    for chunk, part in zip(pixels.split(step), labels.split(step), strict=True):
        part.copy_(words[pack_pixels(chunk)])
    return labels.view(lookup_table.dtype)


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
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8
) -> Tensor:  # [N] int32
    """The color codes of pixels; a gray pixel has the code of the color with three equal levels."""
    return codes_from_colors(pixels) if pixels.ndim == 2 else pixels.to(torch.int32) * 0x010101
