"""The passes over dithered pixels on the CPU, as compiled loops in worker threads; `reference` has their twins."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.pixels.cpu_keys import SPREAD
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # in a call: 2^13 to 2^21 take the same time, on photos of 0.4 and 6 million pixels

CHUNK_COUNTED = 1 << 21  # labels or pairs, so that the 2^16 counts of a call cost little

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def choose_entries(
    top: int,  # the place of the first row in the image
    rows: Tensor,  # [rows, W, 1] (gray), [rows, W, 3] or [rows, W, 4] uint8; a fourth column is left out
    kept: Tensor | None,  # [rows, W] int32: the entry of a pixel that is not dithered; -1: it is
    table: Tensor,  # [2^24] int64: the record of each color, three limits and the number of its entries
    entries: Tensor,  # [Q, 4] int64
    palette: Tensor,  # [K, 3] uint8
    mask: Tensor,  # [S, S] int16: each of 0..L - 1, L a power of two; laid side by side from the image's top left
    n_levels: int,  # L
    labels: Tensor,  # [rows, W] uint8 or uint16: written
) -> int:  # squared differences of pixels that are not kept
    """Give each pixel the first of its color's entries whose limit is above the mask, or the last one.

    Limits are ascending, 0..L.
    """
    levels, width = rows[:, :, :3].expand(-1, -1, 3).contiguous().numpy(), rows.shape[1]
    stands = np.empty((0, width), np.int32) if kept is None else kept.numpy()
    shades = palette.to(torch.int64).numpy() @ np.array([1, 1 << 8, 1 << 16])
    given = table.numpy(), entries.numpy().reshape(-1), shades.astype(np.uint32), mask.numpy(), n_levels.bit_length()
    return int(_choose(top, levels.reshape(len(levels), -1), stands, SPREAD, *given, labels.numpy()))


@compiled
def _choose(
    top: int,
    rows: Array,  # [rows, 3 W]
    kept: Array,  # [rows or 0, W]
    spread: Array,  # [3, 256] int32: the part of each level of R, G and B in a key
    table: Array,
    entries: Array,  # [4 Q]
    shades: Array,  # [K] uint32: red, green and blue, from the lowest bits on
    mask: Array,
    n_bits: int,  # of a limit
    labels: Array,
) -> Any:
    """A limit and a level are compared by the highest bit of their difference, all three at a time.

    Loops are short: those over bytes work on many at a time, and none waits for what another sums up.
    """
    width, side, error = np.uintp(labels.shape[1]), np.uintp(len(mask)), np.int64(0)
    repeat, shift = np.int64(1) | np.int64(1) << n_bits | np.int64(1) << 2 * n_bits, 3 * n_bits
    signs = repeat << (n_bits - 1)  # the highest bit of each limit
    gather = np.uint64(repeat) << np.uint64(63 - shift)  # times the signs: how many are set, in the two highest bits
    words, chosen = np.empty(side, np.int64), np.empty(3 * side, np.uint8)
    for row in range(np.uintp(len(rows))):
        for column in range(side):
            words[column] = np.int64(mask[(np.uintp(top) + row) % side, column]) * repeat + signs
        for left in range(np.uintp(0), width, side):
            n_columns = min(side, width - left)
            levels = rows[row, np.uintp(3) * left : np.uintp(3) * (left + n_columns)]
            found = labels[row, left : left + n_columns]
            for column in range(n_columns):
                place = np.uintp(3) * column
                key = spread[0, levels[place]] | spread[1, levels[place + np.uintp(1)]]
                record = table[np.uintp(key | spread[2, levels[place + np.uintp(2)]])]
                passed = np.uint64((words[column] - record) & signs) * gather >> np.uint64(62)
                found[column] = entries[np.uintp((record >> shift) << 2) | np.uintp(passed)]
            for column in range(n_columns):
                shade, place = shades[np.uintp(found[column])], np.uintp(3) * column
                chosen[place] = shade
                chosen[place + np.uintp(1)] = shade >> np.uint32(8)
                chosen[place + np.uintp(2)] = shade >> np.uint32(16)
            if len(kept) > 0:
                for column in range(n_columns):
                    if kept[row, left + column] >= 0:
                        found[column] = kept[row, left + column]
                        for axis in range(3):
                            chosen[3 * column + axis] = levels[3 * column + axis]
            apart = np.int32(0)
            for each in range(len(levels)):
                difference = np.int32(np.int32(levels[each]) - np.int32(chosen[each]))
                apart = np.int32(apart + np.int32(difference * difference))
            error += apart
    return error


def count_labels(
    labels: Tensor,  # [H, W] uint8 or uint16
    n_entries: int,  # K
) -> Tensor:  # [K] int64
    """Count the pixels of each entry; labels of one byte are counted two at a time."""
    pairs, rest = _in_pairs(labels.numpy())
    sums = []

    def count(start: int) -> None:
        found = np.zeros((2, 1 << 16), np.int64)
        _count(pairs[start : start + CHUNK_COUNTED], found)
        sums.append(found.sum(axis=0))

    share_out(range(0, len(pairs), CHUNK_COUNTED), count, worker_threads())
    counts: Integers = np.sum([np.zeros(1 << 16, np.int64), *sums], axis=0)
    if labels.dtype == torch.uint8:
        both = counts.reshape(256, 256)
        counts = both.sum(axis=0) + both.sum(axis=1) + np.bincount(rest, minlength=256)
    return torch.from_numpy(counts[:n_entries].copy())


@compiled
def _count(words: Array, counts: Integers) -> None:  # counts [2, 2^16]: neighbors often are the same
    for place in range(np.uintp(len(words))):
        counts[np.uintp(place) & np.uintp(1), np.uintp(words[place])] += 1


def _in_pairs(labels: Array) -> tuple[Array, Array]:  # uint16; the last label where it has no other
    flat = labels.reshape(-1)
    if labels.dtype == np.uint16:
        return flat, flat[:0]
    n_paired = len(flat) // 2 * 2
    return flat[:n_paired].view(np.uint16), flat[n_paired:]


def renumber(
    labels: Tensor,  # [H, W] uint8 or uint16: changed in place
    numbers: Tensor,  # [K] int64: what becomes of each
) -> None:
    """Give every label its number."""
    becomes = numbers.numpy().astype(labels.numpy().dtype)
    pairs, rest = _in_pairs(labels.numpy())
    rest[:] = becomes[rest]
    if labels.dtype == torch.uint8:
        each = np.resize(becomes, 256)
        becomes = np.stack(np.broadcast_arrays(each, each[:, None]), axis=2).view(np.uint16).reshape(-1)

    def change(start: int) -> None:
        _renumber(pairs[start : start + CHUNK_PIXELS], becomes)

    share_out(range(0, len(pairs), CHUNK_PIXELS), change, worker_threads())


@compiled
def _renumber(labels: Array, numbers: Array) -> None:
    for place in range(np.uintp(len(labels))):
        labels[place] = numbers[np.uintp(labels[place])]
