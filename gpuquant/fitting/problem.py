"""PaletteProblem: counted colors in a working space, and the cells that stand for them while a palette is searched."""

from functools import cached_property

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import OPAQUE
from gpuquant.colors.spaces import SRGB, WorkingSpace
from gpuquant.ops import coarsen
from gpuquant.tensors import repeatable_sums

COARSE_BITS = (6, 5)  # of a level that cells of 8-bit colors keep: sides of 4 and 8 (others gave no better palettes)
CELL_SIDES = (2, 4, 8, 16)  # of floating-point points, whose columns have a range of about 255
MANY = 1 << 15  # more floating-point points are searched by their cells: an iteration on all costs too much (measured)


class Level:
    """Points of k-means with counts: all of a problem, or the means of cells that they fall into."""

    def __init__(self, points: Tensor, counts: Tensor, error: float = 0.0, chunk_size: int | None = None) -> None:
        self.points = points  # [M, 3] uint8 in Z-order, or [M, D] float64
        self.counts = counts  # [M] int64, or float64 without fractions
        self.error = error  # the mean over pixels of the squared distance to the cell's mean
        self.chunk_size = chunk_size

    def __len__(self) -> int:
        return self.counts.shape[0]

    @cached_property
    def prepared(self) -> ops.PointSet:
        return ops.point_set(self.points[None], self.counts.double()[None], chunk_size=self.chunk_size)


class PaletteProblem:
    """Distinct colors with counts, for which a palette is wanted, in a working space."""

    def __init__(
        self,
        colors: Tensor,  # [M, 3] uint8 in Z-order, or [M, 4] with alpha, of which the opaque are in Z-order
        counts: Tensor,  # [M] int64
        space: WorkingSpace = SRGB,
        chunk_size: int | None = None,
    ) -> None:
        self.colors, self.counts, self.space, self._chunk_size = colors, counts, space, chunk_size

    def __len__(self) -> int:
        return self.counts.shape[0]

    @property
    def device(self) -> torch.device:
        return self.colors.device

    @cached_property
    def all(self) -> Level:
        """All colors as points of the space."""
        return Level(self.space.enter(self.colors), self.counts, chunk_size=self._chunk_size)

    @cached_property
    def opaque_counts(self) -> Tensor | None:  # [M] float64, 0 where a color is not opaque; None without alpha
        return self.counts.double() * (self.colors[:, 3] == OPAQUE) if self.colors.shape[1] == 4 else None

    @cached_property
    def clear(self) -> Tensor:  # [M] bool, for colors with alpha
        """The colors that are not seen."""
        return self.colors[:, 3] == 0

    @cached_property
    def visible(self) -> "PaletteProblem":
        """The others, in three columns where all of them are opaque."""
        colors, counts = self.colors[~self.clear], self.counts[~self.clear]
        n_columns = 3 if bool((colors[:, 3] == OPAQUE).all()) else 4
        return PaletteProblem(colors[:, :n_columns].contiguous(), counts, self.space, self._chunk_size)

    @cached_property
    def _levels(self) -> list[Level]:
        """Coarser and coarser cells, the coarsest first, and at last the points that are searched.

        All 8-bit colors are searched, as iterations on them are cheap; of many floating-point points it is the cells.
        """
        if self.all.points.dtype == torch.uint8:
            folded = coarsen(self.colors, self.counts, COARSE_BITS)[::-1]
            return [*(Level(cells.colors, cells.counts, cells.error) for cells in folded), self.all]
        found = [self.all]
        for side in CELL_SIDES:
            cells = _fold(found[0], side)
            found = [cells] if len(found[-1]) > MANY else [cells, *found]
        return found

    def levels(self, n_colors: int) -> list[Level]:
        """The levels that can tell so many colors apart, the coarsest first; the last one is searched."""
        return [level for level in self._levels if len(level) > n_colors] or [self.all]


def _fold(level: Level, side: int) -> Level:
    """The means of the points in each cell of a side."""
    points, counts = level.points, level.counts
    keys = torch.zeros(len(points), dtype=torch.int64, device=points.device)
    for digits in ((points - points.amin(dim=0)) / side).long().unbind(dim=1):
        keys = keys * 256 + digits
    cells, place = torch.unique(keys, return_inverse=True)
    columns = [*(points * counts[:, None]).unbind(dim=1), counts.double()]
    *sums, weights = (repeatable_sums(place, column, len(cells)) for column in columns)
    means = torch.stack(sums, dim=1) / weights[:, None]
    lost = ((points - means[place]).square().sum(dim=1) * counts).sum()
    return Level(means, weights, level.error + float(lost) / float(weights.sum()), level.chunk_size)
