"""The names that CSS has for colors."""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import ImageColor
from torch import Tensor

from gpuquant.color_spaces import oklab_from_srgb

CHUNK_ENTRIES = 4096  # compared with all names at a time


def names_of(
    rows: npt.NDArray[np.uint8],  # [K, 3], or [K, 4] with alpha
) -> tuple[str, ...]:
    """The CSS name that looks nearest to each color, by the distance in Oklab; clear ones are "transparent".

    Of names of the same color the first in the alphabet is taken ("gray", not "grey"), as it is of equally near ones.
    """
    names, points = _names_and_points()
    nearest = [
        torch.cdist(oklab_from_srgb(part), points, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
        for part in torch.from_numpy(np.ascontiguousarray(rows[:, :3])).split(CHUNK_ENTRIES)
    ]
    found = [names[index] for part in nearest for index in part.tolist()]
    if rows.shape[1] == 4:
        found = [name if alpha else "transparent" for name, alpha in zip(found, rows[:, 3].tolist(), strict=True)]
    return tuple(found)


def levels_of_name(name: str) -> tuple[int, int, int, int] | None:
    """Red, green, blue and alpha of a color that CSS has a name for."""
    if name.lower() == "transparent":
        return 0, 0, 0, 0
    if name.lower() not in ImageColor.colormap:
        return None
    levels = ImageColor.getrgb(name)
    return levels[0], levels[1], levels[2], 255


@cache
def _names_and_points() -> tuple[list[str], Tensor]:  # [N, 3] float64, Oklab
    """One name for each color that has any."""
    by_levels: dict[tuple[int, ...], str] = {}
    for name in sorted(ImageColor.colormap):
        by_levels.setdefault(ImageColor.getrgb(name), name)
    names = sorted(by_levels.values())
    return names, oklab_from_srgb(torch.tensor([ImageColor.getrgb(name) for name in names]))
