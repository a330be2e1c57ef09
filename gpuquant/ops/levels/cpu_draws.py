"""Draws of pixels with probability proportional to a value of their color, in the order of the pixels: compiled loops.

The running sum over all pixels is needed only at the drawn places: chunks of pixels are summed up first, color by
color, and only the drawn chunks are looked into.
"""

from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.threads import share_out, worker_threads

N_CHUNKS = 32  # that many have few colors each, and few pixels
FEWEST = 1 << 11  # pixels of a chunk: they are looked into in 2 us
MOST = 1 << 19  # pixels that are counted or looked into in one call, in 2 ms
FEW_PIXELS = 1 << 19  # are counted in 1 ms, and another thread takes 0.1 to start
ENTRIES_AT_ONCE = 1 << 20  # are summed up in 2 ms

Array = npt.NDArray[Any]
Ranks = npt.NDArray[np.int32]


class PixelDraws:
    """Chunks of pixels as distinct colors with their summed weights; sums are integers where all weights are 1."""

    def __init__(
        self,
        ranks: Tensor,  # [N] int32: which of the distinct colors each pixel has
        n_colors: int,
        weights: Tensor | None = None,  # [N] float64, not negative; None: all are 1
    ) -> None:
        self._ranks, self._n_colors = ranks.numpy(), n_colors
        self._weights = np.ones(0, np.int32) if weights is None else weights.numpy()
        n_pixels = len(self._ranks)
        self._size = min(max(-(-n_pixels // N_CHUNKS), FEWEST), MOST)
        starts = range(0, n_pixels, self._size)
        colors, totals = [np.zeros(0, np.int32)] * len(starts), [self._weights[:0]] * len(starts)
        spare: deque[tuple[Array, Ranks]] = deque()

        def count(chunk: int) -> None:
            try:
                table, found = spare.pop()
            except IndexError:  # one for each thread
                table, found = np.zeros(n_colors, self._weights.dtype), np.empty(self._size, np.int32)
            n_found = _count(self._ranks, self._weights, *self._rows(chunk), table, found)
            colors[chunk], totals[chunk] = found[:n_found].copy(), np.empty(n_found, table.dtype)
            _collect(table, colors[chunk], totals[chunk])
            spare.append((table, found))

        share_out(range(len(starts)), count, worker_threads() if n_pixels >= FEW_PIXELS else 1)
        self._colors, self._totals = np.concatenate(colors), np.concatenate(totals)
        self._ends = np.cumsum([0, *map(len, colors)])

    def totals(self) -> Tensor:  # [M] float64
        """The summed weights of each color."""
        totals = np.zeros(self._n_colors)
        for start in range(0, len(self._colors), ENTRIES_AT_ONCE):
            part = slice(start, start + ENTRIES_AT_ONCE)
            _add(self._colors[part], self._totals[part], totals)
        return torch.from_numpy(totals)

    def draw(
        self,
        values: Tensor,  # [M]: whole numbers that are not negative
        uniforms: npt.NDArray[np.float64],  # [L] in [0, 1)
    ) -> list[int]:  # [L]: the ranks of the drawn pixels' colors
        """Draw one pixel for each uniform number by the running sum of weight times value."""
        given = values.to(torch.int32).numpy()
        n_chunks = len(self._ends) - 1
        sums = np.zeros(n_chunks, np.result_type(self._totals, np.int64))
        at_once = max(1, n_chunks * ENTRIES_AT_ONCE // max(1, len(self._colors)))

        def add(start: int) -> None:
            stop = min(start + at_once, n_chunks)
            _sum_chunks(given, self._colors, self._totals, self._ends, start, stop, sums)

        share_out(range(0, n_chunks, at_once), add, 1)
        ends = np.cumsum(sums)
        targets = uniforms * ends[-1]
        drawn = []
        for target, chunk in zip(targets, np.minimum(np.searchsorted(ends, targets), n_chunks - 1), strict=True):
            left = target - (ends[chunk] - sums[chunk])
            drawn.append(int(self._ranks[_look(self._ranks, self._weights, *self._rows(chunk), given, left)]))
        return drawn

    def _rows(self, chunk: int) -> tuple[int, int]:
        return chunk * self._size, min((chunk + 1) * self._size, len(self._ranks))


@compiled
def _count(
    ranks: Ranks,  # [N]
    weights: Array,  # [N], or empty: all are 1
    start: int,
    stop: int,
    table: Array,  # [M]: zeros, added to
    found: Ranks,  # the colors that have a weight, written in the order in which they are found
) -> Any:  # how many they are
    n_found = np.uintp(0)
    for place in range(np.uintp(start), np.uintp(stop)):
        rank = np.uintp(ranks[place])
        weight = weights[place] if len(weights) > 0 else 1
        before = table[rank]
        if before == 0 and weight != 0:
            found[n_found] = rank
            n_found += np.uintp(1)
        table[rank] = before + weight
    return n_found


@compiled
def _collect(table: Array, colors: Ranks, totals: Array) -> None:
    """Take what has been counted out of a table, and leave zeros there."""
    for place in range(np.uintp(len(colors))):
        color = np.uintp(colors[place])
        totals[place] = table[color]
        table[color] = 0


@compiled
def _add(colors: Ranks, totals: Array, sums: Array) -> None:
    for place in range(np.uintp(len(colors))):
        sums[np.uintp(colors[place])] += totals[place]


@compiled
def _sum_chunks(
    values: Ranks,  # [M]
    colors: Ranks,  # [E], chunk by chunk
    totals: Array,  # [E]
    ends: npt.NDArray[np.int64],  # [C + 1]
    first: int,
    last: int,
    sums: Array,  # [C]: written
) -> None:
    """The sum of each chunk's weights times values."""
    for chunk in range(np.uintp(first), np.uintp(last)):
        total = sums[chunk]
        for place in range(np.uintp(ends[chunk]), np.uintp(ends[chunk + np.uintp(1)])):
            total += totals[place] * np.int64(values[np.uintp(colors[place])])
        sums[chunk] = total


@compiled
def _look(
    ranks: Ranks,  # [N]
    weights: Array,  # [N], or empty: all are 1
    start: int,
    stop: int,
    values: Ranks,  # [M]
    target: float,
) -> Any:
    """Find the first pixel of a chunk at which the running sum reaches a number, or else the last one."""
    running = 0.0
    for place in range(np.uintp(start), np.uintp(stop)):
        value = float(values[np.uintp(ranks[place])])
        running += value * weights[place] if len(weights) > 0 else value
        if running >= target:
            return place
    return np.uintp(stop - 1)
