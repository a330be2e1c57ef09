"""Recognize samples that are 8-bit pixels, in whatever float scale, and fold them to distinct colors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.codes import colors_from_z_order
from gpuquant.estimator.pixel_draws import PixelChunks
from gpuquant.threads import share_out, worker_threads

TILE_ROWS = 1 << 15  # 0.8 MB of three float64 columns: a tile stays in the L2 cache
DEVICE_ROWS = 1 << 22  # rows read together: 128 MiB for four columns of float64
MAX_COLUMNS = 4  # R, G, B and alpha
FEW_SAMPLES = 1 << 15  # so few are not folded: there is little to gain
MAX_BINS = 1 << 25  # of a table over pairs of a color and a level of the fourth column; more are sorted

Floats = np.ndarray[tuple[int, ...], np.dtype[np.floating]]


@dataclass(eq=False)
class LevelPixels:
    """Pixels as distinct colors, and which one each pixel has."""

    values: Tensor  # [256]: what a level was among the samples
    colors: Tensor  # [M, D] uint8: the levels of the distinct colors, in the Z-order of the first three columns
    ranks: Tensor  # [N] int32: the color of each pixel

    @cached_property
    def counts(self) -> Tensor:  # [M] float64
        """The number of pixels of each color."""
        if self.ranks.is_cpu:
            return self.chunks.totals()
        return torch.bincount(self.ranks, minlength=len(self.colors)).double()

    def rows(self) -> Tensor:  # [M, D], of the samples' dtype
        """The distinct colors as they were among the samples."""
        return self.values[self.colors.long()]

    def variance(self) -> float:
        """The variance of the columns of the samples, averaged over them."""
        counts, values = self.counts.cpu().numpy(), self.values.cpu().double().numpy()
        variances = []
        for levels in self.colors.cpu().numpy().T:
            shares = np.bincount(levels, counts, minlength=256) / len(self.ranks)
            variances.append(shares @ np.square(values - shares @ values))
        return float(np.mean(variances))

    @cached_property
    def chunks(self) -> PixelChunks:
        """The pixels in their order."""
        return PixelChunks(self.ranks.cpu(), len(self.colors))


def fold_pixels(samples: Tensor) -> LevelPixels | None:  # [N, D] float32, float64 or uint8
    """The folded pixels, or None where samples are not 8-bit levels under one scale, few, or of too many columns."""
    n_columns = samples.shape[1]
    if len(samples) <= FEW_SAMPLES or n_columns > MAX_COLUMNS or not samples.is_contiguous():
        return None
    if samples.dtype == torch.uint8:
        found: tuple[Tensor, Tensor] | None = samples, torch.arange(256, dtype=torch.float64, device=samples.device)
    else:
        found = _levels(samples) if samples.is_cpu else _levels_on_device(samples)
    if found is None:
        return None
    levels, values = found
    if n_columns == 2:
        pixels = torch.nn.functional.pad(levels, (0, 1))
    else:
        pixels = levels.view(-1) if n_columns == 1 else levels[:, :3].contiguous()
    keys, _ = ops.count_colors(pixels)
    ranks = ops.rank_pixels(pixels, keys)
    colors = colors_from_z_order(keys)[:, :n_columns]
    if n_columns == 4:
        ranks, chosen, fourth = _split(ranks, len(colors), levels[:, 3])
        colors = torch.cat([colors[chosen], fourth[:, None]], dim=1)
    return LevelPixels(values, colors, ranks)


def _split(
    ranks: Tensor,  # [N] int32, below n_colors
    n_colors: int,
    levels: Tensor,  # [N] uint8
) -> tuple[Tensor, Tensor, Tensor]:  # ranks [N] int32, colors [M] int64, levels [M] uint8
    """Split colors by the level of one more column."""
    levels = levels.to(torch.int32)
    found = torch.bincount(levels, minlength=256).nonzero().view(-1)
    place = torch.zeros(256, dtype=torch.int32, device=ranks.device)
    place[found] = torch.arange(len(found), dtype=torch.int32, device=ranks.device)
    n_bins = n_colors * len(found)
    pairs = ranks.to(torch.int32 if n_bins < 2**31 else torch.int64) * len(found) + place.index_select(0, levels)
    if n_bins <= MAX_BINS:
        table = torch.zeros(n_bins, dtype=torch.int32, device=ranks.device)
        table.index_add_(0, pairs, torch.ones_like(pairs))
        used = table.nonzero().view(-1)
        table[used] = torch.arange(len(used), dtype=torch.int32, device=ranks.device)
        ranks = table.index_select(0, pairs)
    else:
        used, inverse = torch.unique(pairs, return_inverse=True)
        ranks = inverse.to(torch.int32)
    used = used.long()
    return ranks, used // len(found), found[used % len(found)].to(torch.uint8)


def _levels_on_device(samples: Tensor) -> tuple[Tensor, Tensor] | None:  # uint8 [N, D], [256]
    """The level of every sample, if one scale gives all samples back exactly: the twin of `_levels` on any device."""
    # on the CPU: a CUDA device divides by a number by multiplying with its reciprocal, which rounds another way
    every = torch.arange(256, dtype=samples.dtype)
    scales = every, every / 255, every * torch.tensor(1 / 255, dtype=samples.dtype)
    every, divided, multiplied = (values.to(samples.device) for values in scales)
    for values, factor in ((every, 1), (divided, 255), (multiplied, 255)):
        if _read_on_device(samples[:TILE_ROWS], values, factor) is not None:
            levels = _read_on_device(samples, values, factor)
            if levels is not None:
                return levels, values
    return None


def _read_on_device(samples: Tensor, values: Tensor, factor: int) -> Tensor | None:  # uint8 [N, D]
    levels = torch.empty(samples.shape, dtype=torch.uint8, device=samples.device)
    fits = torch.ones((), dtype=torch.bool, device=samples.device)
    for chunk, found in zip(samples.split(DEVICE_ROWS), levels.split(DEVICE_ROWS), strict=True):
        numbers = (chunk * factor).round_().clamp_(0, 255)
        found.copy_(numbers)
        fits &= (values[found.long()] == chunk).all()  # any level for NaN, which differs from it
    return levels if bool(fits) else None


def _levels(samples: Tensor) -> tuple[Tensor, Tensor] | None:  # uint8 [N, D], [256]
    """The level of every sample, if one scale gives all samples back exactly."""
    array = samples.numpy()
    for scale in _SCALES:
        if _read_tile(array[:TILE_ROWS], scale, np.empty(array[:TILE_ROWS].shape, np.uint8)):
            levels = np.empty(array.shape, np.uint8)
            if _read(array, scale, levels):
                return torch.from_numpy(levels), torch.from_numpy(scale(np.arange(256, dtype=array.dtype)))
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

    share_out(range(0, len(samples), TILE_ROWS), read, worker_threads())
    return not differ


def _read_tile(samples: Floats, scale: Callable[[Floats], Floats], levels: npt.NDArray[np.uint8]) -> bool:
    """Write the levels that give the samples back, if there are such."""
    with np.errstate(invalid="ignore", over="ignore"):  # a number beyond 255 becomes some level that differs from it
        numbers = samples if scale is _as_they_are else np.multiply(samples, 255, dtype=samples.dtype)
        numbers = np.rint(numbers)
        np.copyto(levels, numbers, casting="unsafe")
    np.copyto(numbers, levels)
    return np.array_equal(scale(numbers), samples)
