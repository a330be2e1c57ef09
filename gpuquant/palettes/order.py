"""Orders of a palette's entries: dark to light, or round the circle of hues."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gpuquant.colors.spaces import oklab_from_srgb
from gpuquant.palettes.palette import Palette

LEAST_CHROMA = 0.02  # of what has a hue: in Oklab, where sRGB's blue has 0.31


def luminance_order(palette: Palette) -> npt.NDArray[np.int64]:  # [K]
    """Places of the entries from dark to light in Oklab; clear ones last. Equal ones keep their order."""
    lightness = _oklab(palette)[:, 0]
    return _sorted_by(lightness, _is_clear(palette))


def hue_order(palette: Palette) -> npt.NDArray[np.int64]:  # [K]
    """Places of the entries by their hue in Oklab, from pink over red, yellow, green and blue to purple.

    First come those that are nearly gray (a chroma below 0.02), from dark to light; clear ones come last.
    """
    lightness, a, b = _oklab(palette).T
    is_gray = np.hypot(a, b) < LEAST_CHROMA
    hue = np.arctan2(b, a) % (2 * np.pi)
    return _sorted_by(np.where(is_gray, lightness, hue), ~is_gray, _is_clear(palette))


def _sorted_by(*keys: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Places in ascending order of keys [K], of which the last counts first."""
    order: npt.NDArray[np.int64] = np.lexsort(keys)
    return order


def _oklab(palette: Palette) -> npt.NDArray[np.float64]:  # [K, 3]
    colors: npt.NDArray[np.float64] = oklab_from_srgb(torch.from_numpy(palette.rgba[:, :3].copy())).numpy()
    return colors


def _is_clear(palette: Palette) -> npt.NDArray[np.bool_]:  # [K]
    clear: npt.NDArray[np.bool_] = palette.rgba[:, 3] == 0
    return clear
