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
    entries: Tensor,  # [M, 4] of the labels' dtype
    limits: Tensor,  # [M, 3] int16, ascending
    mask: Tensor,  # [S, S] int16, laid side by side from the image's top left
    labels: Tensor,  # [rows, W] uint8 or uint16: written
) -> None:
    """Give each pixel the first of its color's entries whose limit is above the mask, or the last one."""
    arrays = [part.numpy() for part in (ranks, entries, limits, mask, labels)]
    n_rows = max(1, CHUNK_PIXELS // ranks.shape[1])

    def choose(start: int) -> None:
        _choose(top, start, min(start + n_rows, len(ranks)), *arrays)

    share_out(range(0, len(ranks), n_rows), choose, worker_threads())


@compiled
def _choose(
    top: int, start: int, stop: int, ranks: Array, entries: Array, limits: Array, mask: Array, labels: Array
) -> None:
    width, side = ranks.shape[1], len(mask)
    for row in range(start, stop):
        levels = mask[(top + row) % side]
        for left in range(0, width, side):
            for column in range(min(side, width - left)):
                color, level = np.uintp(ranks[row, left + column]), levels[column]
                place = np.uintp(limits[color, 0] <= level)  # no branch, which would be guessed wrong half of the time
                place += np.uintp(limits[color, 1] <= level)
                place += np.uintp(limits[color, 2] <= level)
                labels[row, left + column] = entries[color, place]


def tally_labels(
    ranks: Tensor,  # [N] int32: the color of each pixel
    labels: Tensor,  # [N] uint8 or uint16
    colors: Tensor,  # [M, 3] uint8
    palette: Tensor,  # [K, 3] uint8
) -> tuple[Tensor, int]:  # [K] int64; the sum of squared differences
    """Count the pixels of each entry, and sum up their squared differences."""
    arrays = [part.numpy() for part in (ranks, labels, colors, palette)]
    found: list[tuple[Integers, int]] = []

    def tally(start: int) -> None:
        counts = np.zeros(len(palette), np.int64)
        error = _tally(start, min(start + CHUNK_PIXELS, len(ranks)), counts, *arrays)
        found.append((counts, int(error)))

    share_out(range(0, len(ranks), CHUNK_PIXELS), tally, worker_threads())
    return torch.from_numpy(np.sum([counts for counts, _ in found], axis=0)), sum(error for _, error in found)


@compiled
def _tally(start: int, stop: int, counts: Integers, ranks: Array, labels: Array, colors: Array, palette: Array) -> Any:
    error = np.int64(0)
    for place in range(start, stop):
        color, entry = np.uintp(ranks[place]), np.uintp(labels[place])
        counts[entry] += 1
        for channel in range(3):
            apart = np.int64(colors[color, channel]) - np.int64(palette[entry, channel])
            error += apart * apart
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
