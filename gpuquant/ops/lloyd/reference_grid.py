"""Lloyd's algorithm on a grid of a quarter level, by whole matrices, in plain torch on any device."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gpuquant.ops.lloyd.grid_state import GRID, GridState, on_grid

PAIRS = {"cpu": 1 << 17, "cuda": 1 << 24}  # of point and center: scores fit the cache, or launches are few


def nearest_distances(
    centers: Tensor,  # [K, D] float64, on the grid
) -> Tensor:  # [K] float64; infinite if there is one
    """The distance of each center to the nearest other one."""
    apart = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    return apart.fill_diagonal_(torch.inf).amin(dim=1)


class GridPoints:
    """Points with weights, rounded to the grid."""

    def __init__(
        self,
        points: Tensor,  # [N, D] uint8, or float64 with numbers of about that size
        weights: Tensor,  # [N], whole numbers
    ) -> None:
        self._levels, self._weights = on_grid(points.double()), weights.double()
        self._range = self._levels.amin(dim=0), self._levels.amax(dim=0)
        self._squares = self._levels.square().sum(dim=1)
        self._weighted = torch.column_stack([self._levels * self._weights[:, None], self._weights])
        self._columns = torch.column_stack([self._levels, torch.ones_like(self._weights)]).T.contiguous()

    def settled(
        self,
        centers: Tensor,  # [K, D] float64, on the grid
        iterations: int,  # at most: they end when no label changes
        relaxation: float,  # times as far as to the mean, but not out of the points' range
    ) -> GridState:
        """Repeat Lloyd steps, and find out how much each center is worth."""
        labels: Tensor | None = None
        for _ in range(iterations):
            previous, labels = labels, self._nearest_two(centers)[0]
            if previous is not None and torch.equal(labels, previous):
                break
            moves = self._means(labels, slice(None), centers) - centers
            centers = on_grid((centers + relaxation * moves).clamp(*self._range))
        labels, first, second = self._nearest_two(centers)
        values = torch.column_stack([first + self._squares, second - first]) * self._weights[:, None]
        errors, uses = centers.new_zeros(len(centers), 2).index_add_(0, labels, values).unbind(dim=1)
        return GridState(centers, labels, errors, uses, float(errors.sum()))

    def halves(self, state: GridState) -> Tensor:  # [K, D] float64, on the grid
        """The mean of the upper part of each cluster, cut at its center across its longest side."""
        apart = self._levels - state.centers[state.labels]
        spread = torch.zeros_like(state.centers)
        spread.index_add_(0, state.labels, apart.square() * self._weights[:, None])
        longest = spread.argmax(dim=1)[state.labels]
        upper = apart.gather(1, longest[:, None])[:, 0] > 0
        return on_grid(self._means(state.labels[upper], upper, state.centers))

    def _nearest_two(
        self, centers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:  # [N] int64; [N], [N]: squared distances less the squares of the points
        places = 1 << (len(centers) - 1).bit_length()  # numbers below it can hold the index of a center
        found = self._levels.new_empty(2, len(self._levels))
        for part, scores in self._scores(centers, places):
            torch.amin(scores, dim=0, out=found[0, part])
            scores.scatter_(0, found[0, None, part].long() & (places - 1), torch.inf)
            torch.amin(scores, dim=0, out=found[1, part])
        labels = found[0].long() & (places - 1)
        first = (found[0] - labels) / (GRID**2 * places)
        return labels, first, torch.floor(found[1] / places) / GRID**2

    def _scores(
        self, centers: Tensor, places: int
    ) -> Iterator[tuple[slice, Tensor]]:  # places of n points, and [K, n] float64
        """Scores of points, chunk by chunk; the index of the center is in the lowest digits of each.

        A minimum over numbers is several times faster than one that also tells where it is, and the first one wins.
        """
        n_centers, n_points, unit = len(centers), len(self._levels), GRID**2 * places
        index = torch.arange(n_centers, dtype=torch.float64, device=centers.device)
        rows = torch.column_stack([-2 * unit * centers, unit * centers.square().sum(dim=1) + index])
        step = max(64, PAIRS[centers.device.type] // n_centers)
        for start in range(0, n_points, step):
            yield slice(start, start + step), rows @ self._columns[:, start : start + step]

    def _means(self, labels: Tensor, points: slice | Tensor, centers: Tensor) -> Tensor:  # [K, D] float64
        """The mean of some points of each cluster, or its center where there are none."""
        sums = centers.new_zeros(len(centers), centers.shape[1] + 1).index_add_(0, labels, self._weighted[points])
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:].clamp(min=1), centers)
