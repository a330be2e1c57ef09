"""The passes over dithered pixels on the CPU, as compiled loops in worker threads; `reference` has their twins."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.dithering.reference import FIELD_BITS
from gpuquant.threads import share_out, worker_threads

CHUNK_PIXELS = 1 << 17  # in a call: 2^13 to 2^21 take the same time, on photos of 0.4 and 6 million pixels

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


def choose_entries(
    top: int,  # the place of the first row in the image
    rows: Tensor,  # [rows, W, 1] (gray), [rows, W, 3] or [rows, W, 4] uint8; a fourth column is left out
    numbers: Tensor,  # [rows, W] uint8, uint16 or int32: of the mixtures of pixels
    mixtures: Tensor,  # [Q, 5] int64
    palette: Tensor,  # [K, 3] uint8
    mask: Tensor,  # [A, B] int64: three equal fields, with their highest bits; laid side by side from the top left
    labels: Tensor,  # [rows, W] uint8 or uint16: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; squared differences
    """Give each pixel the first of its mixture's entries whose limit is above the mask, or the last one.

    A mixture is five integers. The first four, times red, green, blue and 1, add up to the limits of the first three
    entries: three fields of FIELD_BITS, the first one lowest, whose highest bits are 0. The last one is the four
    entries, 16 bits each.
    """
    levels, width = rows[:, :, :3].expand(-1, -1, 3).contiguous().numpy(), rows.shape[1]
    shades = (palette.to(torch.int64).numpy() @ np.array([1, 1 << 8, 1 << 16])).astype(np.uint32)
    given, entries = mixtures.numpy(), np.ascontiguousarray(mixtures[:, 4].numpy()).view(np.uint16)
    forms, counts = np.ascontiguousarray(given[:, :4]).reshape(-1), np.zeros((8, len(palette)), np.uint32)
    pixels = levels.reshape(len(levels), 3 * width), numbers.numpy()
    error = _choose(top, *pixels, forms, entries, shades, mask.numpy(), FIELD_BITS, labels.numpy(), counts)
    return torch.from_numpy(counts.sum(axis=0, dtype=np.int64)), int(error)


@compiled
def _choose(
    top: int,
    rows: Array,  # [rows, 3 W]
    numbers: Array,  # [rows, W]
    forms: Integers,  # [4 Q]
    entries: Array,  # [4 Q] uint16
    shades: Array,  # [K] uint32: red, green and blue, from the lowest bits on
    mask: Integers,
    field_bits: int,
    labels: Array,
    counts: Array,  # [8, K] uint32, added to: neighbors often are of one entry, and would wait for each other
) -> Any:
    """A limit and the mask are compared by the highest bit of their difference, all three at a time.

    Loops are short, so that the processor works on several pixels at a time.
    """
    width, side, error = np.uintp(labels.shape[1]), np.uintp(mask.shape[1]), np.int64(0)
    repeat = np.int64(1) | np.int64(1) << field_bits | np.int64(1) << 2 * field_bits
    signs = repeat << (field_bits - 1)
    gather = np.uint64(repeat) << np.uint64(63 - 3 * field_bits)  # times the signs: their number in the highest bits
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    for row in range(np.uintp(len(rows))):
        thresholds = mask[(np.uintp(top) + row) % np.uintp(len(mask))]
        for left in range(np.uintp(0), width, side):
            n_columns = min(side, width - left)
            levels = rows[row, three * left : three * (left + n_columns)]
            found, which = labels[row, left : left + n_columns], numbers[row, left : left + n_columns]
            for column in range(n_columns):
                place, first = three * column, np.uintp(which[column]) << two
                limits = forms[first] * levels[place] + forms[first + one] * levels[place + one]
                limits = limits + forms[first + two] * levels[place + two] + forms[first + three]
                passed = np.uint64((thresholds[column] - limits) & signs) * gather >> np.uint64(62)
                found[column] = entries[first + np.uintp(passed)]
            apart = np.int32(0)
            for column in range(n_columns):
                place, shade = three * column, shades[np.uintp(found[column])]
                red = np.int32(np.int32(levels[place]) - np.int32(shade & np.uint32(255)))
                green = np.int32(np.int32(levels[place + one]) - np.int32(shade >> np.uint32(8) & np.uint32(255)))
                blue = np.int32(np.int32(levels[place + two]) - np.int32(shade >> np.uint32(16)))
                apart = np.int32(apart + np.int32(red * red) + np.int32(green * green) + np.int32(blue * blue))
            error += apart
            for column in range(n_columns):
                counts[column & np.uintp(7), np.uintp(found[column])] += np.uint32(1)
    return error


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
