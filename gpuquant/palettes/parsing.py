"""Palettes as arguments: whatever `Palette` takes, and where k-means starts."""

from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from gpuquant.arguments import is_real
from gpuquant.clustering.initialization import INITIALIZATIONS, names_or
from gpuquant.colors.levels import ROUNDING, bounds_of, kind_of
from gpuquant.errors import ArgumentError
from gpuquant.palettes.entries import MAX_ENTRIES
from gpuquant.palettes.formats import is_palette_path
from gpuquant.palettes.palette import Palette, PaletteLike


def as_palette(value: PaletteLike) -> Palette:
    """A palette as it is, or whatever else `Palette` takes.

    Raises
    ------
    ArgumentError
        It is no palette.
    ImageFileError
        It is the path of a palette that cannot be read.
    """
    return value if isinstance(value, Palette) else Palette(value)


def palette_to_apply(value: PaletteLike) -> Palette:
    """A palette as `as_palette` gives it, of as many entries as can be applied."""
    palette = as_palette(value)
    if not 1 <= len(palette) <= MAX_ENTRIES:
        raise ArgumentError(f"a palette to apply has from 1 to {MAX_ENTRIES} entries, not {len(palette)}")
    return palette


def as_start(init: PaletteLike) -> str | Tensor:
    """The name of a method of `quantize`, or centers [K, 3] float64.

    Arrays and tensors of floats up to 255 are centers, which need not be whole; all else is a palette.
    """
    if isinstance(init, str) and init in INITIALIZATIONS:
        return init
    given = _array_of(init)
    if isinstance(given, np.ndarray | Tensor) and kind_of(given) == "float" and given.ndim == 2:
        centers = torch.as_tensor(given).detach().double()
        if centers.shape[1] != 3 or not len(centers):
            raise ArgumentError(f"init must be opaque colors [n_colors, 3], got {tuple(centers.shape)}")
        low, high = bounds_of(centers)
        if low >= -ROUNDING and high <= 1 + ROUNDING:
            centers = 255 * centers.clamp(0, 1)
        if not bool(((centers >= 0) & (centers <= 255)).all()):
            raise ArgumentError("init must hold levels from 0 to 255, or floats from 0 to 1, without NaN")
        return centers
    try:
        palette = as_palette(init)
    except ArgumentError as error:
        if isinstance(init, str) and not is_palette_path(init):
            raise ArgumentError(f"init={init!r} is unknown; use {names_or('a palette')}: {error}") from None
        raise ArgumentError(f"init must be {names_or('a palette')}: {error}") from None
    if palette.alpha is not None and not bool((palette.alpha == 255).all()):
        raise ArgumentError("init must be opaque colors; leave out alpha")
    if not len(palette):
        raise ArgumentError("init must be at least one color, got a palette without any")
    return torch.as_tensor(palette.colors).double()


def _array_of(init: PaletteLike) -> object:
    """A list of rows of numbers as an array; anything else as it is."""
    if isinstance(init, list | tuple) and all(isinstance(row, list | tuple) and all(map(is_real, row)) for row in init):
        with suppress(ValueError):  # rows of several lengths
            return np.array(init)
    return init


def n_colors_of(start: str | Tensor, n_colors: int | None, target_psnr: float | None) -> int | None:
    """The number of colors that is wanted; with given centers it is their number.

    Raises
    ------
    ArgumentError
        It is another one, or there is a target.
    """
    if isinstance(start, str):
        return n_colors
    if target_psnr is not None:
        raise ArgumentError("init as colors has a number of them; it excludes target_psnr")
    if n_colors is not None and n_colors != len(start):
        raise ArgumentError(f"init has {len(start)} colors, but n_colors is {n_colors}; leave out n_colors")
    return len(start)
