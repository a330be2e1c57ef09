"""A cycle of breathing k-means on a grid of a quarter level, in plain torch on any device."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.lloyd.grid_state import CLOSE, GRID, ITERATIONS, RELAXATION, GridState, on_grid
from gpuquant.ops.lloyd.near_scores import boxes_of, near_scores

BOX = {"cpu": 1 << 8, "cuda": 1 << 14}  # points whose near centers are looked for together: measured beside 128 and 512


class GridPoints:
    """Points with weights, rounded to the grid."""

    def __init__(
        self,
        points: Tensor,  # [N, D] uint8, or float64 of about that size
        weights: Tensor,  # [N], whole numbers
    ) -> None:
        self._levels, self._weights = on_grid(points.double()), weights.double()
        self._range = self._levels.amin(dim=0), self._levels.amax(dim=0)
        self._squares = self._levels.square().sum(dim=1)
        self._weighted = torch.column_stack([self._levels * self._weights[:, None], self._weights])
        self._columns = torch.column_stack([self._levels, torch.ones_like(self._weights)]).T.contiguous()
        self._box = BOX[weights.device.type]
        self._boxes = boxes_of(self._columns[:-1], self._box)

    def settled(
        self,
        centers: Tensor,  # [K, D] float64, on the grid
        most_added: int,  # centers, in any later cycle
    ) -> GridState:
        """Repeat Lloyd steps from given centers."""
        return self._state(self._moved(centers, ITERATIONS))

    def breathed(
        self,
        state: GridState,
        chosen: npt.NDArray[np.int64],  # [n]: clusters to split
    ) -> GridState:
        """Split clusters, remove as many centers, and repeat Lloyd steps after each change."""
        n_kept = len(state.centers)
        added = self._halves(state.centers, state.kept)[torch.from_numpy(chosen).to(state.centers.device)]
        centers = self._moved(torch.cat([state.centers, added]), ITERATIONS - 1)
        while len(centers) > n_kept:  # three quarters of those too many at a time
            n_removed = -(-3 * (len(centers) - n_kept) // 4)
            stays = _useful(centers, self._uses(centers), n_removed)
            iterations = ITERATIONS if len(centers) - n_removed == n_kept else ITERATIONS - 1
            centers = self._moved(centers[stays], iterations)
        return self._state(centers)

    def _moved(self, centers: Tensor, iterations: int) -> Tensor:  # [K, D] float64
        """Centers after Lloyd steps beyond the means of their clusters, which end when no label changes."""
        labels: Tensor | None = None
        for _ in range(iterations):
            previous, labels = labels, self._nearest(centers)[0]
            if previous is not None and torch.equal(labels, previous):
                break
            moves = self._means(labels, slice(None), centers) - centers
            centers = on_grid((centers + RELAXATION * moves).clamp(*self._range))
        return centers

    def _state(self, centers: Tensor) -> GridState:
        labels, scores = self._nearest(centers)
        errors = centers.new_zeros(len(centers)).index_add_(0, labels, (scores[0] + self._squares) * self._weights)
        return GridState(centers, errors.cpu().numpy(), labels)

    def _uses(self, centers: Tensor) -> Tensor:  # [K] float64: by how much the error rises without each center
        labels, scores = self._nearest(centers, 2)
        return centers.new_zeros(len(centers)).index_add_(0, labels, (scores[1] - scores[0]) * self._weights)

    def _halves(self, centers: Tensor, labels: Tensor) -> Tensor:  # [K, D] float64, on the grid
        """The mean of the upper part of each cluster, cut at its center across its longest side."""
        apart = self._levels - centers[labels]
        spread = torch.zeros_like(centers)
        spread.index_add_(0, labels, apart.square() * self._weights[:, None])
        longest = spread.argmax(dim=1)[labels]
        upper = apart.gather(1, longest[:, None])[:, 0] > 0
        return on_grid(self._means(labels[upper], upper, centers))

    def _nearest(
        self, centers: Tensor, n_nearest: int = 1
    ) -> tuple[Tensor, Tensor]:  # [N] int64; [n_nearest, N]: squared distances less the squares of the points
        """The nearest center of each point, and how near some are.

        The index of the center is in the lowest digits of each score: a minimum over numbers is several times faster
        than one that also tells where it is, and the first one wins.
        """
        places = 1 << (len(centers) - 1).bit_length()  # numbers below it can hold the index of a center
        index = torch.arange(len(centers), dtype=torch.float64, device=centers.device)
        offsets = GRID**2 * places * centers.square().sum(dim=1) + index
        factors = torch.column_stack([-2 * GRID**2 * places * centers, offsets])
        found = self._levels.new_empty(n_nearest, len(self._levels))
        all_scores = near_scores(self._columns, self._boxes, self._box, centers, factors, n_nearest)
        for scores, lowest in zip(all_scores, found.split(self._box, dim=1), strict=True):
            torch.amin(scores, dim=0, out=lowest[0])
            if n_nearest > 1:
                torch.amin(scores.masked_fill_(scores == lowest[0], torch.inf), dim=0, out=lowest[1])
        return found[0].long() & (places - 1), torch.floor(found / places) / GRID**2

    def _means(self, labels: Tensor, points: slice | Tensor, centers: Tensor) -> Tensor:  # [K, D] float64
        """The mean of some points of each cluster, or its center where there are none."""
        sums = centers.new_zeros(len(centers), centers.shape[1] + 1).index_add_(0, labels, self._weighted[points])
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:].clamp(min=1), centers)


def _useful(centers: Tensor, uses: Tensor, n_removed: int) -> Tensor:  # [K] bool
    """Choose the centers that stay: the least useful go, but not the close neighbors of one that goes."""
    apart = torch.cdist(centers, centers, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = apart.fill_diagonal_(torch.inf).amin(dim=1).cpu().numpy()
    close = CLOSE * (float(np.cumsum(nearest)[-1]) / len(nearest))  # summed one after the other, as loops do
    order, stays = np.argsort(uses.cpu().numpy(), kind="stable"), np.ones(len(nearest), bool)
    frozen, left = np.zeros(len(nearest), bool), n_removed
    for center in order:
        if not frozen[center]:
            stays[center], left = False, left - 1
            if left == 0:
                break
            together = frozen | (apart[center] < close).cpu().numpy()
            if np.count_nonzero(together) + n_removed <= len(order):
                frozen = together
    return torch.from_numpy(stays).to(centers.device)
