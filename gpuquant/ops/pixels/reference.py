"""Counting and lookup in plain torch, on any device: the reference for the faster implementations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from gpuquant.colors.codes import N_CODES, codes_from_colors, colors_from_codes, colors_from_z_order, z_order
from gpuquant.tensors import uint16_as_int16

colors_from_keys = colors_from_z_order

CHUNK_PIXELS = 1 << 18  # whose codes are 1 MiB of int32
CHUNK_ON_CUDA = 1 << 24  # there each chunk of pixels with alpha is sorted, and the host waits for it
FEW_PIXELS = 1 << 20  # are sorted in less time than a table of all colors takes to be made
MOST_PIXELS = 2**31 - 1  # of a table of int32


def count_colors(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8
) -> tuple[Tensor, Tensor]:  # Z-order keys [M] int32, ascending; counts [M] int64
    """Count every distinct color exactly."""
    if len(pixels) > MOST_PIXELS:
        return add_counts([count_colors(part) for part in pixels.split(MOST_PIXELS)])
    if len(pixels) <= FEW_PIXELS:
        codes, counts = torch.unique(codes_of(pixels), return_counts=True)
    else:
        table = torch.zeros(N_CODES, dtype=torch.int32, device=pixels.device)
        for chunk in pixels.split(CHUNK_PIXELS):
            table.index_add_(0, codes_of(chunk), table.new_ones(len(chunk)))
        codes = table.nonzero().view(-1)
        counts = table[codes].long()
    keys, order = z_order(colors_from_codes(codes)).sort()
    return keys, counts[order]


def add_counts(
    parts: Sequence[tuple[Tensor, Tensor]],  # keys [M] int32 or int64, ascending; counts [M] int64
) -> tuple[Tensor, Tensor]:  # keys [M], ascending; counts [M] int64
    """Add up several counts of colors."""
    keys, inverse = torch.unique(torch.cat([keys for keys, _ in parts]), return_inverse=True)
    counts = torch.zeros(len(keys), dtype=torch.int64, device=keys.device)
    return keys, counts.index_add_(0, inverse, torch.cat([counts for _, counts in parts]))


def count_alpha(
    pixels: Tensor,  # [N, 4] uint8
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:  # keys [M] int64 with counts; of what is opaque, int32
    """Count every distinct color exactly, those that are not opaque by their keys with alpha."""
    others, opaque = [], []
    for chunk in pixels.split(CHUNK_PIXELS if pixels.is_cpu else CHUNK_ON_CUDA):
        is_opaque = chunk[:, 3] == 255
        others.append(torch.unique(alpha_keys(chunk[~is_opaque]), return_counts=True))
        opaque.append(torch.unique(z_order(chunk[is_opaque][:, :3]), return_counts=True))
    return add_counts(others), add_counts(opaque)


def alpha_keys(
    colors: Tensor,  # [M, 4] uint8, none of them opaque
) -> Tensor:  # [M] int64
    """The place in Z-order above alpha; 0 for all that are clear."""
    alpha = colors[:, 3].long()
    return torch.where(alpha > 0, z_order(colors[:, :3]).long() << 8 | alpha, 0)


def alpha_lookup(
    keys: Tensor,  # [M] int64, ascending: of colors that are not opaque
    values: Tensor,  # [M] uint8, uint16 or int32
    table: Tensor,  # [2^24] of the same dtype, of opaque colors: that of `lookup_table`
    apply_lookup: Callable[[Tensor, Tensor], Tensor],  # opaque pixels [N, 3] up in the table
) -> Callable[[Tensor], Tensor]:  # pixels [N, 4] uint8 of these colors -> [N] of the values' dtype
    """A function that looks up pixels with alpha."""

    def look_up(pixels: Tensor) -> Tensor:
        words = uint16_as_int16(values)
        found = torch.empty(len(pixels), dtype=words.dtype, device=pixels.device)
        size = CHUNK_PIXELS if pixels.is_cpu else CHUNK_ON_CUDA
        for chunk, part in zip(pixels.split(size), found.split(size), strict=True):
            is_opaque = chunk[:, 3] == 255
            part[is_opaque] = uint16_as_int16(apply_lookup(chunk[is_opaque][:, :3].contiguous(), table))
            part[~is_opaque] = words[torch.searchsorted(keys, alpha_keys(chunk[~is_opaque]))]
        return found.view(values.dtype)

    return look_up


@contextmanager
def lookup_table(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count: distinct
    values: Tensor,  # [M] uint8, uint16 or int32
) -> Iterator[Tensor]:  # [2^24] of the values' dtype; other entries are undefined
    """A table of values by the code of a color."""
    table = torch.empty(N_CODES, dtype=values.dtype, device=colors.device)
    codes = codes_from_colors(colors[:, :3])
    uint16_as_int16(table)[codes.long()] = uint16_as_int16(values)
    yield table


def apply_lookup(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8
    table: Tensor,  # [2^24], of `lookup_table`
) -> Tensor:  # [N] of the table's dtype
    """Look every pixel up."""
    words = uint16_as_int16(table)
    found = torch.empty(len(pixels), dtype=words.dtype, device=pixels.device)
    for chunk, part in zip(pixels.split(CHUNK_PIXELS), found.split(CHUNK_PIXELS), strict=True):
        torch.index_select(words, 0, codes_of(chunk), out=part)
    return found.view(table.dtype)


def take(
    values: Tensor,  # [M]
    ranks: Tensor,  # [N] int32
    out: Tensor | None = None,  # [N] of the values' dtype; may be the ranks themselves
) -> Tensor:  # [N]
    """The value of each rank."""
    found = uint16_as_int16(values).index_select(0, ranks).view(values.dtype)
    return found if out is None else out.copy_(found)


def keys_from_colors(
    colors: Tensor,  # [M, 3] uint8, or [M, 4], whose alpha does not count
) -> Tensor:  # [M] int32
    """The Z-order keys of colors."""
    return z_order(colors[:, :3])


def codes_of(
    pixels: Tensor,  # [N, 3] or [N] (gray) uint8
) -> Tensor:  # [N] int32
    """The codes of pixels; a gray pixel has that of the color with three equal levels."""
    return codes_from_colors(pixels if pixels.ndim == 2 else pixels[:, None].expand(-1, 3))


def column_means(samples: Tensor) -> Tensor:  # [N, D] on the CPU -> [D], float64 for uint8
    """The means of the columns, as `numpy.mean` over the first axis rounds them."""
    return torch.from_numpy(samples.numpy().mean(axis=0))
