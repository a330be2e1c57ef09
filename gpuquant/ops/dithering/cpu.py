"""The passes over dithered pixels on the CPU, as compiled loops in worker threads; `reference` has their twins."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # in a call: 2^13 to 2^21 take the same time, on photos of 0.4 and 6 million pixels

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def choose_entries(
    top: int,  # the place of the first row in the image
    ranks: Tensor,  # [rows, W] int32: the color of each pixel
    mixtures: Tensor,  # [M, 8] int32: four errors; as int16 [M, 16], from 8 on their entries, from 12 on three limits
    mask: Tensor,  # [S, S] int16, laid side by side from the image's top left
    n_entries: int,  # K
    labels: Tensor,  # [rows, W] uint8 or uint16: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; the sum of their errors
    """Give each pixel the first of its color's entries whose limit is above the mask, or the last one.

    Limits are ascending; the error is what a pixel of that color and entry adds to the sum.
    """
    counts = np.zeros(n_entries, np.int64)
    given = ranks.numpy(), mixtures.numpy(), mixtures.view(torch.int16).numpy()
    error = _choose(top, *given, mask.numpy(), labels.numpy(), counts)
    return torch.from_numpy(counts), int(error)


@compiled
def _choose(
    top: int,
    ranks: Array,
    errors: Array,  # [M, 8] int32
    parts: Array,  # [M, 16] int16: the same memory, so that a color is one line of the cache
    mask: Array,
    labels: Array,
    counts: Integers,
) -> Any:
    width, side, error = np.uintp(ranks.shape[1]), np.uintp(len(mask)), np.int64(0)
    for row in range(np.uintp(len(ranks))):
        levels = mask[(np.uintp(top) + row) % side]
        for left in range(np.uintp(0), width, side):
            for column in range(min(side, width - left)):
                color, level = np.uintp(ranks[row, left + column]), levels[column]
                place = np.uintp(parts[color, 12] <= level)  # no branch, which would be guessed wrong half of the time
                place += np.uintp(parts[color, 13] <= level)
                place += np.uintp(parts[color, 14] <= level)
                entry = np.uintp(np.uint16(parts[color, np.uintp(8) + place]))
                labels[row, left + column] = entry
                counts[entry] += 1
                error += np.int64(errors[color, place])
    return error


def renumber(
    labels: Tensor,  # [H, W] uint8 or uint16: changed in place
    numbers: Tensor,  # [K] int64: what becomes of each
) -> None:
    """Give every label its number."""
    flat, becomes = labels.numpy().reshape(-1), numbers.numpy()

    def change(start: int) -> None:
        _renumber(flat[start : start + CHUNK_PIXELS], becomes)

    share_out(range(0, len(flat), CHUNK_PIXELS), change, worker_threads())


@compiled
def _renumber(labels: Array, numbers: Integers) -> None:
    for place in range(len(labels)):
        labels[place] = numbers[labels[place]]
