"""PaletteProblem: counted colors in a working space, and the cells that stand for them while a palette is searched."""

from functools import cached_property

import torch
from torch import Tensor

from gpuquant import ops
from gpuquant.colors.alpha import OPAQUE
from gpuquant.colors.spaces import SRGB, WorkingSpace
from gpuquant.threads import share_out, spare_threads

COARSE_BITS = (6, 5)  # of a level that cells of 8-bit colors keep: sides of 4 and 8 (others gave no better palettes)
COARSE_STEP_BITS = (7, 6, 5, 4)  # of colors in another space, or with alpha: sides of 2 to 16
MOST_SEARCHED = 1 << 21  # of more points the finest cells of which there are no more are searched
COLORS_AT_ONCE = 1 << 15  # that enter another space: their columns stay in the cache, and splits change no last bits


class Level:
    """Points of k-means with counts: all of a problem, or the means of cells that they fall into."""

    def __init__(
        self,
        points: Tensor,
        counts: Tensor,
        error: float = 0.0,
        chunk_size: int | None = None,
        moments: Tensor | None = None,
    ) -> None:
        self.points = points  # [M, 3] uint8, or [M, D] int16 (steps), in Z-order
        self.counts = counts  # [M] int64
        self.error = error  # the mean over pixels of the squared distance to the cell's mean
        self.chunk_size = chunk_size
        self.moments = moments  # [D + 2] float64, where they are known: see `ops.point_set`

    def __len__(self) -> int:
        return self.counts.shape[0]

    @cached_property
    def n_pixels(self) -> float:
        return float(self.counts.sum()) if self.moments is None else float(self.moments.tolist()[0])

    @cached_property
    def prepared(self) -> ops.PointSet:
        return ops.point_set(
            self.points[None],
            self.counts.double()[None],
            chunk_size=self.chunk_size,
            is_sorted=True,
            moments=None if self.moments is None else self.moments[None],
        )

    @cached_property
    def on_grid(self) -> ops.GridPoints | ops.DeviceGrid:
        return ops.grid_points(self.points, self.counts)


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
        self._order: Tensor | None = None  # [M] int64: of the colors as points in Z-order, if it is another one

    def __len__(self) -> int:
        return self.counts.shape[0]

    @property
    def device(self) -> torch.device:
        return self.colors.device

    @cached_property
    def all(self) -> Level:
        """All colors as points of the space."""
        if self.space is SRGB and self.colors.shape[1] == 3:
            return Level(self.colors, self.counts, chunk_size=self._chunk_size)
        points = self._entered()
        self._order = ops.in_z_order(points)
        return Level(points[self._order], self.counts[self._order], chunk_size=self._chunk_size)

    def _entered(self) -> Tensor:  # [M, D] int16
        """The colors in steps of their space."""
        points = torch.empty(self.colors.shape, dtype=torch.int16, device=self.device)

        def enter(start: int) -> None:
            some = slice(start, start + COLORS_AT_ONCE)
            points[some] = ops.as_steps(self.space.enter(self.colors[some]))

        share_out(range(0, len(self), COLORS_AT_ONCE), enter, spare_threads())
        return points

    def given_order(
        self,
        values: Tensor,  # [M], in the order of all points
    ) -> Tensor:  # [M], in the order of the colors
        if self._order is None:
            return values
        return torch.empty_like(values).index_copy_(0, self._order, values)

    @cached_property
    def opaque(self) -> tuple[Tensor, Tensor] | None:  # [n] int64, [n] float64; None without alpha
        """The places of opaque colors in the order of all points, and their counts."""
        if self.colors.shape[1] == 3:
            return None
        points, is_opaque = self.all, self.colors[:, 3] == OPAQUE
        places = (is_opaque if self._order is None else is_opaque[self._order]).nonzero().view(-1)
        return places, points.counts[places].double()

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
        """Coarser and coarser cells, the coarsest first, and at last the points that are searched."""
        is_whole = self.all.points.dtype == torch.uint8
        folded = ops.coarsen(self.all.points, self.all.counts, COARSE_BITS if is_whole else COARSE_STEP_BITS)
        self.all.moments = folded[0].finer_moments
        cells = [Level(one.colors, one.counts, one.error, moments=one.moments) for one in folded[::-1]]
        found = [*cells, self.all]
        return found if is_whole else [level for level in found if len(level) <= MOST_SEARCHED] or found[:1]

    def levels(self, n_colors: int) -> list[Level]:
        """The levels that can tell so many colors apart, the coarsest first; the last one is searched."""
        return [level for level in self._levels if len(level) > n_colors] or [self.all]
