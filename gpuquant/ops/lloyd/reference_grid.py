"""A cycle of breathing k-means on a grid of a quarter level, in plain torch on any device."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gpuquant.ops.lloyd.grid_state import GRID, ITERATIONS, RELAXATION, SPREADING, GridState, on_grid
from gpuquant.ops.lloyd.near_scores import boxes_of, near_scores

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
AT_ONCE = 64  # clusters whose partners are looked for together
BOX = {"cpu": 1 << 8, "cuda": 1 << 14}  # points whose near centers are looked for together: measured beside 128 and 512


class GridPoints:
    """Points with weights, rounded to the grid."""

    def __init__(
        self,
        points: Tensor,  # [N, D] uint8, or float64 of about that size
        weights: Tensor,  # [N], whole numbers
    ) -> None:
        self._levels, self._weights = on_grid(points.double()), weights.double()
        self._entry = 1.0 if points.dtype == torch.uint8 else 1 / GRID  # what levels of an entry are whole numbers of
        self._range = self._levels.amin(dim=0), self._levels.amax(dim=0)
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
        return self._moved(centers, self._nearest(centers), ITERATIONS)

    def breathed(
        self,
        state: GridState,
        chosen: npt.NDArray[np.int64],  # [n]: clusters to split
    ) -> GridState:
        """Split clusters, merge as many pairs, and repeat Lloyd steps after each change."""
        n_kept = len(state.centers)
        added = self._halves(state.centers, state.kept)[torch.from_numpy(chosen).to(state.centers.device)]
        centers = torch.cat([state.centers, added])
        spread = self._moved(centers, self._nearest(centers), SPREADING)
        sums = centers.new_zeros(len(centers), centers.shape[1] + 1).index_add_(0, spread.kept, self._weighted)
        merged, places = _merged(spread.centers, sums, n_kept, self._entry * GRID)
        return self._moved(merged, places[spread.kept], ITERATIONS)

    def _moved(self, centers: Tensor, labels: Tensor, iterations: int) -> GridState:
        """Centers after Lloyd steps beyond the means of their clusters, which end when no label changes."""
        for _ in range(iterations):
            moves = self._means(labels, slice(None), centers) - centers
            centers = on_grid((centers + RELAXATION * moves).clamp(*self._range))
            previous, labels = labels, self._nearest(centers)
            if torch.equal(labels, previous):
                break
        labels = self._nearest(centers)
        entries = (self._means(labels, slice(None), centers) / self._entry).round() * self._entry
        apart = (self._levels - entries[labels]).square().sum(dim=1)
        errors = centers.new_zeros(len(centers)).index_add_(0, labels, apart * self._weights)
        return GridState(centers, errors.cpu().numpy(), labels)

    def _halves(self, centers: Tensor, labels: Tensor) -> Tensor:  # [K, D] float64, on the grid
        """The mean of the upper part of each cluster, cut at its center across its longest side."""
        apart = self._levels - centers[labels]
        spread = torch.zeros_like(centers)
        spread.index_add_(0, labels, apart.square() * self._weights[:, None])
        longest = spread.argmax(dim=1)[labels]
        upper = apart.gather(1, longest[:, None])[:, 0] > 0
        return on_grid(self._means(labels[upper], upper, centers))

    def _nearest(self, centers: Tensor) -> Tensor:  # [N] int64
        """The nearest center of each point.

        The index of the center is in the lowest digits of each score: a minimum over numbers is several times faster
        than one that also tells where it is, and the first one wins.
        """
        places = 1 << (len(centers) - 1).bit_length()  # numbers below it can hold the index of a center
        index = torch.arange(len(centers), dtype=torch.float64, device=centers.device)
        offsets = GRID**2 * places * centers.square().sum(dim=1) + index
        factors = torch.column_stack([-2 * GRID**2 * places * centers, offsets])
        scores = near_scores(self._columns, self._boxes, self._box, centers, factors)
        return torch.cat([part.amin(dim=0) for part in scores]).long() & (places - 1)

    def _means(self, labels: Tensor, points: slice | Tensor, centers: Tensor) -> Tensor:  # [K, D] float64
        """The mean of some points of each cluster, or its center where there are none."""
        sums = centers.new_zeros(len(centers), centers.shape[1] + 1).index_add_(0, labels, self._weighted[points])
        return torch.where(sums[:, -1:] > 0, sums[:, :-1] / sums[:, -1:].clamp(min=1), centers)


def _merged(centers: Tensor, sums: Tensor, n_kept: int, entry: float) -> tuple[Tensor, Tensor]:  # [K, D], [K + n] int64
    """Merge the two clusters by which the error rises least, the first ones on a tie, until so many are left.

    Also tells which cluster each one is in then.
    """
    own, totals, weights = centers.cpu().numpy() * GRID, sums[:, :-1].cpu().numpy() * GRID, sums[:, -1].cpu().numpy()
    means = np.where(weights[:, None] > 0, totals / weights[:, None].clip(min=1), own)
    into = np.arange(len(means))

    def lost(weights: Floats, means: Floats) -> Floats:  # by how much the error rises as centers are rounded to entries
        rises = np.zeros(weights.shape)
        for column in np.moveaxis(means, -1, 0):
            rises += np.square(column - np.rint(column / entry) * entry)
        return weights * rises

    def costs_of(some: Integers) -> Floats:  # [n, K]: by how much the error rises if each shares a center with some
        distances = np.zeros((len(some), len(means)))
        for column in means.T:
            distances += np.square(column - column[some, None])
        both = (weights + weights[some, None]).clip(min=1)
        lost_then = lost(both, (totals + totals[some, None]) / both[:, :, None])
        rises = distances * (weights * weights[some, None] / both)
        costs: Floats = rises + (lost_then - (lost_now + lost_now[some, None]))
        costs[weights * weights[some, None] == 0] = 0
        costs[:, into != np.arange(len(into))] = np.inf
        costs[np.arange(len(some)), some] = np.inf
        return costs

    def find_partners(some: Integers) -> None:  # of each the cost, itself and the partner
        for start in range(0, len(some), AT_ONCE):
            part = some[start : start + AT_ONCE]
            costs = costs_of(part)
            found = zip(costs.min(axis=1).tolist(), part.tolist(), costs.argmin(axis=1).tolist(), strict=True)
            best.update(zip(part.tolist(), found, strict=True))

    lost_now, best = lost(weights, means), dict[int, tuple[float, int, int]]()
    find_partners(np.arange(len(means)))
    while len(best) > n_kept:
        _, kept, gone = min(best.values())
        del best[gone]
        into[into == gone] = kept
        totals[kept] += totals[gone]
        weights[kept] += weights[gone]
        if weights[kept] > 0:
            means[kept] = totals[kept] / weights[kept]
        own[kept] = np.rint(means[kept])
        lost_now[kept] = lost(weights[kept, None], means[kept, None])[0]
        costs = costs_of(np.array([kept]))[0].tolist()
        find_partners(np.array([one for one, (*_, partner) in best.items() if one == kept or partner in (kept, gone)]))
        best = {one: min(found, (costs[one], one, kept)) for one, found in best.items()}
    stays = into == np.arange(len(into))
    places = np.cumsum(stays)[into] - 1
    device = centers.device
    return torch.from_numpy(own[stays] / GRID).to(device), torch.from_numpy(places).to(device)
