"""The order of the entries of a mixture, as compiled loops."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled

TURNS = 6  # of a line before it is taken for the one to which entries lie closest: more change no figure measured
SLOTS = 1024  # in which entries are looked for: more than 16,384 neighboring colors of a photo have

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@compiled
def put_in_order(
    entries: Floats,  # [P, 3]
    lightness: Floats,  # [3]: what a level of each channel adds
    corners: Integers,  # [4, C]: entries, changed
    weights: Floats,  # [4, C]: changed, and made to add up to 1
) -> None:
    """Put the entries of each mixture along the line to which they lie closest, from its light end to its dark one."""
    used, share, order, n_before = np.full(4, -1, np.int64), np.empty(4), np.empty(4, np.int64), np.int64(0)
    for place in range(corners.shape[1]):
        n_used, same = np.int64(0), True
        for corner in range(4):
            if weights[corner, place] > 0:
                same = same and used[n_used] == corners[corner, place]
                used[n_used], share[n_used] = corners[corner, place], weights[corner, place]
                n_used += 1
        if not same or n_used != n_before:  # neighbors are mixed from the same entries, mostly
            _find_order(entries, lightness, used, n_used, order)
            n_before = n_used
        total = 0.0
        for corner in range(n_used):
            total += share[order[corner]]
        for corner in range(4):
            source = order[min(corner, int(n_used) - 1)]
            corners[corner, place] = used[source]
            weights[corner, place] = share[source] / total if corner < n_used else 0.0


@compiled
def _find_order(entries: Floats, lightness: Floats, used: Integers, n_used: Any, order: Integers) -> None:
    way, onward, middle, places = lightness.copy(), np.empty(3), np.zeros(3), np.empty(4)
    for corner in range(n_used):
        for axis in range(3):
            middle[axis] += entries[used[corner], axis] / n_used
    n_turns = TURNS if n_used > 2 else 0
    for _ in range(n_turns):  # the power method: the way turns to the longest axis of the entries' scatter
        onward[:] = 0
        length = 0.0
        for corner in range(n_used):
            along = _along(entries, used[corner], middle, way)
            for axis in range(3):
                onward[axis] += along * (entries[used[corner], axis] - middle[axis])
        for axis in range(3):
            length = max(length, abs(onward[axis]))
        if length == 0:
            break
        for axis in range(3):
            way[axis] = onward[axis] / length
    for corner in range(n_used):  # sorted by insertion
        here, before = -_along(entries, used[corner], middle, way), corner
        while before > 0 and places[before - 1] > here:
            order[before], places[before] = order[before - 1], places[before - 1]
            before -= 1
        order[before], places[before] = corner, here


@compiled
def write_down(
    entries: Integers,  # [P]: the palette entry of each point
    corners: Integers,  # [4, C]: points
    weights: Floats,  # [4, C], which add up to 1
    n_levels: int,
    n_bits: int,  # of a limit
    records: Integers,  # [C]: written, the limits
    numbers: Integers,  # [C]: written, the place of the entries
    found: Integers,  # [C, 4]: written, entries, seldom the same ones twice
) -> Any:  # how many are found
    """Write down mixtures as `mix_colors` gives them, but for the numbers of their entries."""
    n_found, slots = np.int64(0), np.zeros(SLOTS, np.int64)
    for place in range(corners.shape[1]):
        mixed, record, total = np.int64(0), np.int64(0), 0.0
        for corner in range(4):
            mixed = mixed * 31 + corners[corner, place]
        number = slots[mixed % SLOTS]
        same = number < n_found
        for corner in range(4):
            same = same and found[number, corner] == entries[corners[corner, place]]
        if not same:
            for corner in range(4):
                found[n_found, corner] = entries[corners[corner, place]]
            number, slots[mixed % SLOTS] = n_found, n_found
            n_found += 1
        for corner in range(3):
            total += weights[corner, place]
            record |= np.int64(min(max(np.rint(total * n_levels), 0), n_levels)) << (corner * n_bits)
        records[place], numbers[place] = record, number
    return n_found


@compiled
def _along(entries: Floats, entry: int, middle: Floats, way: Floats) -> Any:
    red, green, blue = entries[entry, 0] - middle[0], entries[entry, 1] - middle[1], entries[entry, 2] - middle[2]
    return red * way[0] + green * way[1] + blue * way[2]
