"""Recognize samples that are 8-bit pixels, in whatever float scale, and fold them to distinct colors."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gpuquant import ops

MAX_COLUMNS = 4  # R, G, B and alpha
FEW_SAMPLES = 1 << 10  # so few are not folded: there is little to gain
FEW_WITH_TIES = 1 << 15  # nor are so few of one or two columns: many are equally far, and rounding chooses among them
MAX_BINS = 1 << 25  # of a table over pairs of a color and a level of the fourth column; more are sorted


@dataclass(eq=False)
class LevelPixels:
    """Pixels as distinct colors, and which one each pixel has."""

    values: Tensor  # [256]: what a level was among the samples
    colors: Tensor  # [M, D] uint8: the levels of the distinct colors, in the Z-order of the first three columns
    keys: Tensor | None  # [M] int32: of the colors, ascending; None where pixels are ranked already
    places: Tensor  # [N] int32: the key of each pixel, or its rank; of no use once `ranks` or `take` was called
    counted: Tensor | None  # [M]: the number of pixels of each color, where they were counted on the way

    @cached_property
    def ranks(self) -> Tensor:  # [N] int32
        """The color of each pixel."""
        return self.places if self.keys is None else ops.rank_keys(self.places, self.keys)

    def take(self, values: Tensor) -> Tensor:  # [M] int32 -> [N] int32
        """The value of each pixel's color, in the memory of ranks or keys: the pixels are of no use afterwards."""
        if self.keys is not None and "ranks" not in self.__dict__:
            return ops.take_by_keys(values, self.keys, self.places)
        return ops.take(values, self.ranks, out=None if values.is_cuda else self.ranks)

    @cached_property
    def counts(self) -> Tensor:  # [M] float64
        """The number of pixels of each color."""
        return self.draws.totals() if self.counted is None else self.counted.double()

    @cached_property
    def draws(self) -> ops.PixelDraws:
        """The pixels in their order, all of the same weight."""
        return ops.pixel_draws(self.ranks, len(self.colors))

    def rows(self) -> Tensor:  # [M, D], of the samples' dtype
        """The distinct colors as they were among the samples."""
        return ops.take(self.values, self.colors.reshape(-1).to(torch.int32)).view(self.colors.shape)

    def variance(self) -> float:
        """The variance of the columns of the samples, averaged over them."""
        counts, values = self.counts.cpu().numpy(), self.values.cpu().double().numpy()
        variances = []
        for levels in self.colors.cpu().numpy().T:
            shares = np.bincount(levels, counts, minlength=256) / len(self.places)
            variances.append(shares @ np.square(values - shares @ values))
        return float(np.mean(variances))


def fold_pixels(samples: Tensor) -> LevelPixels | None:  # [N, D] float32, float64 or uint8
    """The folded pixels, or None where samples are not 8-bit levels under one scale, few, or of too many columns."""
    n_columns = samples.shape[1]
    few = max(FEW_SAMPLES, FEW_WITH_TIES) if n_columns < 3 else FEW_SAMPLES
    if len(samples) <= few or n_columns > MAX_COLUMNS or not samples.is_contiguous():
        return None
    found = ops.fold_levels(samples)
    if found is None:
        return None
    values, keys, sample_keys, others, counted = found
    colors = ops.colors_from_keys(keys)[:, :n_columns]
    if n_columns < 4:
        return LevelPixels(values, colors, keys, sample_keys, counted)
    ranks, chosen, fourth, counted = _split(ops.rank_keys(sample_keys, keys), len(colors), others)
    colors = torch.cat([colors[chosen], fourth[:, None]], dim=1)
    return LevelPixels(values, colors, None, ranks, counted)


def _split(
    ranks: Tensor,  # [N] int32, below n_colors
    n_colors: int,
    levels: Tensor,  # [N] uint8
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # ranks [N] int32, colors [M] int64, levels [M] uint8, counts [M]
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
        counts = table[used]
        table[used] = torch.arange(len(used), dtype=torch.int32, device=ranks.device)
        ranks = table.index_select(0, pairs)
    else:
        used, inverse, counts = torch.unique(pairs, return_inverse=True, return_counts=True)
        ranks = inverse.to(torch.int32)
    used = used.long()
    return ranks, used // len(found), found[used % len(found)].to(torch.uint8), counts
