"""The mixture of each color, as a compiled loop."""

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuquant.ops.compiled import compiled

TOLERANCE = 1e-6  # levels behind a wall: weights on both sides of it are the same but for rounding
MOST_STEPS = 10_000  # from region to region: with 65,536 entries some hundreds are usual for the first color

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@compiled
def find_regions(
    colors: npt.NDArray[np.uint8],  # [C, 3]
    walls: Floats,  # [R, 4, 4]: wall i of a region is walls[:, i, :3] . c + walls[:, i, 3] above a color within
    behind: Integers,  # [R, 4]: the region on the other side, or -1: there is no such wall
    first_front: Integers,  # [R + 1]
    fronts: Integers,  # for each region, from its first on: the walls of others that have it on their other side
    found: npt.NDArray[np.int32],  # [C]: written
) -> None:
    """Walk from region to region, through the wall that a color is farthest behind, until it is behind none.

    Heights are measured so that a wall is as far away as the largest of the differences in R, G and B: colors that
    are nearer to the one before than that one is to its walls lie in the same region.
    """
    red, green, blue, nearest, here = 0.0, 0.0, 0.0, -1.0, np.int64(0)
    for place in range(len(colors)):
        away = max(abs(colors[place, 0] - red), abs(colors[place, 1] - green), abs(colors[place, 2] - blue))
        if away > nearest:
            red, green, blue = float(colors[place, 0]), float(colors[place, 1]), float(colors[place, 2])
            for _ in range(MOST_STEPS):
                nearest, onward = np.inf, np.int64(-1)
                for wall in range(4):
                    if behind[here, wall] >= 0:
                        height = _height(walls, here, wall, red, green, blue)
                        if height < nearest:
                            nearest, onward = height, behind[here, wall]
                for index in range(first_front[here], first_front[here + 1]):
                    height = -_height(walls, fronts[index] >> 2, fronts[index] & 3, red, green, blue)
                    if height < nearest:
                        nearest, onward = height, fronts[index] >> 2
                if nearest >= -TOLERANCE:
                    break
                here = onward
        found[place] = here


@compiled
def _height(walls: Floats, region: Any, wall: Any, red: float, green: float, blue: float) -> Any:
    along = walls[region, wall, 0] * red + walls[region, wall, 1] * green
    return along + walls[region, wall, 2] * blue + walls[region, wall, 3]
