"""The way from region to region of the color space, as a compiled loop."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.compiled import compiled
from gpuquant.ops.dithering.reference import MOST_STEPS, TOLERANCE

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def walk_to_regions(
    colors: Tensor,  # [C, 3] uint8
    walls: Tensor,  # [R, 4, 4] float64: wall i of a region is walls[:, i, :3] . c + walls[:, i, 3] above a color inside
    behind: Tensor,  # [R, 4] int64: the region of fewer entries on the other side, or -1: there is no such wall
    first_front: Tensor,  # [R + 1] int64
    fronts: Tensor,  # int64, for each region, from its first on: 4 r + i of the walls that have it on their other side
) -> Tensor:  # [C] int32
    """Find the region of each color, that of the fewest entries where the color lies in a wall."""
    found = torch.empty(len(colors), dtype=torch.int32)
    inside, others = (colors.numpy(), walls.numpy()), (behind.numpy(), first_front.numpy(), fronts.numpy())
    _walk(*inside, *others, MOST_STEPS, found.numpy())
    return found


@compiled
def _walk(
    colors: npt.NDArray[np.uint8],
    walls: Floats,
    behind: Integers,
    first_front: Integers,
    fronts: Integers,
    most_steps: int,
    found: npt.NDArray[np.int32],  # [C]: written
) -> None:
    """Go through the wall that a color is farthest behind, until it is behind none.

    Heights are measured so that a wall is as far away as the largest of the differences in R, G and B: colors that
    are nearer to the one before than that one is to its walls lie in the same region.
    """
    red, green, blue, height, here = 0.0, 0.0, 0.0, -1.0, np.int64(0)
    for place in range(len(colors)):
        away = max(abs(colors[place, 0] - red), abs(colors[place, 1] - green), abs(colors[place, 2] - blue))
        if away > height:
            red, green, blue = float(colors[place, 0]), float(colors[place, 1]), float(colors[place, 2])
            height, onward = _lowest(here, walls, behind, first_front, fronts, red, green, blue)
            n_steps = 0
            while height < 0 and n_steps < most_steps:
                here = onward
                height, onward = _lowest(here, walls, behind, first_front, fronts, red, green, blue)
                n_steps += 1
            if height < 0:
                for region in range(len(behind)):
                    other, onward = _lowest(region, walls, behind, first_front, fronts, red, green, blue)
                    if other > height:
                        height, here = other, np.int64(region)
        found[place] = here


@compiled
def _lowest(
    here: Any,
    walls: Floats,
    behind: Integers,
    first_front: Integers,
    fronts: Integers,
    red: float,
    green: float,
    blue: float,
) -> Any:
    """The least height of a color above the walls of a region, and the region behind that wall."""
    lowest, onward = np.inf, np.int64(-1)
    for wall in range(4):
        if behind[here, wall] >= 0:
            height = _height(walls, here, wall, red, green, blue)
            if height < lowest:
                lowest, onward = height, behind[here, wall]
    for place in range(first_front[here], first_front[here + 1]):
        height = -_height(walls, fronts[place] >> 2, fronts[place] & 3, red, green, blue)
        if height < lowest:
            lowest, onward = height, fronts[place] >> 2
    return lowest, onward


@compiled
def _height(walls: Floats, region: Any, wall: Any, red: float, green: float, blue: float) -> Any:
    along = walls[region, wall, 0] * red + walls[region, wall, 1] * green
    return along + walls[region, wall, 2] * blue + walls[region, wall, 3] - TOLERANCE
