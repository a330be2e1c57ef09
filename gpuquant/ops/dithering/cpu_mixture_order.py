"""The order of the entries of a mixture, as compiled loops."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled

TURNS = 6  # of a line before it is taken for the one to which entries lie closest: more change no figure measured

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@compiled
def put_in_order(
    entries: Floats,  # [P, 3]
    lightness: Floats,  # [3]: what a level of each channel adds
    corners: Integers,  # [4, C]: entries, changed
    weights: Floats,  # [4, C]: changed
) -> None:
    """Put the entries of each mixture along the line to which they lie closest, from its light end to its dark one."""
    way, onward, middle, places = np.empty(3), np.empty(3), np.empty(3), np.empty(4)
    for place in range(corners.shape[1]):
        n_used = 0
        for corner in range(4):
            if weights[corner, place] > 0:
                corners[n_used, place], weights[n_used, place] = corners[corner, place], weights[corner, place]
                n_used += 1
        middle[:] = 0
        for corner in range(n_used):
            for axis in range(3):
                middle[axis] += entries[corners[corner, place], axis] / n_used
        way[:] = lightness
        n_turns = TURNS if n_used > 2 else 0
        for _ in range(n_turns):  # the power method: the way turns to the longest axis of the entries' scatter
            onward[:] = 0
            length = 0.0
            for corner in range(n_used):
                along = _along(entries, corners[corner, place], middle, way)
                for axis in range(3):
                    onward[axis] += along * (entries[corners[corner, place], axis] - middle[axis])
            for axis in range(3):
                length = max(length, abs(onward[axis]))
            if length == 0:
                break
            for axis in range(3):
                way[axis] = onward[axis] / length
        for corner in range(n_used):
            places[corner] = -_along(entries, corners[corner, place], middle, way)
        for corner in range(1, n_used):  # sorted by insertion
            entry, weight, here, before = corners[corner, place], weights[corner, place], places[corner], corner
            while before > 0 and places[before - 1] > here:
                corners[before, place], weights[before, place] = corners[before - 1, place], weights[before - 1, place]
                places[before] = places[before - 1]
                before -= 1
            corners[before, place], weights[before, place], places[before] = entry, weight, here
        for corner in range(n_used, 4):
            corners[corner, place], weights[corner, place] = corners[n_used - 1, place], 0


@compiled
def _along(entries: Floats, entry: int, middle: Floats, way: Floats) -> Any:
    red, green, blue = entries[entry, 0] - middle[0], entries[entry, 1] - middle[1], entries[entry, 2] - middle[2]
    return red * way[0] + green * way[1] + blue * way[2]
