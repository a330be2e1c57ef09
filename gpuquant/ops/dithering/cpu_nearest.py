"""The entries that can be nearest in each cell of the color cube, as compiled loops.

In a cell only those entries count that no other is nearer than everywhere in it (Pelleg and Moore 1999, "Accelerating
exact k-means algorithms with geometric reasoning"). They are found for boxes within boxes, each from those of the box
around it. All numbers are integers: nothing rounds.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled

CELL = 8  # levels on each side: with 4 what is gained on photos of 13 MP is lost on small ones (K = 16 and 256)
BLOCK = 64  # levels on each side of what one call works on, of boxes of 32, 16 and 8
CELLS_OF_BLOCK = (BLOCK // CELL) ** 3

Integers = npt.NDArray[np.int64]
Entries = npt.NDArray[np.uint16]
Records = npt.NDArray[np.uint64]


def nearest_in_cells(
    palette: npt.NDArray[np.uint8],  # [K, 3]
    allowed: Integers,  # [E], ascending: the entries that may be taken
) -> tuple[Records, Entries]:  # [32 x 32 x 32] by blue, green and red; [L]
    """List the entries of each cell in ascending order, without those that are there twice.

    A record is the first entry | the second << 16 | a place in the list << 32. A cell of one entry has it twice. At the
    place is the number of further entries, and behind it they are; place 0 is for cells that have none.
    """
    _, first = np.unique(palette[allowed], axis=0, return_index=True)
    given = allowed[np.sort(first)]
    records = np.empty((256 // CELL) ** 3, np.uint64)
    further = np.empty(CELLS_OF_BLOCK * (len(given) + 1), np.uint16)
    found, n_found = [np.zeros(1, np.uint16)], 1
    room = np.empty((5, len(given)), np.int64)
    for block in range(len(records) // CELLS_OF_BLOCK):
        n_more = _list_block(block, palette.astype(np.int64), given, room, records, n_found, further)
        found.append(further[:n_more].copy())
        n_found += n_more
    return records, np.concatenate(found)


@compiled
def _list_block(
    block: int,  # by red, green and blue, two bits of each
    palette: Integers,  # [K, 3]
    given: Integers,  # [E]
    room: Integers,  # [5, E]: written
    records: Records,  # written
    n_before: int,  # further entries, of other blocks
    further: Entries,  # written
) -> Any:  # how many there are
    apart, n_near, n_large, n_small, n_further = room[0], 0, 0, 0, 0
    block_red, block_green, block_blue = BLOCK * (block & 3), BLOCK * (block >> 2 & 3), BLOCK * (block >> 4)
    n_block = _keep_possible(palette, given, len(given), block_red, block_green, block_blue, BLOCK, apart, room[1])
    for place in range(CELLS_OF_BLOCK):  # in Z-order: all cells of a box follow one another
        red = block_red + CELL * (place & 1 | place >> 2 & 2 | place >> 4 & 4)
        green = block_green + CELL * (place >> 1 & 1 | place >> 3 & 2 | place >> 5 & 4)
        blue = block_blue + CELL * (place >> 2 & 1 | place >> 4 & 2 | place >> 6 & 4)
        if place % 64 == 0:
            n_large = _keep_possible(palette, room[1], n_block, red, green, blue, 4 * CELL, apart, room[2])
        if place % 8 == 0:
            n_small = _keep_possible(palette, room[2], n_large, red, green, blue, 2 * CELL, apart, room[3])
        near = room[4]
        n_near = _keep_possible(palette, room[3], n_small, red, green, blue, CELL, apart, near)
        record = np.uint64(near[0]) | np.uint64(near[min(1, n_near - 1)]) << np.uint64(16)
        if n_near > 2:
            record |= np.uint64(n_before + n_further) << np.uint64(32)
            further[n_further] = n_near - 2
            for number in range(2, n_near):
                further[n_further + number - 1] = near[number]
            n_further += n_near - 1
        records[red // CELL | green // CELL << 5 | blue // CELL << 10] = record
    return n_further


@compiled
def _keep_possible(
    palette: Integers,
    given: Integers,  # [at least n_given]
    n_given: int,
    red: int,  # the lowest levels of the box
    green: int,
    blue: int,
    side: int,  # levels
    apart: Integers,  # written
    kept: Integers,  # written
) -> Any:  # how many
    """Keep the entries that are nearer than the one nearest to the middle somewhere in a box, or as near.

    Distances are doubled, so that middles are integers.
    """
    red, green, blue = 2 * red + side - 1, 2 * green + side - 1, 2 * blue + side - 1
    least, nearest = np.int64(1) << 40, given[0]
    for place in range(n_given):
        entry = given[place]
        x, y, z = red - 2 * palette[entry, 0], green - 2 * palette[entry, 1], blue - 2 * palette[entry, 2]
        apart[place] = x * x + y * y + z * z
        if apart[place] < least:
            least, nearest = apart[place], entry
    n_kept = 0
    for place in range(n_given):
        entry, reach = given[place], 0
        for axis in range(3):
            reach += abs(palette[entry, axis] - palette[nearest, axis])
        if apart[place] - least <= 4 * (side - 1) * reach:  # what the way from the middle to a corner makes up for
            kept[n_kept] = entry
            n_kept += 1
    return n_kept
