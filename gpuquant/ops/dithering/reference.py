"""Dithering in plain torch, on any device: the reference for `cpu_diffusion` and `cpu`."""

import torch
from torch import Tensor

from gpuquant.ops.dithering.cpu_diffusion import DIAGONALS, FULL_STRENGTH, STRENGTH_BITS, lanes_of
from gpuquant.ops.dithering.nearest_table import NearestTable
from gpuquant.tensors import uint16_as_int16

CHUNK_PIXELS = 1 << 24  # renumbered together: a few launches for a photo, and 64 MiB


def diffuse_errors(
    ranks: Tensor,  # [H, W] int32: the color of each pixel
    colors: Tensor,  # [M, 3] uint8
    still: Tensor | None,  # [M] bool: colors that neither take nor give errors
    nearest: NearestTable,
    above: Tensor,  # [W, 4] int16: the errors of the row above
    limit: int,  # 0..255: an error beyond it is cut, channel by channel
    strength: int,  # 0..128: the part of an error that is passed on, in 128ths
) -> tuple[Tensor, Tensor]:  # [H, W] int16 or int32: the entry of each pixel; [W, 4] int16: the last row's errors
    """Give every pixel the entry nearest to its level and the errors that reach it, and pass on what remains.

    The whole table is filled first: to ask for what is missing would make the host wait on every diagonal.
    """
    nearest.fill()
    height, width = ranks.shape
    pitch = max(width, 2)  # strides are not negative then
    n_diagonals = width + 2 * (height - 1)
    strides = (1, pitch - 2)
    ranks_of = torch.nn.functional.pad(ranks, (0, pitch - width)).as_strided((n_diagonals, height), strides)
    labels = nearest.table.new_empty(height, pitch)
    labels_of = labels.as_strided((n_diagonals, height), strides)
    sources = lanes_of(colors, 16, 8).view(torch.int64).view(-1)  # rounding is a shift, then
    entries = lanes_of(nearest.palette).view(torch.int64).view(-1)
    moving = None if still is None else (~still).to(torch.int16)

    errors = torch.zeros(4, height + 1, 4, dtype=torch.int16, device=ranks.device)  # row y is at y + 1
    falling = errors.new_zeros(n_diagonals + 4, 4)  # from the row above
    falling[2 : width + 2] = above
    errors[-1, 0], errors[-2, 0] = falling[3], falling[2]
    last = torch.empty_like(above)
    for start in range(0, n_diagonals, DIAGONALS):
        stop = min(start + DIAGONALS, n_diagonals)
        top, bottom = max(0, (start - width + 2) // 2), min(height, (stop + 1) // 2)
        picked = ranks_of[start:stop, top:bottom].reshape(-1)
        block = sources[picked].view(torch.int16).view(stop - start, bottom - top, 4)
        moves = None if moving is None else moving[picked].view(stop - start, bottom - top, 1)
        for diagonal in range(start, stop):
            first, end = max(0, (diagonal - width + 2) // 2), min(height, diagonal // 2 + 1)
            now, before = errors[diagonal & 3], errors[(diagonal - 1) & 3]
            now[first] = falling[diagonal + 4]  # of the row above; 0 beside the end of a row
            if first == end:
                continue
            here = slice(first - top, end - top)
            level = torch.add(block[diagonal - start, here], before[first + 1 : end + 1], alpha=7)
            level.add_(before[first:end], alpha=3)
            level.add_(errors[(diagonal - 2) & 3, first:end], alpha=5)
            level.add_(errors[(diagonal - 3) & 3, first:end])
            level.bitwise_right_shift_(4).clamp_(0, 255)
            label = nearest.table[level.to(torch.uint8).view(torch.int32).view(-1)]
            labels_of[diagonal, first:end] = label
            error = level.sub_(entries[label.to(torch.int32)].view(torch.int16).view(-1, 4))
            error.clamp_(-limit, limit)
            if strength != FULL_STRENGTH:
                error = error.mul_(strength).add_(FULL_STRENGTH // 2).bitwise_right_shift_(STRENGTH_BITS)
            now[first + 1 : end + 1] = error if moves is None else error * moves[diagonal - start, here]
            if end == height:
                last[diagonal - 2 * (height - 1)] = now[end]
    return labels[:, :width], last


def choose_entries(
    top: int,  # the place of the first row in the image
    ranks: Tensor,  # [rows, W] int32: the color of each pixel
    entries: Tensor,  # [M, 4] of the labels' dtype
    limits: Tensor,  # [M, 3] int16, ascending
    mask: Tensor,  # [S, S] int16, laid side by side from the image's top left
    labels: Tensor,  # [rows, W] uint8 or uint16: written
) -> None:
    """Give each pixel the first of its color's entries whose limit is above the mask, or the last one."""
    rows, columns = (torch.arange(n, device=ranks.device) for n in ranks.shape)
    levels = mask[((rows + top) % len(mask))[:, None], columns % len(mask)]
    place = torch.zeros_like(ranks)
    for limit in limits.t():
        place += limit[ranks] <= levels
    uint16_as_int16(labels).copy_(uint16_as_int16(entries).view(-1)[ranks * 4 + place])


def tally_labels(
    ranks: Tensor,  # [N] int32: the color of each pixel
    labels: Tensor,  # [N] uint8 or uint16
    colors: Tensor,  # [M, 3] uint8
    palette: Tensor,  # [K, 3] uint8
) -> tuple[Tensor, int]:  # [K] int64; the sum of squared differences
    """Count the pixels of each entry, and sum up their squared differences."""
    indices = labels.to(torch.int32)
    apart = colors[ranks].to(torch.int32) - palette[indices].to(torch.int32)
    return torch.bincount(indices, minlength=len(palette)), int(apart.square_().sum())


def renumber(
    labels: Tensor,  # [H, W] uint8 or uint16: changed in place
    numbers: Tensor,  # [K] int64: what becomes of each
) -> None:
    """Give every label its number."""
    words = uint16_as_int16(labels)
    becomes = numbers.to(words.dtype)
    n_rows = max(1, CHUNK_PIXELS // labels.shape[1])
    for rows in words.split(n_rows):
        rows.copy_(becomes[rows.to(torch.int32) & 0xFFFF])
