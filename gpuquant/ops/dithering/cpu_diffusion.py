"""Floyd-Steinberg error diffusion as a compiled loop over the pixels, row by row; `reference` has its twin.

The red, green and blue of an error travel in one 64-bit number, 21 bits apart: sums of such numbers have the sums of
the channels. A pixel takes long to be told which entry it gets, and does little else, so that the loop goes through
a few rows at a time, each two pixels behind the one above. Threads follow each other in the same way, band by band.
"""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.dithering.cpu_nearest import nearest_in_cells
from gpuquant.ops.dithering.reference import FULL_STRENGTH, STRENGTH_BITS
from gpuquant.threads import share_out, worker_threads

ROWS = 4  # that a loop goes through at a time: one takes 1.25 times as long, 2 to 4 take the same
BAND_ROWS = 64  # that follow each other in one thread
LEAST_COLUMNS = 2 * BAND_ROWS  # of a part, so that its last row, too, is ahead of the next band
PARTS_A_THREAD = 4  # of a band: it follows the one above two parts behind
SHIFTS = np.array([0, 21, 42], np.int64)  # of red, green and blue
ONES = 1 + (1 << 21) + (1 << 42)
LOWEST = 256  # subtracted from the level that looks up a level: errors add up to 255 at most

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


def diffuse_errors(
    rows: Tensor,  # [H, W, 1] (gray), [H, W, 3] or [H, W, 4] uint8; a fourth column is left out
    kept: Tensor | None,  # [H, W] int32: the entry of a pixel that neither takes nor gives errors; -1: it does
    palette: Tensor,  # [K, 3] uint8
    allowed: Tensor,  # [E] int64, ascending: the entries that others may take, one at least
    falling: Tensor,  # [W, 3] int16: 16 times what comes from above; changed to what goes below
    limit: int,  # 0..255: an error beyond it is cut, channel by channel
    strength: int,  # 0..128: the part of an error that is passed on, in 128ths
    labels: Tensor,  # [H, W] uint8 or uint16: written
) -> tuple[Tensor, int]:  # [K] int64: the pixels of each entry; squared differences of those not kept
    """Give every pixel the entry nearest to its level and the errors that reach it, and pass on what remains.

    The level is that of the color plus the errors / 16, rounded to an integer (half up) and clamped to 0..255. Its
    difference to the entry, cut to the limit and times the strength (rounded half up), is the error: 7 / 16 of it go to
    the right, 3 / 16 below to the left, 5 / 16 below and 1 / 16 below to the right. Every row is walked from left to
    right.

    Source: Floyd and Steinberg 1976, "An adaptive algorithm for spatial greyscale"; integers as in the Independent
    JPEG Group's jquant2.c, which also looks rounded levels up.
    """
    height, width = labels.shape
    entries = palette.numpy()
    cells, further = nearest_in_cells(entries, allowed.numpy())
    shades = entries.astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    levels = np.arange(-LOWEST, 1024 - LOWEST).clip(0, 255).astype(np.uint8)
    passed = np.arange(-255, 256).clip(-limit, limit) * strength + FULL_STRENGTH // 2 >> STRENGTH_BITS
    stands = np.empty((0, width), np.int32) if kept is None else kept.numpy()
    below = np.append(0, falling.numpy().astype(np.int64) @ (np.int64(1) << SHIFTS))  # one column to the left, too
    given: tuple[Any, ...] = rows.numpy(), stands, shades, cells, further, levels, passed, below, labels.numpy()

    n_workers = worker_threads()
    n_columns = max(LEAST_COLUMNS, -(-width // (PARTS_A_THREAD * n_workers)))
    n_parts = -(-(width + 2 * BAND_ROWS) // n_columns)
    tops = range(0, height, BAND_ROWS)
    stairs, free = _Stairs(len(tops), n_parts), iter(range(len(tops)))
    found: list[tuple[Integers, int]] = []

    def work(_: int) -> None:
        counts, error = np.zeros(len(entries), np.int64), 0
        with stairs:
            for band in free:
                bottom, left = min(tops[band] + BAND_ROWS, height), np.zeros(BAND_ROWS, np.int64)
                for part in range(n_parts):
                    if not stairs.may_enter(band, part):
                        return
                    start, stop = part * n_columns, (part + 1) * n_columns
                    error += int(_diffuse(tops[band], bottom, start, stop, left, counts, *given))
                    stairs.leave(band)
        found.append((counts, error))

    share_out(range(n_workers), work, n_workers)
    raised = below[1:, None] + ONES * (LOWEST << 4)  # so that no channel is below 0
    falling.copy_(torch.from_numpy((raised >> SHIFTS & (1 << 21) - 1) - (LOWEST << 4)))
    return torch.from_numpy(np.sum([counts for counts, _ in found], axis=0)), sum(error for _, error in found)


class _Stairs:
    """The parts of bands that are done: each band stays two parts behind the one above."""

    def __init__(self, n_bands: int, n_parts: int) -> None:
        self._n_done, self._n_parts = [0] * n_bands, n_parts
        self._moved, self._is_broken = threading.Condition(), False

    def may_enter(self, band: int, part: int) -> bool:
        """Wait until a part may be worked on; False if that will never be."""
        wanted = min(part + 2, self._n_parts)
        if band > 0 and self._n_done[band - 1] < wanted:
            with self._moved:
                self._moved.wait_for(lambda: self._is_broken or self._n_done[band - 1] >= wanted)
        return not self._is_broken

    def leave(self, band: int) -> None:
        with self._moved:
            self._n_done[band] += 1
            self._moved.notify_all()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Let nobody wait for a thread that has failed, or was interrupted."""
        if kind:
            with self._moved:
                self._is_broken = True
                self._moved.notify_all()


@compiled
def _diffuse(
    top: int,  # the band
    bottom: int,
    start: int,  # the columns in its first row; in each below they lie two to the left
    stop: int,
    left: Integers,  # [BAND_ROWS], changed: the last error of each row
    counts: Integers,  # [K]: added to
    rows: Bytes,  # [H, W, C]
    stands: Array,  # [H or 0, W] int32
    shades: Array,  # [K] int32: red, green and blue of each entry, 8 bits apart
    cells: npt.NDArray[np.uint64],  # [2^15]
    further: npt.NDArray[np.uint16],
    levels: Bytes,  # [1024]: the level, clamped
    passed: Integers,  # [511]: what is passed on, of errors from -255 to 255
    below: Integers,  # [1 + W], changed: a row's errors for the one below
    labels: Array,  # [H, W]: written
) -> Any:  # the sum of squared differences
    width, green_column, blue_column = np.uintp(rows.shape[1]), min(1, rows.shape[2] - 1), min(2, rows.shape[2] - 1)
    half_up = ((LOWEST << 4) + 8) * ONES
    some_stand, total = len(stands) > 0, np.int64(0)
    for first in range(top, bottom, ROWS):
        n_rows, back = min(ROWS, bottom - first), 2 * (first - top)
        for step in range(max(0, start - back), min(stop - back, rows.shape[1] + 2 * ROWS)):
            for row in range(n_rows):
                x, y, before = np.uintp(step - 2 * row), np.uintp(first + row), left[first + row - top]
                if x >= width:  # or negative
                    continue
                right = x + np.uintp(1)
                own_red = np.int64(rows[y, x, 0])
                own_green, own_blue = np.int64(rows[y, x, green_column]), np.int64(rows[y, x, blue_column])
                level = ((own_red | own_green << 21 | own_blue << 42) << 4) + half_up + below[right] + 7 * before
                red, green = np.int32(levels[level >> 4 & 1023]), np.int32(levels[level >> 25 & 1023])
                blue = np.int32(levels[level >> 46 & 1023])
                cell = cells[np.uintp(blue >> 3 << 10 | green >> 3 << 5 | red >> 3)]
                entry, other = np.uintp(cell & np.uint64(0xFFFF)), np.uintp(cell >> np.uint64(16) & np.uint64(0xFFFF))
                nearest, farther = _apart(shades[entry], red, green, blue), _apart(shades[other], red, green, blue)
                entry, nearest = other if farther < nearest else entry, min(farther, nearest)  # no branch
                place = np.uintp(cell >> np.uint64(32))
                if place:
                    for listed in range(place + np.uintp(1), place + np.uintp(1) + np.uintp(further[place])):
                        other = np.uintp(further[listed])
                        farther = _apart(shades[other], red, green, blue)
                        entry, nearest = other if farther < nearest else entry, min(farther, nearest)
                stays = some_stand and stands[y, x] >= 0
                if stays:
                    entry = np.uintp(stands[y, x])
                shade = np.int64(shades[entry])
                entry_red, entry_green, entry_blue = shade & 255, shade >> 8 & 255, shade >> 16
                error = passed[np.uintp(red - entry_red + 255)] + (passed[np.uintp(green - entry_green + 255)] << 21)
                error += passed[np.uintp(blue - entry_blue + 255)] << 42
                if stays:
                    error = np.int64(0)
                below[right] = before + 5 * error
                below[x] += 3 * error
                left[first + row - top] = error
                labels[y, x] = entry
                counts[entry] += 1
                own_red, own_green, own_blue = own_red - entry_red, own_green - entry_green, own_blue - entry_blue
                apart = own_red * own_red + own_green * own_green + own_blue * own_blue
                total += 0 if stays else apart
    return total


@compiled
def _apart(shade: Any, red: Any, green: Any, blue: Any) -> Any:  # the squared distance, int32
    red, green, blue = red - (shade & 255), green - (shade >> 8 & 255), blue - (shade >> 16)
    return red * red + green * green + blue * blue
