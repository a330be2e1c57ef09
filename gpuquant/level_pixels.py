"""Recognise samples that are 8-bit pixels, in whatever float scale, and fold them to distinct colours."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.ops.color_codes import colors_from_codes, z_order
from gpuquant.ops.cpu_ops import share_out
from gpuquant.ops.pixel_chunks import PixelChunks

TILE_ROWS = 1 << 16
MAX_COLUMNS = 3

Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


@dataclass(eq=False)
class LevelPixels:
    """Pixels as distinct colours, and which one each pixel has."""

    values: Tensor  # [256]: what a level was among the samples
    colors: Tensor  # [M, 3] uint8: the levels of the distinct colours, in Z-order; columns that are not there are 0
    n_columns: int  # D
    counts: Tensor  # [M] int64
    ranks: Tensor  # [N] int32: the colour of each pixel

    def rows(self) -> Tensor:  # [M, D], of the samples' dtype
        """The distinct colours as they were among the samples."""
        return self.values[self.colors[:, : self.n_columns].long()]

    @cached_property
    def chunks(self) -> PixelChunks:
        """The pixels in their order."""
        return PixelChunks(self.ranks.cpu(), len(self.colors))


def fold_pixels(samples: Tensor) -> LevelPixels | None:  # [N, D] float32 or float64
    """The folded pixels, or None where the samples are not 8-bit levels under one scale, or have too many columns."""
    n_columns = samples.shape[1]
    if n_columns > MAX_COLUMNS or not samples.is_contiguous():
        return None
    found = _levels(samples)
    if found is None:
        return None
    levels, values = found
    if n_columns == 2:
        levels = torch.nn.functional.pad(levels, (0, 1))
    pixels = levels.view(-1) if n_columns == 1 else levels
    codes, counts = ops.count_colors(pixels)
    order = z_order(colors_from_codes(codes)).argsort()
    codes, counts = codes[order], counts[order]
    colors = colors_from_codes(codes)
    colors[:, n_columns:] = 0
    return LevelPixels(values, colors, n_columns, counts, ops.rank_pixels(pixels, codes))


def _levels(samples: Tensor) -> tuple[Tensor, Tensor] | None:  # uint8 [N, D], [256]
    """The level of every sample, if one scale gives all samples back exactly."""
    if samples.is_cuda:
        found = _levels(samples.cpu())
        return None if found is None else (found[0].to(samples.device), found[1].to(samples.device))
    array = samples.numpy()
    for scale in _SCALES:
        if _read_tile(array[:TILE_ROWS], scale, np.empty(array[:TILE_ROWS].shape, np.uint8)):
            levels = np.empty(array.shape, np.uint8)
            values = scale(np.arange(256, dtype=array.dtype))
            return (torch.from_numpy(levels), torch.from_numpy(values)) if _read(array, scale, levels) else None
    return None


def _as_they_are(levels: Floats) -> Floats:
    return levels


def _divided(levels: Floats) -> Floats:
    return np.divide(levels, 255, out=levels)


def _multiplied(levels: Floats) -> Floats:
    return np.multiply(levels, levels.dtype.type(1 / 255), out=levels)


_SCALES = (_as_they_are, _divided, _multiplied)


def _read(samples: Floats, scale: Callable[[Floats], Floats], levels: npt.NDArray[np.uint8]) -> bool:
    """Fill in the levels, tile by tile; False as soon as a tile does not fit."""
    differ: list[int] = []

    def read(start: int) -> None:
        rows = slice(start, start + TILE_ROWS)
        if differ or not _read_tile(samples[rows], scale, levels[rows]):
            differ.append(start)

    share_out(range(0, len(samples), TILE_ROWS), read, torch.get_num_threads())
    return not differ


def _read_tile(samples: Floats, scale: Callable[[Floats], Floats], levels: npt.NDArray[np.uint8]) -> bool:
    """Write the levels that give the samples back, if there are such."""
    numbers = samples.copy() if scale is _as_they_are else np.multiply(samples, 255, dtype=samples.dtype)
    np.rint(numbers, out=numbers)
    if numbers.min() < 0 or numbers.max() > 255:
        return False
    np.copyto(levels, numbers, casting="unsafe")
    return np.array_equal(scale(numbers), samples)
