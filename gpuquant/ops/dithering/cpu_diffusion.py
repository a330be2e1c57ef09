"""Floyd-Steinberg error diffusion, diagonal by diagonal: exactly what a loop over the pixels, row by row, gives.

A pixel takes errors from its left and from the three above it, so all pixels with the same x + 2 y are independent.
The image is seen through strides in which such a diagonal is a row. Four 16-bit lanes a pixel (red, green, blue and an
unused one) travel as one 64-bit number where pixels or entries are picked.

NumPy does the work on the CPU, where its calls cost half of torch's; the twin in torch runs on any device.
"""

import numpy as np
import numpy.typing as npt
import torch
from numpy.lib.stride_tricks import as_strided
from torch import Tensor

from gpuquant.ops.dithering.nearest_table import NearestTable

DIAGONALS = 64  # whose pixels are picked at a time: 16 to 128 take the same time, on photos of 0.4 and 6 million pixels
STRENGTH_BITS = 7  # products of an error, up to 255, and a strength fit 16 bits
FULL_STRENGTH = 1 << STRENGTH_BITS

Lanes = npt.NDArray[np.int16]


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

    The level is that of the color plus the errors / 16, rounded to an integer (half up) and clamped to 0..255. Its
    difference to the entry, cut to the limit and times the strength (rounded half up), is the error: 7 / 16 of it go to
    the right, 3 / 16 below to the left, 5 / 16 below and 1 / 16 below to the right. Every row is walked from left to
    right.

    Source: Floyd and Steinberg 1976, "An adaptive algorithm for spatial greyscale"; integers as in the Independent
    JPEG Group's jquant2.c, which also looks rounded levels up.
    """
    height, width = ranks.shape
    pitch = max(width, 2)  # strides are not negative then
    n_diagonals = width + 2 * (height - 1)
    stored = np.zeros((height, pitch), np.int32)
    stored[:, :width] = ranks.numpy()
    ranks_of = as_strided(stored, (n_diagonals, height), (4, 4 * (pitch - 2)))
    table, words = nearest.table.numpy(), nearest.table.numpy().dtype
    labels = np.empty((height, pitch), words)
    labels_of = as_strided(labels, (n_diagonals, height), (words.itemsize, words.itemsize * (pitch - 2)))
    sources = lanes_of(colors, 16, 8).numpy().view(np.int64).ravel()  # rounding is a shift, then
    entries = lanes_of(nearest.palette).numpy().view(np.int64).ravel()
    moving = None if still is None else (~still).to(torch.int16).numpy()

    errors = np.zeros((4, height + 1, 4), np.int16)  # of the last diagonals; row y is at y + 1, the row above at 0
    errors[-1, 0], errors[-2, 0] = above[min(1, width - 1)].numpy() * (width > 1), above[0].numpy()
    falling = np.zeros((n_diagonals + 2, 4), np.int16)
    falling[:width] = above.numpy()
    last = np.zeros((width, 4), np.int16)
    level, part = np.empty((2, height, 4), np.int16)
    levels8 = np.empty((height, 4), np.uint8)
    codes = levels8.view(np.int32).ravel()
    places = np.empty(height, np.int64)
    found = np.empty(height, words)
    chosen = np.empty(height, np.int64)
    chosen_lanes = chosen.view(np.int16).reshape(height, 4)
    for start in range(0, n_diagonals, DIAGONALS):
        stop = min(start + DIAGONALS, n_diagonals)
        top, bottom = max(0, (start - width + 2) // 2), min(height, (stop + 1) // 2)
        picked = ranks_of[start:stop, top:bottom]
        block: Lanes = sources.take(picked).view(np.int16).reshape(*picked.shape, 4)
        moves = None if moving is None else moving.take(picked)
        for diagonal in range(start, stop):
            first, end = max(0, (diagonal - width + 2) // 2), min(height, diagonal // 2 + 1)
            now, before = errors[diagonal & 3], errors[(diagonal - 1) & 3]
            now[first] = falling[diagonal + 2]  # of the row above; 0 beside the end of a row
            n = end - first
            if n == 0:
                continue
            acc, product, code = level[:n], part[:n], codes[:n]
            np.multiply(before[first + 1 : end + 1], 7, out=acc)
            acc += block[diagonal - start, first - top : end - top]
            acc += np.multiply(before[first:end], 3, out=product)
            acc += np.multiply(errors[(diagonal - 2) & 3, first:end], 5, out=product)
            acc += errors[(diagonal - 3) & 3, first:end]
            np.right_shift(acc, 4, out=acc)
            np.clip(acc, 0, 255, out=acc)
            np.copyto(levels8[:n], acc, casting="unsafe")
            np.copyto(places[:n], code)
            label = table.take(places[:n], out=found[:n], mode="clip")
            if label.min() < 0:
                nearest.fill_around(torch.from_numpy(code[label < 0]))
                table.take(places[:n], out=label, mode="clip")
            labels_of[diagonal, first:end] = label
            np.copyto(places[:n], label)
            entries.take(places[:n], out=chosen[:n], mode="clip")
            error = np.subtract(acc, chosen_lanes[:n], out=now[first + 1 : end + 1])
            if limit < 255:
                np.clip(error, -limit, limit, out=error)
            if strength != FULL_STRENGTH:
                error *= strength
                error += FULL_STRENGTH // 2
                np.right_shift(error, STRENGTH_BITS, out=error)
            if moves is not None:
                error *= moves[diagonal - start, first - top : end - top, None]
            if end == height:
                last[diagonal - 2 * (height - 1)] = now[end]
    return torch.from_numpy(labels[:, :width]), torch.from_numpy(last)


def lanes_of(
    colors: Tensor,  # [M, 3] uint8
    factor: int = 1,
    offset: int = 0,
) -> Tensor:  # [M, 4] int16
    """Levels times a factor plus an offset, and a lane that stays below one level."""
    lanes = torch.full((len(colors), 4), offset, dtype=torch.int16, device=colors.device)
    lanes[:, :3] += colors.to(torch.int16) * factor
    return lanes
