"""Pixels with alpha on the CPU: those that are not opaque are sorted by their keys, and looked up by them.

The key of a color that is not opaque is its place in Z-order above its alpha, so that neighbors in a picture have keys
near to each other, however their alpha differs; that of all clear ones is 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.pixels.cpu_counting import add_counts, count_colors
from gpuquant.ops.pixels.cpu_keys import Bytes, key_of
from gpuquant.ops.points.cpu_order import sorted_by_keys
from gpuquant.tensors import uint16_as_int16
from gpuquant.threads import share_out, worker_threads

PIXELS_A_PART = 1 << 18  # take some milliseconds: less is not worth a thread
PIXELS_AT_ONCE = 1 << 24  # of a part at most: a call takes less than half a second
CHUNK_PIXELS = 1 << 17  # that are looked up in a call
DIGIT_BITS = 11  # of a key
KEY_BITS = 32
MOST_BUCKETS = 1 << 22  # of keys, 16 MiB: of ten million different ones few are in each

Array = npt.NDArray[Any]
Counted = tuple[Tensor, Tensor]


def count_alpha(
    pixels: Tensor,  # [N, 4] uint8, contiguous
) -> tuple[Counted, Counted]:  # keys [M] int64, ascending, with counts [M] int64; the same of what is opaque, int32
    """Count every distinct color exactly, those that are not opaque by their keys with alpha."""
    rows = pixels.numpy()
    n_parts = max(1, min(worker_threads(), len(rows) // PIXELS_A_PART), -(-len(rows) // PIXELS_AT_ONCE))
    starts = np.linspace(0, len(rows), n_parts + 1).astype(np.int64).tolist()
    numbers = np.zeros((n_parts, 2), np.int64)  # of pixels that are clear, and that are opaque

    def number(part: int) -> None:
        _number(rows, starts[part], starts[part + 1], numbers[part])

    share_out(range(n_parts), number, worker_threads() if n_parts > 1 else 1)
    opaque = np.empty((int(numbers[:, 1].sum()), 3), np.uint8)
    found: dict[int, Counted] = {}

    def count(part: int) -> None:
        size = starts[part + 1] - starts[part] - int(numbers[part].sum())
        keys, counts = np.empty(size, np.uint32), np.empty(size, np.int64)
        _split(rows, starts[part], starts[part + 1], keys, opaque, int(numbers[:part, 1].sum()))
        keys, _ = sorted_by_keys(keys, keys[:0], DIGIT_BITS)
        n_keys = _count_runs(keys, counts)
        found[part] = torch.from_numpy(keys[:n_keys].astype(np.int64)), torch.from_numpy(counts[:n_keys].copy())

    share_out(range(n_parts), count, worker_threads() if n_parts > 1 else 1)
    n_clear = int(numbers[:, 0].sum())
    clear = [(torch.tensor([0]), torch.tensor([n_clear]))] if n_clear else []
    counted = add_counts([*clear, *(found[part] for part in range(n_parts))])
    return counted, count_colors(torch.from_numpy(opaque))


@compiled
def _number(rows: Bytes, start: int, stop: int, numbers: Array) -> None:
    """Count the pixels that are clear, and those that are opaque."""
    for place in range(np.uintp(start), np.uintp(stop)):
        numbers[0] += rows[place, 3] == 0
        numbers[1] += rows[place, 3] == 255


@compiled
def _split(
    rows: Bytes,  # [N, 4]
    start: int,
    stop: int,
    keys: Array,  # uint32: written, of what is partly transparent
    opaque: Bytes,  # [n, 3]: written from a place on
    first: int,
) -> None:
    n_keys = np.uintp(0)
    place_of_opaque = np.uintp(first)
    for place in range(np.uintp(start), np.uintp(stop)):
        red, green, blue, alpha = rows[place, 0], rows[place, 1], rows[place, 2], rows[place, 3]
        if alpha == 255:
            opaque[place_of_opaque, 0], opaque[place_of_opaque, 1], opaque[place_of_opaque, 2] = red, green, blue
            place_of_opaque += np.uintp(1)
        elif alpha > 0:
            place_in_order = np.uint32(key_of(rows, place, 1, 2))
            keys[n_keys] = place_in_order << np.uint32(8) | np.uint32(alpha)
            n_keys += np.uintp(1)


@compiled
def _count_runs(
    keys: Array,  # [N] uint32, ascending: each is written once
    counts: Array,  # [N] int64: written
) -> int:  # how many there are
    n_keys = 0
    for place in range(len(keys)):
        key = keys[place]
        if n_keys > 0 and key == keys[n_keys - 1]:
            counts[n_keys - 1] += 1
        else:
            keys[n_keys], counts[n_keys] = key, 1
            n_keys += 1
    return n_keys


def alpha_keys(
    colors: Tensor,  # [M, 4] uint8, none of them opaque
) -> Tensor:  # [M] int64
    """The keys of colors."""
    keys = np.empty(len(colors), np.int64)
    _write_alpha_keys(colors.contiguous().numpy(), keys)
    return torch.from_numpy(keys)


@compiled
def _write_alpha_keys(colors: Bytes, keys: Array) -> None:
    for place in range(np.uintp(len(colors))):
        alpha = np.int64(colors[place, 3])
        key = np.int64(key_of(colors, place, 1, 2))
        keys[place] = key << 8 | alpha if alpha > 0 else 0


def alpha_lookup(
    keys: Tensor,  # [M] int64, ascending: of colors that are not opaque
    values: Tensor,  # [M] uint8, uint16 or int32
    table: Tensor,  # [2^24] of the same dtype, of opaque colors: that of `lookup_table`
) -> Callable[[Tensor], Tensor]:  # pixels [N, 4] uint8, contiguous, of these colors -> [N] of the values' dtype
    """A function that looks up pixels with alpha; keys are found by halves among those with the same leading bits."""
    n_bits = min(MOST_BUCKETS.bit_length() - 1, len(keys).bit_length())
    starts = np.zeros((1 << n_bits) + 1, np.int32)
    given, of_keys, of_opaque = keys.numpy(), uint16_as_int16(values).numpy(), uint16_as_int16(table).numpy()
    shift = KEY_BITS - n_bits
    _find_buckets(given, shift, starts)

    def look_up(pixels: Tensor) -> Tensor:
        rows = pixels.contiguous().numpy()
        found = np.empty(len(rows), of_keys.dtype)

        def look_up_rows(start: int) -> None:
            stop = min(start + CHUNK_PIXELS, len(rows))
            _look_up_with_alpha(rows, start, stop, of_opaque, given, starts, shift, of_keys, found)

        share_out(range(0, len(rows), CHUNK_PIXELS), look_up_rows, worker_threads())
        return torch.from_numpy(found).view(values.dtype)

    return look_up


@compiled
def _find_buckets(keys: Array, shift: int, starts: Array) -> None:
    """Write the place of the first key of each bucket."""
    place = 0
    for bucket in range(len(starts)):
        while place < len(keys) and keys[place] >> shift < bucket:
            place += 1
        starts[bucket] = place


@compiled
def _look_up_with_alpha(
    rows: Bytes,  # [N, 4]
    start: int,
    stop: int,
    of_opaque: Array,  # [2^24]
    keys: Array,  # [M] int64, ascending
    starts: Array,  # [n_buckets + 1] int32
    shift: int,  # of a key in the number of its bucket
    of_keys: Array,  # [M]
    found: Array,  # [N]: written
) -> None:
    for place in range(np.uintp(start), np.uintp(stop)):
        alpha = np.int64(rows[place, 3])
        color = np.int64(key_of(rows, place, 1, 2))
        if alpha == 255:
            found[place] = of_opaque[np.uintp(color)]
        else:
            key = color << 8 | alpha if alpha > 0 else 0
            bucket = np.uintp(key >> shift)
            low = np.uintp(starts[bucket])
            n_left = np.uintp(starts[bucket + np.uintp(1)]) - low
            while n_left > np.uintp(1):  # no branch on the key: it would often be guessed wrong
                half = n_left >> np.uintp(1)
                low += half * np.uintp(keys[low + half] <= key)
                n_left -= half
            found[place] = of_keys[low]
